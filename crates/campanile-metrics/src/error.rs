use crate::kind::Kind;

/// A series cannot be registered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The metric's name is not one of Prometheus' data model.
    #[error("the metric name {name:?} is not valid: use [a-zA-Z_:][a-zA-Z0-9_:]*")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// A label's name is not one of Prometheus' data model.
    #[error(
        "the label name {label:?} of the metric {metric:?} is not valid: use [a-zA-Z_][a-zA-Z0-9_]*"
    )]
    InvalidLabel {
        /// The metric.
        metric: String,
        /// The label's name as given.
        label: String,
    },
    /// A label's name means something else to Prometheus.
    #[error(
        "the label name {label:?} of the metric {metric:?} is reserved (`__…`, and for histograms and summaries `le` and `quantile`): choose another"
    )]
    ReservedLabel {
        /// The metric.
        metric: String,
        /// The label's name.
        label: String,
    },
    /// A label's name is given twice, or two become the same.
    #[error("the metric {metric:?} has two labels named {label:?}: keep one")]
    DuplicateLabel {
        /// The metric.
        metric: String,
        /// The label's name.
        label: String,
    },
    /// The name belongs to a metric of another kind.
    #[error(
        "the metric {name:?} is a {}, and can't be a {} too: choose another name",
        .is.phrase(),
        .asked.phrase()
    )]
    KindConflict {
        /// The name.
        name: String,
        /// The kind that it has.
        is: Kind,
        /// The kind that was asked for.
        asked: Kind,
    },
    /// The name becomes, character by character, one that another raw name has already become.
    #[error(
        "the metric {name:?} would be exported as {exported:?}, which {by:?} is already: choose another name"
    )]
    NameTaken {
        /// The name as given.
        name: String,
        /// The name that it would have.
        exported: String,
        /// The name that was first.
        by: String,
    },
    /// The name ends as only a counter's may.
    #[error(
        "the metric name {name:?} ends with `_total`, which is a counter's, and this is a {kind}: leave `_total` out"
    )]
    CountersSuffix {
        /// The name.
        name: String,
        /// What the metric is.
        kind: Kind,
    },
    /// The bucket bounds do not make a histogram.
    #[error(
        "the bucket bounds {bounds:?} of the metric {name:?} are not valid: give at least one, finite and rising"
    )]
    Buckets {
        /// The metric.
        name: String,
        /// The bounds as given.
        bounds: Vec<f64>,
    },
    /// Bucket bounds were given for what has no buckets.
    #[error("the metric {name:?} is a {kind}, which has no buckets: leave them out")]
    NoBuckets {
        /// The metric.
        name: String,
        /// What it is.
        kind: Kind,
    },
    /// The metric has other bucket bounds already.
    #[error(
        "the metric {name:?} has the bucket bounds {has:?}, and can't have {asked:?} too: choose another name"
    )]
    BucketsTaken {
        /// The metric.
        name: String,
        /// The bounds as given.
        asked: Vec<f64>,
        /// The bounds that were first.
        has: Vec<f64>,
    },
    /// The registry holds as many series as it may, so it takes no new family.
    #[error(
        "the metric {name:?} can't be added: the registry holds its {cap} series already; raise `RegistryBuilder::series`"
    )]
    Full {
        /// The metric.
        name: String,
        /// The cap.
        cap: usize,
    },
}

/// A registry cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The bucket bounds do not make a histogram.
    #[error("the bucket bounds {bounds:?}{of} are not valid: give at least one, finite and rising")]
    Buckets {
        /// Whose they are, for the message: empty for those of all histograms.
        of: String,
        /// The bounds as given.
        bounds: Vec<f64>,
    },
    /// The prefix can't begin a name.
    #[error(
        "the prefix {prefix:?} is not valid: use [a-zA-Z_:][a-zA-Z0-9_:]*, without the underscore that comes after it"
    )]
    Prefix {
        /// The prefix as given.
        prefix: String,
    },
    /// A label of all series is not valid, or there are two of its name.
    #[error(
        "the constant label {label:?} is not valid: use [a-zA-Z_][a-zA-Z0-9_]*, not `le`, `quantile`, `family` or `__…`, each once and with a value"
    )]
    ConstantLabel {
        /// The label's name as given.
        label: String,
    },
    /// A cap leaves no room.
    #[error("`{setting}` is 0: give at least 1")]
    Zero {
        /// The setter's name.
        setting: &'static str,
    },
}

/// The registry cannot be the process's recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The process has a recorder already, from this library or another.
    #[error(
        "a global metrics recorder is installed already: install one only, or use this registry without being global"
    )]
    Taken,
}
