use crate::LabelSet;

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: LabelSet,
    /// The value, of which NaN and the infinities are possible ones.
    pub value: f64,
}

impl Sample {
    /// Returns a sample.
    pub fn new(labels: LabelSet, value: f64) -> Self {
        Self { labels, value }
    }
}
