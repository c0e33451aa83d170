use std::sync::Arc;
use std::time::Instant;

use super::inner::Registry;
use crate::beside::{ExternalFamily, Reading};
use crate::clock;
use crate::kind::Kind;
use crate::series::read;
use crate::snapshot::{FamilySnapshot, Value};
use crate::storage::AnyFamily;

/// The owner of a family.
#[derive(Clone)]
pub(crate) enum FamilySource {
    Own(Arc<AnyFamily>),
    /// The external exporter, with the kind of the family.
    External(Kind),
}

impl Registry {
    /// Runs the upkeep of the exporter [beside](crate::RegistryBuilder::beside) this registry. Does
    /// nothing without an exporter. `Campanile::run` calls this every 5 s.
    ///
    /// The upkeep of metrics-exporter-prometheus aggregates all samples of histograms since the
    /// last call, and blocks the thread while it does so.
    pub fn upkeep(&self) {
        if let Some(exporter) = &self.0.exporter {
            exporter.upkeep();
        }
    }

    /// Returns whether there is an exporter [beside](crate::RegistryBuilder::beside) this registry,
    /// so that [`upkeep`](Self::upkeep) has an effect.
    pub fn needs_upkeep(&self) -> bool {
        self.has_exporter()
    }

    /// Returns whether the values of an external exporter are exported too.
    pub(crate) fn has_exporter(&self) -> bool {
        self.0.exporter.is_some()
    }

    /// Returns the values of the external exporter.
    pub(crate) fn reading(&self, now: Instant) -> Option<Arc<Reading>> {
        let exporter = self.0.exporter.as_ref()?;
        Some(exporter.reading(now, self.constant()))
    }

    /// Returns the next family in the order of names.
    pub(crate) fn next_family(
        &self,
        after: Option<&str>,
        beside: Option<&Reading>,
    ) -> Option<(Arc<str>, FamilySource)> {
        let own = self.family_after(after);
        let external = beside.map_or(&[][..], |beside| beside.after(after)).iter();
        // External families after the next own family are read later, so each is read once.
        let is_before =
            |of: &&ExternalFamily| own.as_ref().is_none_or(|(name, _)| of.family.name < *name);
        let mut external = external.take_while(is_before);
        match external.find(|external| !self.has_names_of(external)) {
            Some(ExternalFamily { family, .. }) => Some((
                Arc::clone(&family.name),
                FamilySource::External(family.kind),
            )),
            None => own.map(|(name, family)| (name, FamilySource::Own(family))),
        }
    }

    /// Calls a function with all values of each name in turn.
    pub(super) fn each_family(&self, shows: bool, mut each: impl FnMut(FamilySnapshot)) {
        self.publish_self_metrics();
        let beside = self.reading(clock::now());
        let mut last = None::<Arc<str>>;
        while let Some((name, of)) = self.next_family(last.as_deref(), beside.as_deref()) {
            match of {
                FamilySource::Own(family) => {
                    each(self.read_family(Arc::clone(&name), &family, shows));
                }
                FamilySource::External(_) => {
                    let external = beside.as_ref().and_then(|beside| beside.get(&name));
                    if let Some(external) = external {
                        each(external.family.clone());
                    }
                }
            }
            last = Some(name);
        }
    }

    /// Returns the external values of a name that this registry does not have.
    pub(super) fn family_beside(&self, name: &str) -> Option<FamilySnapshot> {
        let reading = self.reading(clock::now())?;
        let external = reading
            .get(name)
            .filter(|external| !self.has_names_of(external))?;
        Some(external.family.clone())
    }

    /// Returns the external value of a series.
    pub(super) fn get_beside(&self, name: &str, labels: &str) -> Option<Value> {
        let reading = self.reading(clock::now())?;
        let external = reading
            .get(name)
            .filter(|external| !self.has_names_of(external))?;
        let series = &external.family.series;
        let at = series.binary_search_by(|series| (*series.labels).cmp(labels));
        Some(series.get(at.ok()?)?.value.clone())
    }

    /// Returns whether this registry has a name of an external family.
    pub(super) fn has_names_of(&self, external: &ExternalFamily) -> bool {
        let names = external.names();
        let families = read(&self.0.families);
        names.iter().any(|name| families.is_taken(name))
    }
}
