use std::fmt;

/// A [`Health`] cannot be built: all that is wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns what is wrong, in the order of the checks, then of the groups; at least one.
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

impl std::error::Error for BuildError {}

/// One mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A name is not valid.
    #[error(
        "the {what} name {name:?} is not valid: use 1 to 64 characters of [A-Za-z0-9._-], and for a group none of `detailed`, `ready`, `live`"
    )]
    Name {
        /// What has it: `check`, `tag`, `group`.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// Two have the same name, but for upper and lower case.
    #[error("there are two {what} named {name:?}: give each a name of its own")]
    Duplicate {
        /// `checks` or `groups`.
        what: &'static str,
        /// The second one's name.
        name: String,
    },
    /// A time, or a number, is zero.
    #[error("the {setting} of the check {name:?} is 0: give more")]
    Zero {
        /// The check.
        name: String,
        /// The setter's name.
        setting: &'static str,
    },
    /// A result would be too old before the next comes.
    #[error(
        "the staleness of the check {name:?} is shorter than its period, with the jitter, and its timeout: give more"
    )]
    Staleness {
        /// The check.
        name: String,
    },
    /// There is no such check, or no check with such a tag.
    #[error("there is no {what} {name:?}, which {at} needs: add it, or take it out")]
    Unknown {
        /// Where.
        at: String,
        /// `check` or `tag`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A group has a code for unknown. A group with an unknown critical check is unhealthy, so the code would have no effect.
    #[error(
        "invalid status \"unknown\" for a code of the group {group:?}: expected healthy, degraded or unhealthy"
    )]
    UnknownCode {
        /// The group.
        group: String,
    },
    /// Checks depend on each other in a circle.
    #[error("the checks {} depend on each other in a circle: take one of the dependencies out", .names.join(" → "))]
    Cycle {
        /// The checks, of which the last is the first.
        names: Vec<String>,
    },
    /// The watchdog can't listen.
    #[error("the watchdog can't listen at its address ({reason}): give one that is free")]
    Watchdog {
        /// What is wrong with it.
        reason: String,
    },
    /// The jitter is no share.
    #[error("the jitter is {share}: give a share from 0 to 1")]
    Jitter {
        /// The share as given.
        share: String,
    },
    /// The service's version is not valid.
    #[error("invalid version {version:?}: expected 1 to 64 printable ASCII characters")]
    Version {
        /// The first 65 characters of it.
        version: String,
    },
    /// No check could be called.
    #[error("the concurrency is 0: give at least 1")]
    Concurrency,
    /// There is too much of something.
    #[error("there are {number} {what}: {most} are the most")]
    TooMany {
        /// `checks` or `groups`.
        what: &'static str,
        /// How many there are.
        number: usize,
        /// How many there may be.
        most: usize,
    },
}
