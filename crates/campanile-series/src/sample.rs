use crate::LabelSet;

/// A value of a series at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels of the series.
    pub labels: LabelSet,
    /// The value, which may be NaN or infinite.
    pub value: f64,
}

impl Sample {
    /// Creates a sample.
    pub fn new(labels: LabelSet, value: f64) -> Self {
        Self { labels, value }
    }
}
