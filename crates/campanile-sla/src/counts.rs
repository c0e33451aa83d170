use std::ops::AddAssign;
use std::time::Duration;

/// The events of a window: HTTP requests, or the events of another [`Source`](crate::Source).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliCounts {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    /// The sum of latencies, in nanoseconds.
    pub(crate) latency: u64,
    /// In milliseconds.
    pub(crate) covered: u64,
}

impl SliCounts {
    /// Returns the number of good events.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Returns the number of bad events.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// Returns the number of valid events: good and bad ones.
    pub fn valid(&self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Returns the observed time: the part of the window in which events were counted.
    pub fn covered(&self) -> Duration {
        Duration::from_millis(self.covered)
    }

    /// Returns the share of bad events, from 0 to 1; `None` without events.
    pub fn error_rate(&self) -> Option<f64> {
        (self.valid() > 0).then(|| self.bad as f64 / self.valid() as f64)
    }

    /// Returns the mean latency of the events; `None` without events.
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latency
            .checked_div(self.valid())
            .map(Duration::from_nanos)
    }

    /// Returns the events per second of observed time; `None` if no time was observed.
    pub fn throughput(&self) -> Option<f64> {
        (self.covered > 0).then(|| self.valid() as f64 / self.covered().as_secs_f64())
    }

    /// Creates the counts of one event.
    pub(crate) fn one(good: bool, latency: Duration) -> Self {
        Self {
            good: good.into(),
            bad: (!good).into(),
            latency: u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX),
            covered: 0,
        }
    }

    /// Subtracts bad events, at most all of them.
    pub(crate) fn subtract_bad(mut self, bad: u64) -> Self {
        self.bad = self.bad.saturating_sub(bad);
        self
    }
}

impl AddAssign for SliCounts {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
        self.latency = self.latency.saturating_add(other.latency);
        self.covered = self.covered.saturating_add(other.covered);
    }
}
