use std::sync::Arc;

use super::inner::Registry;
use crate::kind::Kind;
use crate::series::read;
use crate::summary::SummaryValue;

/// How many series a family has, and how many it can get; from [`Registry::cardinality`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilyCardinality {
    /// The exported name.
    pub name: Arc<str>,
    /// What the metric is.
    pub kind: Kind,
    /// How many series there are.
    pub series: usize,
    /// How many there can be: one for each label set where they are known when the program is
    /// compiled, and else the limit and, except for gauges, the overflow series.
    pub max_series: usize,
    /// How many samples a series is on a page in OpenMetrics, which is what Prometheus stores: one
    /// for a gauge or counter, for a histogram one for each bucket and two more, for a summary
    /// seven; and for all but gauges one more, `_created`, unless the [registry leaves it
    /// out](crate::RegistryBuilder::without_created).
    ///
    /// Counters that are set to an absolute value have no `_created`, and so are one sample.
    pub samples: usize,
    /// Whether the label sets are known, and are fewer than the cap.
    pub is_bounded: bool,
}

impl Registry {
    /// Returns how many series each metric has and how many it can have, in the order of their names.
    ///
    /// A [`Family`](crate::Family) whose labels are enums has as many as there are label sets; any other metric is bounded by
    /// the [cap](crate::RegistryBuilder::max_series_per_family). The sum of `max_series` times `samples` is what a server
    /// that scrapes this process must be ready to store.
    pub fn cardinality(&self) -> Vec<FamilyCardinality> {
        self.publish_self_metrics();
        let mut budget = Vec::new();
        let mut last = None::<Arc<str>>;
        while let Some((name, family)) = self.family_after(last.as_deref()) {
            let cap = self.0.settings.max_series_per_family.min(family.cap());
            let known = read(&self.0.declared).label_sets.get(&*name).copied();
            let known = known.filter(|&known| known <= cap);
            budget.push(FamilyCardinality {
                name: Arc::clone(&name),
                kind: family.kind(),
                series: family.len(),
                // All but gauges have an overflow series.
                max_series: known.unwrap_or(cap + usize::from(family.kind() != Kind::Gauge)),
                samples: match family.kind() {
                    Kind::Histogram => self.bounds(&name).values().len() + 3,
                    Kind::Summary => SummaryValue::SAMPLES,
                    _ => 1,
                } + usize::from(family.kind() != Kind::Gauge && self.has_created()),
                is_bounded: known.is_some(),
            });
            last = Some(name);
        }
        budget
    }
}
