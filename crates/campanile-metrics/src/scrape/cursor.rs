use std::sync::Arc;

use crate::encode::{Encoder, Format};
use crate::registry::{FamilySource, Registry};
use crate::{beside, clock};

/// A position in an exposition.
#[derive(Clone)]
pub(crate) struct Cursor {
    format: Format,
    /// The last complete family.
    last: Option<Arc<str>>,
    /// The current family, and the labels of its last written series.
    current: Option<(Arc<str>, FamilySource, Arc<str>)>,
}

/// The number of families that are read before the runtime gets a turn. A family without series
/// adds nothing.
const FAMILIES: usize = 256;

impl Cursor {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            last: None,
            current: None,
        }
    }

    /// Continues the exposition until the text has this length, or many families were read. Returns
    /// whether there is more.
    pub(crate) fn write(&mut self, registry: &Registry, text: &mut String, length: usize) -> bool {
        let beside = registry.reading(clock::now());
        for _ in 0..FAMILIES {
            let (name, of, after) = match self.current.take() {
                Some((name, of, after)) => (name, of, Some(after)),
                None => match registry.next_family(self.last.as_deref(), beside.as_deref()) {
                    Some((name, of)) => (name, of, None),
                    None => {
                        if self.format == Format::OpenMetrics {
                            text.push_str("# EOF\n");
                        }
                        return false;
                    }
                },
            };
            let kind = match &of {
                FamilySource::Own(family) => family.kind(),
                FamilySource::External(kind) => *kind,
            };
            let mut encoder = Encoder::new(
                self.format,
                &name,
                kind,
                registry.has_created(),
                registry.constant(),
                text,
            );
            let last = match &of {
                FamilySource::Own(family) => {
                    if after.is_none() {
                        registry.described(&name, |help, unit| encoder.announce(help, unit));
                    }
                    family.write(after.as_deref(), &mut encoder, length)
                }
                FamilySource::External(_) => {
                    let external = beside.as_ref().and_then(|beside| beside.get(&name));
                    // The kind of a family can differ in the next read.
                    let same = external.filter(|external| external.family.kind == kind);
                    same.and_then(|external| {
                        beside::write(&external.family, after.as_deref(), &mut encoder, length)
                    })
                }
            };
            if let Some(last) = last {
                self.current = Some((name, of, last));
                return true;
            }
            self.last = Some(name);
            if text.len() >= length {
                break;
            }
        }
        true
    }
}
