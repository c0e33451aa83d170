use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since 1970.
pub(crate) fn milliseconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a page tells when a series or an exemplar was made"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time, for what lasts: a window of samples, a page, a registry.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "samples and pages belong to the moment at which they come"
    )]
    Instant::now()
}
