use std::ops::Add;
use std::time::{Duration, Instant, SystemTime};

/// A moment, by both of the system's clocks: what judges and decides is given one, and reads no clock itself.
///
/// ```
/// use std::time::{Duration, Instant, SystemTime};
///
/// use campanile_series::Now;
///
/// let start = Now { wall: SystemTime::UNIX_EPOCH, mono: Instant::now() };
/// let later = start + Duration::from_secs(60);
/// assert_eq!(later.mono - start.mono, Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What a calendar and a watch say: it is shown and stored, and can be set to anything at any moment.
    pub wall: SystemTime,
    /// What a stopwatch says: it measures how long something lasts within one run of a process, and never goes back.
    pub mono: Instant,
}

/// A later moment, at which both clocks have advanced by the same time.
impl Add<Duration> for Now {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            mono: self.mono.checked_add(time).unwrap_or(self.mono),
        }
    }
}
