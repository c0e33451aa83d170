use std::sync::Arc;
use std::time::Instant;

use super::inner::Registry;
use crate::beside::{ExternalFamily, Reading};
use crate::clock;
use crate::kind::Kind;
use crate::series::read;
use crate::snapshot::{FamilySnapshot, Value};
use crate::storage::AnyFamily;

/// Whose a family is.
#[derive(Clone)]
pub(crate) enum FamilySource {
    Own(Arc<AnyFamily>),
    /// The other exporter's, of this kind.
    External(Kind),
}

impl Registry {
    /// Does what the exporter [beside](crate::RegistryBuilder::beside) this registry needs every
    /// few seconds; does nothing without one. `Campanile::run` calls this every 5 s.
    ///
    /// That of metrics-exporter-prometheus aggregates all samples of histograms since the last time,
    /// and blocks the thread meanwhile.
    pub fn upkeep(&self) {
        if let Some(exporter) = &self.0.exporter {
            exporter.upkeep();
        }
    }

    /// Returns whether [`upkeep`](Self::upkeep) does something: whether there is an exporter
    /// [beside](crate::RegistryBuilder::beside) this registry.
    pub fn needs_upkeep(&self) -> bool {
        self.has_exporter()
    }

    /// Returns whether another exporter's values are shown too.
    pub(crate) fn has_exporter(&self) -> bool {
        self.0.exporter.is_some()
    }

    /// Returns the other exporter's values.
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
        let ours = self.family_after(after);
        let theirs = beside.map_or(&[][..], |beside| beside.after(after)).iter();
        // Those after ours are looked at later, so that each is looked at once.
        let is_before =
            |of: &&ExternalFamily| ours.as_ref().is_none_or(|(name, _)| of.family.name < *name);
        let mut theirs = theirs.take_while(is_before);
        match theirs.find(|theirs| !self.has_names_of(theirs)) {
            Some(ExternalFamily { family, .. }) => Some((
                Arc::clone(&family.name),
                FamilySource::External(family.kind),
            )),
            None => ours.map(|(name, family)| (name, FamilySource::Own(family))),
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
                    let theirs = beside.as_ref().and_then(|beside| beside.get(&name));
                    if let Some(theirs) = theirs {
                        each(theirs.family.clone());
                    }
                }
            }
            last = Some(name);
        }
    }

    /// Returns the other exporter's values of a name that this registry does not have.
    pub(super) fn family_beside(&self, name: &str) -> Option<FamilySnapshot> {
        let reading = self.reading(clock::now())?;
        let theirs = reading
            .get(name)
            .filter(|theirs| !self.has_names_of(theirs))?;
        Some(theirs.family.clone())
    }

    /// Returns the other exporter's value of a series.
    pub(super) fn get_beside(&self, name: &str, labels: &str) -> Option<Value> {
        let reading = self.reading(clock::now())?;
        let theirs = reading
            .get(name)
            .filter(|theirs| !self.has_names_of(theirs))?;
        let series = &theirs.family.series;
        let at = series.binary_search_by(|series| (*series.labels).cmp(labels));
        Some(series.get(at.ok()?)?.value.clone())
    }

    /// Returns whether this registry has a name of another exporter's family.
    pub(super) fn has_names_of(&self, theirs: &ExternalFamily) -> bool {
        let names = theirs.names();
        let families = read(&self.0.families);
        names.iter().any(|name| families.is_taken(name))
    }
}
