use std::time::Duration;

/// How a service or a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, with something missing.
    Degraded,
    /// It doesn't work.
    Unhealthy,
    /// Of a check: it has not run yet, or too long ago.
    Unknown,
}

impl Status {
    /// Returns the status in words: `healthy`, `degraded`, `unhealthy`, `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

/// How a service and its checks are; from [`Health::report`](crate::Health::report).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The service's status: unhealthy if a critical check has failed or is unknown, degraded if another one has or is, healthy
    /// otherwise.
    pub status: Status,
    /// The checks, in the order in which they were added.
    pub checks: Vec<CheckReport>,
    /// The time since the health was built.
    pub uptime: Duration,
    /// Whether [`Health::run`](crate::Health::run) is running.
    pub is_running: bool,
}

/// How a check is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name.
    pub name: String,
    /// Whether the service is unhealthy without it.
    pub is_critical: bool,
    /// The status: that of a failed check is unhealthy if it is critical, else degraded.
    pub status: Status,
    /// What the last call failed with, at most 1,024 bytes; it may hold what is not for everybody.
    pub error: Option<String>,
    /// How long the last call took, if there was one.
    pub duration: Option<Duration>,
}

impl Report {
    pub(crate) fn new(checks: Vec<CheckReport>, uptime: Duration, is_running: bool) -> Self {
        let is_down = |check: &CheckReport| check.status != Status::Healthy;
        let status = if checks
            .iter()
            .any(|check| check.is_critical && is_down(check))
        {
            Status::Unhealthy
        } else if checks.iter().any(is_down) {
            Status::Degraded
        } else {
            Status::Healthy
        };
        Self {
            status,
            checks,
            uptime,
            is_running,
        }
    }
}
