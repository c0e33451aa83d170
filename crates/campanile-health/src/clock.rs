use std::time::SystemTime;

use tokio::time::Instant;

pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the scheduler and the probes read the clock"
    )]
    Instant::now()
}

pub(crate) fn wall() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "responses contain the time")]
    SystemTime::now()
}
