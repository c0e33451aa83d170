use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Does something unless it was done in this minute.
pub(crate) fn once_a_minute(what: impl FnOnce()) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "a line of the log belongs to the moment at which it comes"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // 0 is never.
    let minute = now.map_or(Duration::ZERO, |now| now).as_secs() / 60 + 1;
    if LAST.swap(minute, Ordering::Relaxed) != minute {
        what();
    }
}
