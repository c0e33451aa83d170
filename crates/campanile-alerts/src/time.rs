//! Moments as text and as numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns a moment in milliseconds since 1970; 0 for one before.
pub(crate) fn to_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time that is a number of milliseconds after 1970.
pub(crate) fn from_millis(millis: u64) -> SystemTime {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    at.unwrap_or(UNIX_EPOCH)
}

/// Returns a moment in UTC, to the millisecond, as RFC 3339 has it.
pub(crate) fn to_text(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}
