use std::fmt;

use crate::{Check, Health};

/// Settings of a [`Health`].
///
/// | setting | default |
/// |---|---|
/// | [`check`](Self::check) | none: the service is healthy as long as it answers |
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct HealthBuilder {
    checks: Vec<Check>,
}

/// The most checks that there may be.
const MAX_CHECKS: usize = 1_000;

impl HealthBuilder {
    /// Adds a check; there may be 1,000.
    ///
    /// Defaults to none.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Returns the health. No check runs before [`Health::run`] does.
    ///
    /// # Errors
    ///
    /// If a check's settings are not valid, or there are too many: the error lists all that is wrong.
    pub fn build(self) -> Result<Health, BuildError> {
        let mut problems = Vec::new();
        if self.checks.len() > MAX_CHECKS {
            problems.push(Problem::TooMany {
                checks: self.checks.len(),
            });
        }
        for (number, check) in self.checks.iter().enumerate() {
            let name = || check.name.clone();
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if !(1..=64).contains(&check.name.len()) || !check.name.bytes().all(is_valid) {
                problems.push(Problem::Name { name: name() });
            }
            if self.checks[..number]
                .iter()
                .any(|other| other.name.eq_ignore_ascii_case(&check.name))
            {
                problems.push(Problem::Duplicate { name: name() });
            }
            if check.timeout.is_zero() {
                problems.push(Problem::Zero {
                    name: name(),
                    setting: "timeout",
                });
            }
            if check.period.is_zero() {
                problems.push(Problem::Zero {
                    name: name(),
                    setting: "period",
                });
            }
        }
        if problems.is_empty() {
            Ok(Health::new(self.checks))
        } else {
            Err(BuildError { problems })
        }
    }
}

/// A [`Health`] cannot be built: all that is wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    /// Returns what is wrong, in the order of the checks; at least one.
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

/// One mistake in the checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A name is not valid.
    #[error("the check name {name:?} is not valid: use 1 to 64 characters of [A-Za-z0-9._-]")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Two checks have the same name, but for upper and lower case.
    #[error("there are two checks named {name:?}: give each a name of its own")]
    Duplicate {
        /// The second one's name.
        name: String,
    },
    /// A time is zero.
    #[error("the {setting} of the check {name:?} is 0: give more")]
    Zero {
        /// The check.
        name: String,
        /// The setter's name.
        setting: &'static str,
    },
    /// There are too many checks.
    #[error("there are {checks} checks: {MAX_CHECKS} are the most")]
    TooMany {
        /// How many there are.
        checks: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(name: &str) -> Check {
        Check::new(name, || async { Ok::<_, &str>(()) })
    }

    #[test]
    fn mistakes_are_told_together() {
        let error = Health::builder()
            .check(check("db").timeout(Duration::ZERO))
            .check(check("DB").period(Duration::ZERO))
            .check(check("a b"))
            .check(check(""))
            .build()
            .unwrap_err();
        let problems: Vec<_> = error.problems().iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            [
                r#"the timeout of the check "db" is 0: give more"#,
                r#"there are two checks named "DB": give each a name of its own"#,
                r#"the period of the check "DB" is 0: give more"#,
                r#"the check name "a b" is not valid: use 1 to 64 characters of [A-Za-z0-9._-]"#,
                r#"the check name "" is not valid: use 1 to 64 characters of [A-Za-z0-9._-]"#,
            ]
        );
        assert_eq!(error.to_string(), problems.join("; "));
    }

    #[test]
    fn the_number_of_checks_has_a_cap() {
        let build = |checks: usize| {
            let builder = (0..checks).fold(Health::builder(), |builder, number| {
                builder.check(check(&format!("c{number}")))
            });
            builder.build()
        };
        assert!(build(1_000).is_ok());
        assert_eq!(
            build(1_001).unwrap_err().problems(),
            [Problem::TooMany { checks: 1_001 }]
        );
    }
}
