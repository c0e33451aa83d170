use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// A [`Health`](crate::Health) or a `PassiveCheck` (feature `passive`) cannot be built. Lists every
/// problem.
///
/// The [source](Error::source) is the cause of the first problem that has one.
#[derive(Clone, Debug)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems, first those of checks, then those of groups; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&problems.join("; "))
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problems.iter().find_map(Error::source)
    }
}

/// One invalid setting.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The name of a check, a tag or a group is not valid.
    #[error("invalid {what} name {name:?}: expected {expected}")]
    InvalidName {
        /// `check`, `tag` or `group`.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The constraint.
        expected: &'static str,
    },
    /// Two checks or two groups have the same name, ignoring case.
    #[error("duplicate {what} name {name:?}: expected a unique name, ignoring case")]
    DuplicateName {
        /// `check` or `group`.
        what: &'static str,
        /// The second one's name.
        name: String,
    },
    /// A check's setting is not valid.
    #[error("invalid {setting} {value} of check {check:?}: expected {expected}")]
    InvalidCheckSetting {
        /// The check's name.
        check: String,
        /// The setter's name.
        setting: &'static str,
        /// The value as given.
        value: String,
        /// The constraint.
        expected: String,
    },
    /// Another setting is not valid.
    #[error("invalid {setting} {value}: expected {expected}")]
    InvalidSetting {
        /// The setter's name.
        setting: &'static str,
        /// The value as given, at most 65 characters.
        value: String,
        /// The constraint.
        expected: &'static str,
    },
    /// A check or a group refers to an unknown check, or to a tag that no check has.
    #[error("unknown {what} {name:?} in {referrer}: expected a {what} of this service")]
    Unknown {
        /// `check` or `tag`.
        what: &'static str,
        /// The name that was not found.
        name: String,
        /// The check or group that refers to it, such as `group "storage"`.
        referrer: String,
    },
    /// A group has a code for [`Status::Unknown`](crate::Status::Unknown). A group is never
    /// unknown, so the code would have no effect.
    #[error(
        "invalid status \"unknown\" for a code of group {group:?}: expected healthy, degraded or unhealthy"
    )]
    UnknownCode {
        /// The group's name.
        group: String,
    },
    /// Checks depend on each other in a cycle.
    #[error("invalid dependencies {}: expected no cycle", .checks.join(" → "))]
    Cycle {
        /// The names of the checks. The last one is the first one.
        checks: Vec<String>,
    },
    /// The watchdog's listener cannot be bound to its address.
    #[error("failed to bind the watchdog's listener to {address}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// There are too many checks or groups.
    #[error("too many {what}: {number} (limit {limit})")]
    TooMany {
        /// `checks` or `groups`.
        what: &'static str,
        /// The number of them.
        number: usize,
        /// The limit.
        limit: usize,
    },
}
