use std::fmt;

/// What a metric is; a name has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Rises only.
    Counter,
    /// Rises only, and counts time.
    TimeCounter,
    /// Moves up and down.
    Gauge,
    /// Counts samples in buckets.
    Histogram,
    /// Tells quantiles of the last minute.
    Summary,
}

impl Kind {
    /// Returns the name of the kind, as in an exposition's `# TYPE` line.
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
    /// Returns the kind's name for people, to whom the two counters are not the same.
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
