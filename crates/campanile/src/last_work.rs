use std::time::Duration;

/// The timeouts of the work after the shutdown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastWork {
    /// The timeout of the last notifications and writes.
    pub(crate) work: Duration,
    /// The timeout of the last lines and exports.
    #[cfg_attr(
        not(feature = "telemetry"),
        expect(dead_code, reason = "there are none")
    )]
    pub(crate) export: Duration,
}

impl Default for LastWork {
    fn default() -> Self {
        Self {
            work: Duration::from_secs(4),
            export: Duration::from_secs(2),
        }
    }
}
