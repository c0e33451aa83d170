use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use campanile_http::TraceRef;

use crate::kind::Kind;

/// All values of a registry: families by name, series by label text, so that two snapshots of one state are equal.
///
/// Each number is read at once, but not all of them at the same moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The families, in the order of their names.
    pub families: Vec<FamilySnapshot>,
}

/// All series of one name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FamilySnapshot {
    /// The exported name.
    pub name: Arc<str>,
    /// The kind.
    pub kind: Kind,
    /// The description, if there is one.
    pub help: Option<String>,
    /// The unit as OpenMetrics has it, such as `seconds`, if one was described.
    pub unit: Option<&'static str>,
    /// The series, in the order of their label texts.
    pub series: Vec<SeriesSnapshot>,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeriesSnapshot {
    pub(crate) labels: Arc<str>,
    /// When it was made, to a millisecond: what it counts is of the time since. `None` for a
    /// counter that was set to an absolute value, which was counted since another time.
    pub created: Option<SystemTime>,
    /// The value.
    pub value: Value,
}

impl SeriesSnapshot {
    /// Returns the labels as they are exposed, without braces, in the order of their names: `a="1",b="2"`.
    pub fn label_text(&self) -> &str {
        &self.labels
    }

    /// Returns the labels' names and values, in the order of their names.
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
    /// A counter's.
    Counter(u64),
    /// A time counter's.
    TimeCounter(Duration),
    /// A gauge's.
    Gauge(f64),
    /// A histogram's.
    Histogram(HistogramSnapshot),
    /// A summary's.
    Summary(SummarySnapshot),
}

/// The value of a histogram.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HistogramSnapshot {
    /// For each bucket its inclusive upper bound, and how many samples were not above it. The bucket of all samples
    /// (`+Inf`) is `count`.
    pub buckets: Vec<(f64, u64)>,
    /// How many samples there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Samples that stand for those of their buckets, at most one for each.
    pub exemplars: Vec<Exemplar>,
}

/// A sample, and the trace that shows what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// The sample.
    pub value: f64,
    /// The trace, which is sampled.
    pub trace: TraceRef,
    /// When it was, to a millisecond.
    pub at: SystemTime,
}

/// The value of a summary.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SummarySnapshot {
    /// The value of each quantile in the last minute, p50, p90, p95, p99 and p99.9: NaN if there was no sample.
    pub quantiles: Vec<(f64, f64)>,
    /// How many samples there were in all.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}
