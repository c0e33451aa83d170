use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use campanile_series::{Now, format_duration};

use crate::{Sla, Slo};

/// Settings of an [`Sla`].
///
/// | setting | default |
/// |---|---|
/// | [`objective`](Self::objective) | none |
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SlaBuilder {
    objectives: Vec<Slo>,
}

/// The most objectives.
const MAX_OBJECTIVES: usize = 100;

impl SlaBuilder {
    /// Adds an objective, 100 at most, whose name no other has.
    ///
    /// Defaults to none: exchanges are counted all the same.
    pub fn objective(mut self, objective: Slo) -> Self {
        self.objectives.push(objective);
        self
    }

    /// Returns the service levels, watched from a moment on.
    ///
    /// # Errors
    ///
    /// If an objective is not valid: the error lists all of them.
    pub fn build(self, now: Now) -> Result<Sla, BuildError> {
        let mut problems = Vec::new();
        if self.objectives.len() > MAX_OBJECTIVES {
            problems.push(Problem::TooMany {
                objectives: self.objectives.len(),
            });
        }
        let objectives = self.objectives.into_iter();
        let objectives: Vec<_> = objectives
            .filter_map(|objective| objective.check(&mut problems))
            .collect();
        let mut names = HashSet::new();
        for objective in &objectives {
            if !names.insert(objective.name.to_ascii_lowercase()) {
                problems.push(Problem::Duplicate {
                    name: objective.name.clone(),
                });
            }
        }
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Sla::new(objectives, now))
    }
}

/// Objectives are not valid: all that is wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    /// Returns what is wrong; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// One mistake in an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The name can't be one.
    #[error("the objective's name {name:?} is not valid: use 1 to 64 characters of [A-Za-z0-9._-]")]
    Name {
        /// The name.
        name: String,
    },
    /// Two objectives have one name, or names that differ in case only.
    #[error("there are two objectives named {name:?}: give each a name of its own")]
    Duplicate {
        /// The name of the second.
        name: String,
    },
    /// The target can't be one.
    #[error("the target {target:?} of the objective {name:?} is not valid: give {expected}")]
    Target {
        /// The objective's name.
        name: String,
        /// The target as given.
        target: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The window is too short or too long.
    #[error("the window {} of the objective {name:?} is not valid: give 1s to 30d", format_duration(*window))]
    Window {
        /// The objective's name.
        name: String,
        /// The window.
        window: Duration,
    },
    /// There are too many objectives.
    #[error("there are {objectives} objectives: give at most 100")]
    TooMany {
        /// How many there are.
        objectives: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use super::*;

    fn now() -> Now {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let mono = Instant::now();
        Now {
            wall: UNIX_EPOCH,
            mono,
        }
    }

    #[test]
    fn all_mistakes_are_told_together() {
        let error = Sla::builder()
            .objective(Slo::availability("a b", "100%"))
            .objective(Slo::throughput("t", f64::NAN).over(Duration::ZERO))
            .objective(
                Slo::response_time("r", Duration::ZERO).over(Duration::from_secs(31 * 86_400)),
            )
            .objective(Slo::error_rate("e", "5"))
            .objective(Slo::error_rate("same", "5%"))
            .objective(Slo::error_rate("SAME", "5%"))
            .build(now())
            .unwrap_err();
        let problems: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                r#"the objective's name "a b" is not valid: use 1 to 64 characters of [A-Za-z0-9._-]"#,
                r#"the target "100%" of the objective "a b" is not valid: give a percentage from 0% to below 100%, such as 99.9%"#,
                r#"the window 0s of the objective "t" is not valid: give 1s to 30d"#,
                r#"the target "NaN" of the objective "t" is not valid: give a number above 0"#,
                r#"the window 31d of the objective "r" is not valid: give 1s to 30d"#,
                r#"the target "0" of the objective "r" is not valid: give a time above 0"#,
                r#"the target "5" of the objective "e" is not valid: give a percentage from above 0% to 100%, such as 1%"#,
                r#"there are two objectives named "SAME": give each a name of its own"#,
            ]
        );
        assert_eq!(error.to_string(), problems.join("; "));
    }

    #[test]
    fn the_number_of_objectives_has_a_cap() {
        let build = |objectives: usize| {
            let builder = (0..objectives).fold(Sla::builder(), |builder, number| {
                builder.objective(Slo::error_rate(format!("o{number}"), "1%"))
            });
            builder.build(now())
        };
        assert!(build(100).is_ok());
        assert_eq!(
            build(101).unwrap_err().problems(),
            [Problem::TooMany { objectives: 101 }]
        );
    }
}
