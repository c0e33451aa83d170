use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use campanile_http::TraceRef;

use crate::kind::Kind;

/// All values of a registry. Families are sorted by name, and series by their labels, so two
/// snapshots of the same state are equal.
///
/// Each number is read atomically, but not all of them at the same time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The families, sorted by name.
    pub families: Vec<FamilySnapshot>,
}

/// All series of one name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FamilySnapshot {
    /// The exported name.
    pub name: Arc<str>,
    /// The kind of the metric.
    pub kind: Kind,
    /// The description, if there is one.
    pub help: Option<String>,
    /// The unit in the form of OpenMetrics, such as `seconds`, if one was described.
    pub unit: Option<&'static str>,
    /// The series, sorted by their labels.
    pub series: Vec<SeriesSnapshot>,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeriesSnapshot {
    pub(crate) labels: Arc<str>,
    /// The time at which the series was created, in milliseconds. `None` for a counter that was set
    /// to an absolute value, because its count started at another time.
    pub created: Option<SystemTime>,
    /// The value.
    pub value: Value,
}

impl SeriesSnapshot {
    /// Returns the labels as they are exposed, without braces and sorted by name: `a="1",b="2"`.
    pub fn label_text(&self) -> &str {
        &self.labels
    }

    /// Returns the names and values of the labels, sorted by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        crate::name::labels(&self.labels)
    }

    /// Returns the value of a label.
    pub fn label(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut labels = self.labels();
        labels.find_map(|(label, value)| (label == name).then_some(value))
    }
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// The value of a counter.
    Counter(u64),
    /// The value of a time counter.
    TimeCounter(Duration),
    /// The value of a gauge.
    Gauge(f64),
    /// The value of a histogram.
    Histogram(HistogramSnapshot),
    /// The value of a summary.
    Summary(SummarySnapshot),
}

/// The value of a histogram.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HistogramSnapshot {
    /// The inclusive upper bound of each bucket, and the number of samples up to it. The bucket
    /// `+Inf` is `count`.
    pub buckets: Vec<(f64, u64)>,
    /// The number of samples.
    pub count: u64,
    /// The sum of the samples.
    pub sum: f64,
    /// At most one exemplar per bucket.
    pub exemplars: Vec<Exemplar>,
}

/// A sample and its trace.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// The sample.
    pub value: f64,
    /// The trace, which is sampled.
    pub trace: TraceRef,
    /// The time of the sample, in milliseconds.
    pub at: SystemTime,
}

/// The value of a summary.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SummarySnapshot {
    /// The p50, p90, p95, p99 and p99.9 of the last minute. They are NaN if there was no sample.
    pub quantiles: Vec<(f64, f64)>,
    /// The number of samples since the series was created.
    pub count: u64,
    /// The sum of these samples.
    pub sum: f64,
}
