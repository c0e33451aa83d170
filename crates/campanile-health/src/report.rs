use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{Importance, Phase, Value};

/// The status of a service or a check, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Everything works.
    Healthy,
    /// It works with limitations.
    Degraded,
    /// The check has no result yet, or its last one is [outdated](crate::Check::stale_after).
    Unknown,
    /// It does not work.
    Unhealthy,
}

impl Status {
    pub(crate) const ALL: [Self; 4] = [
        Self::Healthy,
        Self::Degraded,
        Self::Unknown,
        Self::Unhealthy,
    ];

    /// Returns the status's name: `healthy`, `degraded`, `unknown` or `unhealthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The status of a service and its checks, from [`Health::report`](crate::Health::report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The service's status.
    ///
    /// It is unhealthy if a critical check is unhealthy or unknown. It is degraded if another check
    /// is not healthy. Informational checks do not count.
    pub status: Status,
    /// The checks, in the order in which they were added.
    pub checks: Vec<CheckReport>,
    /// The service's phase.
    pub phase: Phase,
    /// The time since the health was built.
    pub uptime: Duration,
    /// Whether [`Health::run`](crate::Health::run) is active.
    pub is_running: bool,
}

/// The status and the last result of a check.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The check's name.
    pub name: Arc<str>,
    /// The check's importance.
    pub importance: Importance,
    /// The check's status. A failed check is unhealthy if it is critical, otherwise degraded.
    pub status: Status,
    /// Whether the checked dependency works, independent of the check's importance. `None` if the
    /// status is unknown.
    pub works: Option<bool>,
    /// The message of the last call, if there is one.
    pub message: Option<String>,
    /// Whether `message` is an error string, which may contain internal details.
    pub is_error: bool,
    /// The values of the last call.
    pub details: Vec<(Cow<'static, str>, Value)>,
    /// The duration of the last call. `None` if there was none.
    pub duration: Option<Duration>,
    /// The time at which the last call ended, by the wall clock.
    pub at: Option<SystemTime>,
    /// The time since the last call ended.
    pub age: Option<Duration>,
    /// The root causes among the [dependencies](crate::Check::depends_on), direct or indirect.
    ///
    /// A root cause is a check that is not healthy, while all its dependencies are. Empty if this
    /// check is healthy, or a root cause itself.
    pub root_causes: Vec<Arc<str>>,
}

/// Returns a check's effect on the status of its service.
pub(crate) fn service_status(importance: Importance, status: Status) -> Status {
    match (importance, status) {
        (Importance::Informational, _) | (_, Status::Healthy) => Status::Healthy,
        (Importance::Critical, Status::Unknown | Status::Unhealthy) => Status::Unhealthy,
        (Importance::Critical | Importance::Degrading, _) => Status::Degraded,
    }
}
