use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::histogram::{Bounds, SharedByName};

/// The settings of metrics that precede their series, by exported name.
#[derive(Default)]
pub(super) struct Schema {
    /// The number of label sets.
    pub(super) label_sets: BTreeMap<Box<str>, usize>,
    pub(super) buckets: BTreeMap<Box<str>, Arc<Bounds>>,
    /// The shared state of existing histograms.
    pub(super) histograms: BTreeMap<Box<str>, Arc<SharedByName>>,
    /// The described names of removed families.
    pub(super) removed: BTreeSet<Box<str>>,
}

impl Schema {
    /// Removes a family that was removed from the registry.
    pub(super) fn forget(&mut self, name: &str, described: Option<&str>) {
        self.histograms.remove(name);
        self.removed.extend(described.map(Box::from));
    }
}
