use std::ops::Add;
use std::time::{Duration, Instant, SystemTime};

/// A point in time on both of the system's clocks.
///
/// Domain logic takes a `Now` and does not read a clock, so tests can pass any time.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_series::Now;
///
/// let start = Now::system();
/// let later = start + Duration::from_secs(60);
/// assert_eq!(later.mono - start.mono, Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: it is shown and stored, and may be set to any time.
    pub wall: SystemTime,
    /// The monotonic clock: it measures durations within a process, and never goes back.
    pub mono: Instant,
}

impl Now {
    /// Returns the current time of the system's clocks.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the place where applications read both clocks"
    )]
    pub fn system() -> Self {
        Self {
            wall: SystemTime::now(),
            mono: Instant::now(),
        }
    }
}

/// Returns a later time: both clocks advance by the duration.
impl Add<Duration> for Now {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            mono: self.mono.checked_add(time).unwrap_or(self.mono),
        }
    }
}
