use std::collections::BTreeMap;

use http::StatusCode;

use crate::{Check, Problem, Status};

/// A named selection of checks, with its own probe: `/health/{name}`, and the gRPC service
/// `{name}`.
///
/// ```
/// use campanile_health::{Group, Select, Status};
/// use http::StatusCode;
///
/// // All checks with the tag `storage`, except the cache. Degraded fails the probe.
/// let group = Group::new("storage", Select::tag("storage").except(Select::check("cache")))
///     .code(Status::Degraded, StatusCode::SERVICE_UNAVAILABLE);
/// ```
///
/// There are three default groups. A group of the same name replaces one:
///
/// | group | checks | probe |
/// |---|---|---|
/// | `readiness`, or `/health/ready` | all | also fails while the service starts or drains |
/// | `liveness`, or `/health/live` | [heartbeats](crate::Heartbeat), the [watchdog](crate::Watchdog) | fails if a restart helps |
/// | `startup` | heartbeats, the watchdog | fails until no [hold](crate::Health::hold_startup) is left; once it succeeds, it stays so |
///
/// Kubernetes restarts a container whose startup or liveness probe fails for too long, and no
/// restart repairs a dependency. So checks of dependencies belong in `readiness`, and neither in
/// `startup` nor in `liveness`.
///
/// # Shared dependencies
///
/// A critical check of a dependency that all replicas share, such as a database, makes all of them
/// unready at once. To still serve the requests that do not need it, leave the check out of
/// `readiness`:
///
/// ```
/// use campanile_health::{Check, Group, Health, Select, Status};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let database = Check::new("database", async || Err::<(), _>("connection refused"));
/// let health = Health::builder()
///     .check(database.critical())
///     .group(Group::new("readiness", Select::all().except(Select::check("database"))))
///     .build()?;
/// let running = tokio::spawn(health.run(std::future::pending()));
/// # while health.get("/readyz").status() != 200 || health.report().checks[0].at.is_none() { tokio::task::yield_now().await; }
///
/// // The report and alerts show the outage. The load balancer still sends requests.
/// assert_eq!(health.report().status, Status::Unhealthy);
/// assert_eq!(health.get("/readyz").status(), 200);
/// # running.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a group does nothing until a health is built with it"]
pub struct Group {
    pub(crate) name: String,
    select: Select,
    codes: BTreeMap<Status, StatusCode>,
}

impl Group {
    /// Creates a group.
    ///
    /// The name has 1 to 64 characters of `[A-Za-z0-9._-]`. The names `detailed`, `ready` and
    /// `live` are reserved, because they are paths.
    pub fn new(name: impl Into<String>, select: Select) -> Self {
        Self {
            name: name.into(),
            select,
            codes: BTreeMap::new(),
        }
    }

    /// Sets the probe's status code for a status; the other statuses keep theirs.
    ///
    /// While the service starts or drains, readiness fails with 503 even if this code is from 200
    /// to 399. A group is never [unknown](Status::Unknown), so a code for it is a [`Problem`].
    ///
    /// Defaults to 200 for healthy and degraded, and 503 for unhealthy.
    pub fn code(mut self, status: Status, code: StatusCode) -> Self {
        self.codes.insert(status, code);
        self
    }

    /// Selects the group's checks, and adds unknown names to the problems.
    pub(crate) fn resolve(self, checks: &[Check], problems: &mut Vec<Problem>) -> Resolved {
        self.select.verify(&self.name, checks, problems);
        if self.codes.contains_key(&Status::Unknown) {
            problems.push(Problem::UnknownCode {
                group: self.name.clone(),
            });
        }
        let members = (0..checks.len()).filter(|&number| self.select.matches(&checks[number]));
        let code = |status: Status| {
            let default = match status {
                Status::Healthy | Status::Degraded => StatusCode::OK,
                Status::Unhealthy | Status::Unknown => StatusCode::SERVICE_UNAVAILABLE,
            };
            self.codes.get(&status).copied().unwrap_or(default)
        };
        Resolved {
            members: members.collect(),
            codes: Status::ALL.map(code),
            name: self.name,
        }
    }
}

/// A group with the numbers of its checks.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) name: String,
    pub(crate) members: Vec<usize>,
    codes: [StatusCode; Status::ALL.len()],
}

impl Resolved {
    pub(crate) fn code(&self, status: Status) -> StatusCode {
        self.codes[status as usize]
    }
}

/// An expression that selects checks by tag and name.
#[derive(Clone, Debug)]
#[must_use]
pub struct Select(Term);

#[derive(Clone, Debug)]
enum Term {
    All,
    /// Heartbeats and the watchdog.
    Liveness,
    Tag(String),
    Check(String),
    Or(Box<(Self, Self)>),
    And(Box<(Self, Self)>),
    Except(Box<(Self, Self)>),
}

impl Select {
    /// Selects all checks.
    pub fn all() -> Self {
        Self(Term::All)
    }

    /// Selects heartbeats and the watchdog.
    pub fn liveness() -> Self {
        Self(Term::Liveness)
    }

    /// Selects the checks with a tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self(Term::Tag(tag.into()))
    }

    /// Selects the check with a name.
    pub fn check(name: impl Into<String>) -> Self {
        Self(Term::Check(name.into()))
    }

    /// Selects the checks that either expression selects.
    pub fn or(self, other: Self) -> Self {
        Self(Term::Or(Box::new((self.0, other.0))))
    }

    /// Selects the checks that both expressions select.
    pub fn and(self, other: Self) -> Self {
        Self(Term::And(Box::new((self.0, other.0))))
    }

    /// Selects the checks that `other` does not select.
    pub fn except(self, other: Self) -> Self {
        Self(Term::Except(Box::new((self.0, other.0))))
    }

    fn matches(&self, check: &Check) -> bool {
        self.0.matches(check)
    }

    fn verify(&self, group: &str, checks: &[Check], problems: &mut Vec<Problem>) {
        self.0.verify(group, checks, problems);
    }
}

impl Term {
    fn matches(&self, check: &Check) -> bool {
        match self {
            Self::All => true,
            Self::Liveness => check.is_liveness(),
            Self::Tag(tag) => check.tags.contains(tag),
            Self::Check(name) => check.name == *name,
            Self::Or(both) => both.0.matches(check) || both.1.matches(check),
            Self::And(both) => both.0.matches(check) && both.1.matches(check),
            Self::Except(both) => both.0.matches(check) && !both.1.matches(check),
        }
    }

    fn verify(&self, group: &str, checks: &[Check], problems: &mut Vec<Problem>) {
        let unknown = |what: &'static str, name: &String| Problem::Unknown {
            what,
            name: name.clone(),
            referrer: format!("group {group:?}"),
        };
        match self {
            Self::All | Self::Liveness => {}
            Self::Tag(tag) if checks.iter().any(|check| check.tags.contains(tag)) => {}
            Self::Tag(tag) => problems.push(unknown("tag", tag)),
            Self::Check(name) if checks.iter().any(|check| check.name == *name) => {}
            Self::Check(name) => problems.push(unknown("check", name)),
            Self::Or(both) | Self::And(both) | Self::Except(both) => {
                both.0.verify(group, checks, problems);
                both.1.verify(group, checks, problems);
            }
        }
    }
}
