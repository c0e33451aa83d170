use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::RegisterError;
use crate::kind::Kind;
use crate::name::sample_names;
use crate::storage::{AnyFamily, StoredValue};

/// All families, and the names that they occupy.
#[derive(Default)]
pub(super) struct Families {
    by_name: BTreeMap<Arc<str>, Arc<AnyFamily>>,
    /// The family of each sample name, in any format.
    taken: BTreeMap<Box<str>, Arc<str>>,
}

impl Families {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<AnyFamily>> {
        self.by_name.get(name)
    }

    pub(super) fn get_key_value(&self, name: &str) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let (name, family) = self.by_name.get_key_value(name)?;
        Some((Arc::clone(name), Arc::clone(family)))
    }

    pub(super) fn next(&self, from: Bound<&str>) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let mut after = self.by_name.range::<str, _>((from, Bound::Unbounded));
        let (name, family) = after.next()?;
        Some((Arc::clone(name), Arc::clone(family)))
    }

    /// Returns whether a family exists that a description may belong to.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.by_name.contains_key(&*[name, "_total"].concat())
    }

    /// Removes a family without series. Returns whether it was removed.
    pub(super) fn remove_if_empty(&mut self, name: &str, family: &Arc<AnyFamily>) -> bool {
        let is_it = self
            .by_name
            .get(name)
            .is_some_and(|found| Arc::ptr_eq(found, family));
        let is_gone = is_it && family.remove_if_empty();
        if is_gone {
            self.by_name.remove(name);
            for sample in sample_names(name, family.kind()) {
                self.taken.remove(sample.as_str());
            }
        }
        is_gone
    }

    /// Returns the first name of a new family that is occupied, and the family that occupies it.
    pub(super) fn taken(&self, name: &str, kind: Kind) -> Option<(String, Arc<str>)> {
        sample_names(name, kind).into_iter().find_map(|name| {
            let by = Arc::clone(self.taken.get(name.as_str())?);
            Some((name, by))
        })
    }

    /// Returns whether a family has this name in any format.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains_key(name)
    }

    /// Returns the error for an occupied name.
    pub(super) fn error(
        &self,
        raw_name: &str,
        kind: Kind,
        (exported, by): (String, Arc<str>),
    ) -> RegisterError {
        match self.get(&by) {
            Some(by) if *by.raw_name == *raw_name => RegisterError::KindConflict {
                name: raw_name.into(),
                existing: by.kind(),
                requested: kind,
            },
            _ => RegisterError::NameTaken {
                name: raw_name.into(),
                exported,
                by: (*by).into(),
            },
        }
    }

    /// Adds a family. If one of its names is occupied, returns that name and the family that
    /// occupies it.
    pub(super) fn insert<C: StoredValue>(
        &mut self,
        name: &str,
        raw_name: &str,
    ) -> Result<Arc<AnyFamily>, (String, Arc<str>)> {
        if let Some(taken) = self.taken(name, C::KIND) {
            return Err(taken);
        }
        let names = sample_names(name, C::KIND);
        let name: Arc<str> = name.into();
        for sample in names {
            self.taken.insert(sample.into(), Arc::clone(&name));
        }
        let family = Arc::new(AnyFamily::new::<C>(Arc::clone(&name), raw_name));
        self.by_name.insert(name, Arc::clone(&family));
        Ok(family)
    }
}
