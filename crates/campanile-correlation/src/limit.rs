use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Calls the function at most once per minute of the wall clock.
pub(crate) fn once_a_minute(function: impl FnOnce()) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "the limit of log lines follows the wall clock"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // 0 means never.
    let minute = now.map_or(Duration::ZERO, |now| now).as_secs() / 60 + 1;
    if LAST.swap(minute, Ordering::Relaxed) != minute {
        function();
    }
}
