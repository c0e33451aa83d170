use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{Importance, Phase, Value};

/// How a service or a check is; a greater one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, with something missing.
    Degraded,
    /// Of a check: it has not run yet, or too long ago.
    Unknown,
    /// It doesn't work.
    Unhealthy,
}

impl Status {
    pub(crate) const ALL: [Self; 4] = [
        Self::Healthy,
        Self::Degraded,
        Self::Unknown,
        Self::Unhealthy,
    ];

    /// Returns the status in words: `healthy`, `degraded`, `unknown`, `unhealthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a service and its checks are; from [`Health::report`](crate::Health::report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The worst that its checks make of it: a critical check that is unhealthy or unknown makes it unhealthy, any other that is not
    /// healthy makes it degraded, and an informational one nothing.
    pub status: Status,
    /// The checks, in the order in which they were added.
    pub checks: Vec<CheckReport>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The time since the health was built.
    pub uptime: Duration,
    /// Whether [`Health::run`](crate::Health::run) is running.
    pub is_running: bool,
}

/// How a check is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name.
    pub name: Arc<str>,
    /// What a failure means for the service.
    pub importance: Importance,
    /// The status: that of a failed check is unhealthy if it is critical, else degraded.
    pub status: Status,
    /// Whether what is checked works, whatever that means for the service; `None` if that is not known.
    pub works: Option<bool>,
    /// What the last call said.
    pub message: Option<String>,
    /// Whether that is an error's text, which may hold what is not for everybody.
    pub is_error: bool,
    /// Figures, and the like.
    pub details: Vec<(Cow<'static, str>, Value)>,
    /// How long the last call took, if there was one.
    pub duration: Option<Duration>,
    /// When it ended, by the wall clock.
    pub at: Option<SystemTime>,
    /// How long ago that was.
    pub age: Option<Duration>,
    /// The checks that this one [depends on](crate::Check::depends_on), directly or not, and that are to blame: they are not healthy,
    /// and all that they depend on themselves is. Empty if it is healthy, or to blame itself.
    pub root_causes: Vec<Arc<str>>,
}

/// Returns what a check makes of its service.
pub(crate) fn service_status(importance: Importance, status: Status) -> Status {
    match (importance, status) {
        (Importance::Informational, _) | (_, Status::Healthy) => Status::Healthy,
        (Importance::Critical, Status::Unknown | Status::Unhealthy) => Status::Unhealthy,
        (Importance::Critical | Importance::Degrading, _) => Status::Degraded,
    }
}
