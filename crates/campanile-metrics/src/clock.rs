use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the milliseconds since the Unix epoch.
pub(crate) fn milliseconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "creation times of series and exemplars are exported"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the current time.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "recording a sample and starting a scrape are edges"
    )]
    Instant::now()
}

/// Returns the CPU time of this thread, if the system reports it.
pub(crate) fn of_thread() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return of(rustix::time::ClockId::ThreadCPUTime);
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Returns the CPU time of the process, if the system reports it.
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
