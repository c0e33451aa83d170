use std::time::SystemTime;

use tokio::time::Instant;

pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the scheduler and the probes are edges"
    )]
    Instant::now()
}

pub(crate) fn wall() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer says when it was given"
    )]
    SystemTime::now()
}
