use std::time::Duration;

use crate::ratio::PARTS;

/// The validated target of an SLO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The minimum share of good events, in parts of [`PARTS`].
    Share(u64),
    /// The maximum share of bad events, in parts of [`PARTS`].
    ErrorRate(u64),
    /// The maximum mean latency.
    MeanLatency(Duration),
    /// A percentile in parts of [`PARTS`], and its maximum latency.
    Percentile(u64, Duration),
    /// The minimum number of events per second.
    Throughput(f64),
}

impl Target {
    /// Returns the share of events that may be bad, in parts of [`PARTS`]; `None` without an error
    /// budget.
    pub(crate) fn allowed(self) -> Option<u64> {
        match self {
            Self::Share(parts) => Some(PARTS - parts),
            Self::ErrorRate(parts) => Some(parts),
            Self::MeanLatency(_) | Self::Percentile(..) | Self::Throughput(_) => None,
        }
    }
}
