//! Times as strings and as numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970; 0 for an earlier time.
pub(crate) fn to_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time of a number of milliseconds since 1970.
pub(crate) fn from_millis(millis: u64) -> SystemTime {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    at.unwrap_or(UNIX_EPOCH)
}

/// Returns a time in RFC 3339, in UTC, with milliseconds.
pub(crate) fn to_text(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}
