use campanile_series::Now;

/// Returns the current time: the interval and the routes are edges.
pub(crate) fn now() -> Now {
    #[expect(
        clippy::disallowed_methods,
        reason = "the interval and the routes are edges"
    )]
    Now {
        wall: std::time::SystemTime::now(),
        mono: std::time::Instant::now(),
    }
}
