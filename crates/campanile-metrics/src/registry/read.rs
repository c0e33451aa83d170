use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;

use super::inner::Registry;
use crate::kind::Kind;
use crate::name::LabelText;
use crate::series::read;
use crate::snapshot::{FamilySnapshot, Snapshot, Value};
use crate::storage::AnyFamily;

impl Registry {
    /// Returns the value of the series with this exported name and exactly these labels, if it
    /// exists.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let text = |max_bytes| {
            let labels = labels.iter();
            let labels = labels.map(|&(name, value)| (Cow::Borrowed(name), value));
            let mut labels: Vec<_> = labels.collect();
            self.drop_constant(&mut labels, max_bytes);
            LabelText::new(name, Kind::Gauge, &mut labels, max_bytes).ok()
        };
        self.publish_if_self_metric(name);
        let family = read(&self.0.families).get(name).cloned();
        match family {
            Some(family) => family.get(&text(self.0.settings.max_label_value_bytes)?.text),
            // Label values of the external exporter are not cut.
            None if self.has_exporter() => self.get_beside(name, &text(usize::MAX)?.text),
            None => None,
        }
    }

    /// Returns all values.
    pub fn snapshot(&self) -> Snapshot {
        let mut families = Vec::new();
        self.each_family(false, |family| families.push(family));
        Snapshot { families }
    }

    /// Calls a function with the values of each name in turn, for an export. Exemplars are marked
    /// as shown, as by a scrape in OpenMetrics. Add the [constant labels](Self::constant_labels)
    /// that a series lacks.
    pub fn export(&self, each: impl FnMut(FamilySnapshot)) {
        self.each_family(true, each);
    }

    /// Returns the names and values of the [constant
    /// labels](crate::RegistryBuilder::constant_label), in the order in which they were set.
    pub fn constant_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.constant().iter()
    }

    /// Returns the values of an exported name, if it exists.
    pub fn family_snapshot(&self, name: &str) -> Option<FamilySnapshot> {
        self.publish_if_self_metric(name);
        let own = read(&self.0.families).get_key_value(name);
        match own {
            Some((name, family)) => Some(self.read_family(name, &family, false)),
            None => self.family_beside(name),
        }
    }

    /// Returns up to ten label sets that most often hit a limit, with their counts in descending
    /// order.
    ///
    /// The counts are estimates. They can be too high by a 64th of all, and too low if several
    /// threads hit the limit at the same time. The labels are as they are exposed, without braces.
    /// The list is empty if the family does not exist or is below its limit.
    pub fn top_overflow(&self, name: &str) -> Vec<(String, u64)> {
        let family = read(&self.0.families).get(name).cloned();
        family.map_or_else(Vec::new, |family| family.top().most(10))
    }

    pub(super) fn read_family(
        &self,
        name: Arc<str>,
        family: &AnyFamily,
        shows: bool,
    ) -> FamilySnapshot {
        let (help, unit) = self.described(&name, |help, unit| (help.map(str::to_owned), unit));
        FamilySnapshot {
            kind: family.kind(),
            help,
            unit,
            series: family.snapshot(shows),
            name,
        }
    }

    /// Returns the next family in the order of names.
    pub(crate) fn family_after(&self, name: Option<&str>) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        read(&self.0.families).next(from)
    }
}
