use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::histogram::{Bounds, SharedByName};

/// What was said of metrics before their series came, by their exported names.
#[derive(Default)]
pub(super) struct Schema {
    /// How many label sets there are.
    pub(super) label_sets: BTreeMap<Box<str>, usize>,
    pub(super) buckets: BTreeMap<Box<str>, Arc<Bounds>>,
    /// What the histograms have that are there.
    pub(super) histograms: BTreeMap<Box<str>, Arc<SharedByName>>,
    /// The names in descriptions of families that are gone, which may come back.
    pub(super) gone: BTreeSet<Box<str>>,
}

impl Schema {
    /// Forgets a family that is gone.
    pub(super) fn forget(&mut self, name: &str, described: Option<&str>) {
        self.histograms.remove(name);
        self.gone.extend(described.map(Box::from));
    }
}
