use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Returns the time that this thread has used of processors, where the system tells.
pub(crate) fn of_thread() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return of(rustix::time::ClockId::ThreadCPUTime);
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Returns the time that the process has used of processors, where the system tells.
pub(crate) fn of_process() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return of(rustix::time::ClockId::ProcessCPUTime);
    #[cfg(not(target_os = "linux"))]
    return None;
}

#[cfg(target_os = "linux")]
fn of(clock: rustix::time::ClockId) -> Option<Duration> {
    let time = rustix::time::clock_gettime(clock);
    let (seconds, nanoseconds) = (time.tv_sec.try_into(), time.tv_nsec.try_into());
    Some(Duration::new(seconds.ok()?, nanoseconds.ok()?))
}
