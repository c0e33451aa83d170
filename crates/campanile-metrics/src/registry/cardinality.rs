use std::sync::Arc;

use super::inner::Registry;
use crate::kind::Kind;
use crate::series::read;
use crate::summary::SummaryValue;

/// The number of series of a family and its maximum; from [`Registry::cardinality`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilyCardinality {
    /// The exported name.
    pub name: Arc<str>,
    /// The kind of the metric.
    pub kind: Kind,
    /// The number of series.
    pub series: usize,
    /// The maximum number of series: the number of label sets if they are known at compile time,
    /// and otherwise the limit. All kinds but gauges can have the overflow series in addition.
    pub max_series: usize,
    /// The number of samples per series in OpenMetrics, which is what Prometheus stores.
    ///
    /// | kind | samples |
    /// |---|---|
    /// | gauge | 1 |
    /// | counter | 2 |
    /// | histogram | 1 per bound, and 4 |
    /// | summary | 8 |
    ///
    /// One of them, for all kinds but gauges, is `_created`. It is missing with
    /// [`RegistryBuilder::without_created`](crate::RegistryBuilder::without_created), and for
    /// counters that are set to an absolute value.
    pub samples: usize,
    /// Whether the label sets are known, and fewer than the limit.
    pub is_bounded: bool,
}

impl Registry {
    /// Returns the number of series of each metric and its maximum, sorted by name.
    ///
    /// A [`Family`](crate::Family) whose labels are enums has as many series as label sets. The
    /// [limit](crate::RegistryBuilder::max_series_per_family) bounds any other metric. The sum of
    /// `max_series` times `samples` is the number of samples that a server must be able to store
    /// per scrape.
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
                // All kinds but gauges can have an overflow series.
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
