use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Unit;

use super::inner::{Description, Registry};
use crate::name::sanitised;
use crate::series::{read, write};

/// The maximum number of described names.
pub(super) const MAX_DESCRIPTIONS: usize = 10_000;

impl Registry {
    /// Describes a metric, for the `# HELP` line of an exposition. The first description of a name
    /// is kept.
    ///
    /// There can be 10,000 descriptions. Past that, descriptions of metrics whose series all
    /// expired are removed. If there are none, new descriptions are rejected and counted.
    pub fn describe(&self, name: &str, help: &str) {
        self.describe_with_unit(name, help, None);
    }

    /// Describes a metric and its unit. OpenMetrics shows the unit if it is the last part of the
    /// name, as in `http_request_duration_seconds`.
    pub fn describe_with_unit(&self, name: &str, help: &str, unit: Option<Unit>) {
        self.describe_as(name, help, unit.map(|unit| unit.as_str()));
    }

    /// Describes a metric. Returns whether another recorder needs the description too, which is
    /// once per name.
    pub(crate) fn describe_both(&self, name: &str, help: &str, unit: Option<Unit>) -> bool {
        self.describe_with_unit(name, help, unit);
        let name = self.prefixed(sanitised(name));
        let descriptions = read(&self.0.descriptions);
        let description = descriptions.get(&*name);
        description
            .is_some_and(|description| !description.is_passed_on.swap(true, Ordering::Relaxed))
    }

    /// Describes a metric with any unit.
    pub(crate) fn describe_as(&self, name: &str, help: &str, unit: Option<&'static str>) {
        let name = self.prefixed(sanitised(name));
        if read(&self.0.descriptions).contains_key(&*name) {
            return;
        }
        // One lock at a time: a new series waits for this lock while it holds the lock of its family.
        let is_full = read(&self.0.descriptions).len() >= MAX_DESCRIPTIONS;
        let mut removed = Default::default();
        if is_full {
            std::mem::swap(&mut removed, &mut write(&self.0.declared).removed);
            let families = read(&self.0.families);
            removed.retain(|name| !families.has(name));
        }
        let mut descriptions = write(&self.0.descriptions);
        for name in &removed {
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
                self.0.rejected.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Calls a closure with the help and the unit of an exported name. The description of a counter
    /// may be under its name without `_total`.
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
