use std::fmt;

use crate::kind::Kind;

/// A series, a family or a group of metrics can't be registered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The metric name is invalid in Prometheus' data model.
    #[error("invalid metric name {name:?}: expected [a-zA-Z_:][a-zA-Z0-9_:]*")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A label name is invalid in Prometheus' data model.
    #[error(
        "invalid label name {label:?} of the metric {metric:?}: expected [a-zA-Z_][a-zA-Z0-9_]*"
    )]
    InvalidLabel {
        /// The metric.
        metric: String,
        /// The label name.
        label: String,
    },
    /// A label name is reserved by Prometheus.
    #[error(
        "reserved label name {label:?} of the metric {metric:?}: expected no `__` at the start, and no `le` or `quantile` for histograms and summaries"
    )]
    ReservedLabel {
        /// The metric.
        metric: String,
        /// The label name.
        label: String,
    },
    /// A label name occurs twice, or two label names become equal.
    #[error("duplicate label name {label:?} of the metric {metric:?}: expected each name once")]
    DuplicateLabel {
        /// The metric.
        metric: String,
        /// The label name.
        label: String,
    },
    /// The name belongs to a metric of another kind.
    #[error(
        "duplicate metric name {name:?} of a {}: expected a {}, as registered before",
        .requested.phrase(),
        .existing.phrase()
    )]
    KindConflict {
        /// The name.
        name: String,
        /// The kind of the existing metric.
        existing: Kind,
        /// The requested kind.
        requested: Kind,
    },
    /// The exported name belongs to another metric.
    #[error(
        "duplicate metric name {name:?}: expected an exported name other than {exported:?}, which belongs to {by:?}"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The name under which the metric would be exported.
        exported: String,
        /// The name of the existing metric.
        by: String,
    },
    /// The name ends with `_total`, and the metric is not a counter.
    #[error(
        "invalid metric name {name:?} of a {kind}: expected no `_total`, only counters have it"
    )]
    TotalSuffix {
        /// The name.
        name: String,
        /// The kind of the metric.
        kind: Kind,
    },
    /// The bounds of the buckets are empty, not finite or not ascending.
    #[error(
        "invalid bucket bounds {bounds:?} of the metric {name:?}: expected at least one, finite and ascending"
    )]
    InvalidBuckets {
        /// The metric.
        name: String,
        /// The bounds.
        bounds: Vec<f64>,
    },
    /// The metric has bucket bounds and is not a histogram.
    #[error("unexpected bucket bounds of the metric {name:?}: expected a histogram, not a {kind}")]
    NoBuckets {
        /// The metric.
        name: String,
        /// The kind of the metric.
        kind: Kind,
    },
    /// The metric has other bucket bounds already.
    #[error("duplicate bucket bounds {requested:?} of the metric {name:?}: expected {existing:?}")]
    BucketConflict {
        /// The metric.
        name: String,
        /// The requested bounds.
        requested: Vec<f64>,
        /// The existing bounds.
        existing: Vec<f64>,
    },
    /// The registry has its maximum number of series, so it accepts no new family.
    #[error(
        "too many series for the metric {name:?}: expected at most {max_series} (`RegistryBuilder::max_series`)"
    )]
    Full {
        /// The metric.
        name: String,
        /// The maximum number of series.
        max_series: usize,
    },
}

/// The error of [`RegistryBuilder::build`](crate::RegistryBuilder::build): all problems of the
/// settings.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildError {
    pub(crate) problems: Vec<BuildProblem>,
}

impl BuildError {
    /// Returns the problems, in the order of the settings; at least one.
    pub fn problems(&self) -> &[BuildProblem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problems.iter().find_map(|problem| problem.source())
    }
}

/// A problem of a registry's settings.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// A limit or a timeout is 0.
    #[error("invalid `{setting}` 0: expected at least 1")]
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The bounds of the buckets are empty, not finite or not ascending.
    #[error(
        "invalid bucket bounds {bounds:?} for {names}: expected at least one, finite and ascending"
    )]
    Buckets {
        /// The names that the bounds are for, or `all histograms`.
        names: String,
        /// The bounds.
        bounds: Vec<f64>,
    },
    /// The prefix can't start a metric name.
    #[error("invalid prefix {prefix:?}: expected [a-zA-Z_:][a-zA-Z0-9_:]* without `_` at the end")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// A constant label is invalid, or its name occurs twice.
    #[error(
        "invalid constant label {label:?}: expected a value, and a name [a-zA-Z_][a-zA-Z0-9_]* that is not reserved"
    )]
    ConstantLabel {
        /// The label name.
        label: String,
        /// The rule that the label breaks, if metrics share it.
        source: Option<RegisterError>,
    },
}

/// The registry can't become the global recorder of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The process has a global recorder already, from this library or another.
    #[error("duplicate global metrics recorder: expected none installed before")]
    Taken,
}
