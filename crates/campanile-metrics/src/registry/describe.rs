use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Unit;

use super::inner::{Description, Registry};
use crate::name::sanitised;
use crate::series::{read, write};

/// The maximum number of described names.
pub(super) const MAX_DESCRIPTIONS: usize = 10_000;

impl Registry {
    /// Describes a metric, for the exposition's `# HELP` line. The first description of a name holds.
    ///
    /// There can be 10,000 descriptions. Past that, those of metrics whose series all went idle are
    /// forgotten; if there are none, new ones are refused and counted.
    pub fn describe(&self, name: &str, help: &str) {
        self.describe_with_unit(name, help, None);
    }

    /// Describes a metric and its unit, which OpenMetrics shows if it is the last part of the name, as `seconds` is in
    /// `http_request_duration_seconds`.
    pub fn describe_with_unit(&self, name: &str, help: &str, unit: Option<Unit>) {
        self.describe_as(name, help, unit.map(|unit| unit.as_str()));
    }

    /// Does so, and returns whether another recorder has to get the description too: once for each
    /// name.
    pub(crate) fn describe_both(&self, name: &str, help: &str, unit: Option<Unit>) -> bool {
        self.describe_with_unit(name, help, unit);
        let name = self.prefixed(sanitised(name));
        let descriptions = read(&self.0.descriptions);
        let description = descriptions.get(&*name);
        description
            .is_some_and(|description| !description.is_passed_on.swap(true, Ordering::Relaxed))
    }

    /// Does so with any unit.
    pub(crate) fn describe_as(&self, name: &str, help: &str, unit: Option<&'static str>) {
        let name = self.prefixed(sanitised(name));
        if read(&self.0.descriptions).contains_key(&*name) {
            return;
        }
        // One lock at a time: a new series waits for this one while it holds that of its family.
        let is_full = read(&self.0.descriptions).len() >= MAX_DESCRIPTIONS;
        let mut gone = Default::default();
        if is_full {
            std::mem::swap(&mut gone, &mut write(&self.0.declared).gone);
            let families = read(&self.0.families);
            gone.retain(|name| !families.has(name));
        }
        let mut descriptions = write(&self.0.descriptions);
        for name in &gone {
            descriptions.remove(name);
        }
        let room = descriptions.len() < MAX_DESCRIPTIONS;
        match descriptions.entry(name.into()) {
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) if room => {
                let help = help.into();
                let is_passed_on = AtomicBool::new(false);
                entry.insert(Description {
                    help,
                    unit,
                    is_passed_on,
                });
            }
            Entry::Vacant(_) => {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Calls a closure with the help and the unit of an exported name; a counter's may have been given without its `_total`.
    pub(crate) fn described<T>(
        &self,
        name: &str,
        then: impl FnOnce(Option<&str>, Option<&'static str>) -> T,
    ) -> T {
        let descriptions = read(&self.0.descriptions);
        let base = || descriptions.get(name.strip_suffix("_total")?);
        let found = descriptions.get(name).or_else(base);
        then(
            found.map(|description| &*description.help),
            found.and_then(|description| description.unit),
        )
    }
}
