use std::collections::BTreeMap;

use http::StatusCode;

use crate::{Check, Problem, Status};

/// A name for some of the checks, which has probes of its own: `/health/{name}`, and in gRPC the service of that name.
///
/// ```
/// use campanile_health::{Group, Select, Status};
/// use http::StatusCode;
///
/// // All that is tagged `storage`, but not the cache; degraded is too bad.
/// let group = Group::new("storage", Select::tag("storage").except(Select::check("cache")))
///     .code(Status::Degraded, StatusCode::SERVICE_UNAVAILABLE);
/// ```
///
/// There are three from the beginning, which a group of the same name takes the place of:
///
/// | group | has | is |
/// |---|---|---|
/// | `readiness`, at `/health/ready` too | all checks | `not_ready`, too, while the service starts or drains |
/// | `liveness`, at `/health/live` too | [heartbeats](crate::Heartbeat) and the [watchdog](crate::Watchdog) | never to depend on what a restart doesn't mend |
/// | `startup` | heartbeats and the watchdog | 503 until no [hold](crate::Health::hold_startup) is left, once |
///
/// A critical check of a dependency that all replicas share, such as a database, makes all of them unready at once. To keep those requests that
/// don't need it, leave the check out of `readiness`:
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
/// # let running = tokio::spawn(health.run(std::future::pending()));
/// # while health.get("/readyz").status() != 200 || health.report().checks[0].at.is_none() { tokio::task::yield_now().await; }
///
/// // The report and alerts see the outage. The load balancer does not.
/// assert_eq!(health.report().status, Status::Unhealthy);
/// assert_eq!(health.get("/readyz").status(), 200);
/// # running.abort();
/// # Ok(())
/// # }
/// ```
///
/// Kubernetes restarts a container whose startup probe fails for too long, and no restart repairs a
/// dependency. So dependencies are in `readiness`, and neither in `startup` nor in `liveness`.
#[derive(Clone, Debug)]
#[must_use = "a group is there once a health is built with it"]
pub struct Group {
    pub(crate) name: String,
    select: Select,
    codes: BTreeMap<Status, StatusCode>,
}

impl Group {
    /// Returns a group: 1 to 64 characters of `[A-Za-z0-9._-]`, but not `detailed`, `ready` or `live`, which are paths already.
    pub fn new(name: impl Into<String>, select: Select) -> Self {
        Self {
            name: name.into(),
            select,
            codes: BTreeMap::new(),
        }
    }

    /// Sets the code with which the probe answers at a status; the other statuses keep theirs. A code from 200 to 399
    /// is not taken while the service starts or drains. A group is never unknown, so a code for that is a [`Problem`].
    ///
    /// Defaults to 200 for healthy and degraded, and 503 for unhealthy.
    pub fn code(mut self, status: Status, code: StatusCode) -> Self {
        self.codes.insert(status, code);
        self
    }

    /// Finds its checks; what it names that isn't there is noted.
    pub(crate) fn resolve(self, checks: &[Check], problems: &mut Vec<Problem>) -> Resolved {
        self.select.verify(&self.name, checks, problems);
        if self.codes.contains_key(&Status::Unknown) {
            problems.push(Problem::UnknownCode {
                group: self.name.clone(),
            });
        }
        let members = (0..checks.len()).filter(|&number| self.select.has(&checks[number]));
        let code = |status: Status| {
            let usual = match status {
                Status::Healthy | Status::Degraded => StatusCode::OK,
                Status::Unhealthy | Status::Unknown => StatusCode::SERVICE_UNAVAILABLE,
            };
            self.codes.get(&status).copied().unwrap_or(usual)
        };
        Resolved {
            members: members.collect(),
            codes: Status::ALL.map(code),
            name: self.name,
        }
    }
}

/// A group whose checks are found.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) name: String,
    /// By their numbers.
    pub(crate) members: Vec<usize>,
    codes: [StatusCode; Status::ALL.len()],
}

impl Resolved {
    pub(crate) fn code(&self, status: Status) -> StatusCode {
        self.codes[status as usize]
    }
}

/// Which checks: an expression of tags and names.
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
    /// All checks.
    pub fn all() -> Self {
        Self(Term::All)
    }

    /// Heartbeats and the watchdog.
    pub fn liveness() -> Self {
        Self(Term::Liveness)
    }

    /// Those with a tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self(Term::Tag(tag.into()))
    }

    /// The one of a name.
    pub fn check(name: impl Into<String>) -> Self {
        Self(Term::Check(name.into()))
    }

    /// These, and others.
    pub fn or(self, other: Self) -> Self {
        Self(Term::Or(Box::new((self.0, other.0))))
    }

    /// Of these, those that are among others too.
    pub fn and(self, other: Self) -> Self {
        Self(Term::And(Box::new((self.0, other.0))))
    }

    /// These without others.
    pub fn except(self, other: Self) -> Self {
        Self(Term::Except(Box::new((self.0, other.0))))
    }

    fn has(&self, check: &Check) -> bool {
        self.0.has(check)
    }

    fn verify(&self, group: &str, checks: &[Check], problems: &mut Vec<Problem>) {
        self.0.verify(group, checks, problems);
    }
}

impl Term {
    fn has(&self, check: &Check) -> bool {
        match self {
            Self::All => true,
            Self::Liveness => check.is_liveness(),
            Self::Tag(tag) => check.tags.contains(tag),
            Self::Check(name) => check.name == *name,
            Self::Or(both) => both.0.has(check) || both.1.has(check),
            Self::And(both) => both.0.has(check) && both.1.has(check),
            Self::Except(both) => both.0.has(check) && !both.1.has(check),
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
