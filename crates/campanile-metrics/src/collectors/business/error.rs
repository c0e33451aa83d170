use std::fmt;
use std::time::Duration;

use crate::RegisterError;

use super::BusinessCollector;

/// A [`Business`](crate::Business) cannot be made: all that is wrong, at once.
#[derive(Clone, Debug, PartialEq)]
pub struct BusinessError {
    problems: Vec<BusinessProblem>,
}

/// The maximum number of collectors.
const MAX_COLLECTORS: usize = 100;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What `GET /metrics/business` says besides the sections.
const TIMESTAMP: &str = "timestamp";

impl BusinessError {
    /// Returns what is wrong, in the order of the collectors; at least one.
    pub fn problems(&self) -> &[BusinessProblem] {
        &self.problems
    }

    pub(super) fn registering(error: RegisterError) -> Self {
        let problems = vec![BusinessProblem::Register(error)];
        Self { problems }
    }

    pub(super) fn check(collectors: &[BusinessCollector]) -> Result<(), Self> {
        let mut problems = Vec::new();
        if collectors.len() > MAX_COLLECTORS {
            let collectors = collectors.len();
            problems.push(BusinessProblem::TooMany { collectors });
        }
        for (number, collector) in collectors.iter().enumerate() {
            let section = &collector.section;
            let is_valid =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !section.starts_with(|first: char| first.is_ascii_lowercase())
                || section.len() > 64
                || !section.bytes().all(is_valid)
                || section.ends_with("_total")
                || section == TIMESTAMP
            {
                let section = section.clone();
                problems.push(BusinessProblem::Section { section });
            }
            for other in collectors[..number].iter().map(|other| &other.section) {
                if other == section {
                    let section = section.clone();
                    problems.push(BusinessProblem::Duplicate { section });
                } else if is_within(other, section) || is_within(section, other) {
                    problems.push(BusinessProblem::Overlap {
                        section: section.clone(),
                        other: other.clone(),
                    });
                }
            }
            for (setting, time) in [("period", collector.period), ("timeout", collector.timeout)] {
                if !(SHORTEST..=LONGEST).contains(&time) {
                    problems.push(BusinessProblem::Time {
                        section: section.clone(),
                        setting,
                        time,
                    });
                }
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Self { problems })
    }
}

/// Returns whether a section's gauges may be among another's.
fn is_within(section: &str, other: &str) -> bool {
    let rest = section.strip_prefix(other);
    rest.is_some_and(|rest| rest.starts_with('_'))
}

impl fmt::Display for BusinessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&problems.join("; "))
    }
}

impl std::error::Error for BusinessError {}

/// One mistake in the collectors.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BusinessProblem {
    /// A section's name is not valid.
    #[error(
        "the section name {section:?} is not valid: use 1 to 64 characters of [a-z0-9_], a letter first, and neither `timestamp` nor `_total` at the end"
    )]
    Section {
        /// The name as given.
        section: String,
    },
    /// Two collectors have the same section.
    #[error("there are two collectors of the section {section:?}: give each a section of its own")]
    Duplicate {
        /// The section.
        section: String,
    },
    /// The gauges of one section could have the names of another's.
    #[error(
        "the sections {section:?} and {other:?} can have gauges of the same name: let neither begin with the other and an underscore"
    )]
    Overlap {
        /// The section.
        section: String,
        /// The one before it.
        other: String,
    },
    /// A time is too short or too long.
    #[error("the {setting} of the section {section:?} is {time:?}: give 1 ms to 30 days")]
    Time {
        /// The section.
        section: String,
        /// Which one: `period` or `timeout`.
        setting: &'static str,
        /// The time as given.
        time: Duration,
    },
    /// There are too many collectors.
    #[error("there are {collectors} collectors: {MAX_COLLECTORS} are the most")]
    TooMany {
        /// How many there are.
        collectors: usize,
    },
    /// The collectors' own metrics have no place in the registry.
    #[error("the collectors' own metrics can't be registered")]
    Register(#[source] RegisterError),
}
