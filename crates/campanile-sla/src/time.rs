//! Conversions between the wall clock and milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970; 0 for an earlier time.
pub(crate) fn to_millis(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time that is a number of milliseconds after 1970.
pub(crate) fn from_millis(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Returns a time moved by a number of milliseconds.
pub(crate) fn shifted(wall: SystemTime, by: i64) -> SystemTime {
    from_millis(to_millis(wall).saturating_add_signed(by))
}
