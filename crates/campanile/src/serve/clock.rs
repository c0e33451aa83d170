use std::time::Duration;

use tokio::time::Instant;

/// Returns the end of a timeout; a timeout that never ends is limited to 30 years.
pub(super) fn later(start: Instant, timeout: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    start + timeout.min(YEARS)
}

pub(super) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server is an edge that times its clients"
    )]
    Instant::now()
}
