use std::fmt;
use std::time::Duration;

use crate::RegisterError;

use super::BusinessCollector;

/// The error of [`BusinessMetricsBuilder::register`](super::BusinessMetricsBuilder::register): all
/// problems of the collectors.
#[derive(Clone, Debug, PartialEq)]
pub struct BusinessError {
    problems: Vec<BusinessProblem>,
}

/// The maximum number of collectors.
const MAX_COLLECTORS: usize = 100;

const MIN_TIME: Duration = Duration::from_millis(1);
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The field of `GET /metrics/business` besides the sections.
const TIMESTAMP: &str = "timestamp";

impl BusinessError {
    /// Returns the problems, in the order of the collectors; at least one.
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
            for (setting, time) in [
                ("interval", collector.interval),
                ("timeout", collector.timeout),
            ] {
                if !(MIN_TIME..=MAX_TIME).contains(&time) {
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

/// Returns whether gauges of a section may have names of another section.
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

/// A problem of the collectors.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BusinessProblem {
    /// The name of a section is invalid.
    #[error(
        "invalid section name {section:?}: expected 1 to 64 characters of [a-z0-9_], a letter first, not `timestamp`, and no `_total` at the end"
    )]
    Section {
        /// The name.
        section: String,
    },
    /// Two collectors have the same section.
    #[error("duplicate section {section:?}: expected one collector per section")]
    Duplicate {
        /// The section.
        section: String,
    },
    /// Gauges of two sections could have the same names.
    #[error(
        "invalid section name {section:?}: expected no common prefix with {other:?}, their gauges could have the same names"
    )]
    Overlap {
        /// The section.
        section: String,
        /// The other section.
        other: String,
    },
    /// An interval or a timeout is too short or too long.
    #[error("invalid {setting} {time:?} of the section {section:?}: expected 1 ms to 30 days")]
    Time {
        /// The section.
        section: String,
        /// The setting: `interval` or `timeout`.
        setting: &'static str,
        /// The time.
        time: Duration,
    },
    /// There are too many collectors.
    #[error("too many collectors {collectors}: expected at most {MAX_COLLECTORS}")]
    TooMany {
        /// The number of collectors.
        collectors: usize,
    },
    /// The metrics of the collectors can't be registered.
    #[error("failed to register the metrics of the collectors")]
    Register(#[source] RegisterError),
}
