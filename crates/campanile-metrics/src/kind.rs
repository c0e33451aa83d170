use std::fmt;

/// The kind of a metric. A name has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Only increases.
    Counter,
    /// Only increases, and counts time.
    TimeCounter,
    /// Increases and decreases.
    Gauge,
    /// Counts samples in buckets.
    Histogram,
    /// Has quantiles of the last minute.
    Summary,
}

impl Kind {
    /// Returns the name of the kind in the `# TYPE` line of an exposition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter | Self::TimeCounter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

impl Kind {
    /// Returns the name of the kind for messages, which distinguishes the two counters.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::TimeCounter => "counter of time",
            other => other.as_str(),
        }
    }

    pub(crate) fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::TimeCounter)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
