use std::collections::HashSet;
use std::fmt;

use campanile_series::Now;

use crate::check::MAX_ROUTES;
use crate::{Sla, Slo, Window};

/// Settings of an [`Sla`].
///
/// | setting | default |
/// |---|---|
/// | [`objective`](Self::objective) | none |
/// | [`service`](Self::service) | none |
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SlaBuilder {
    objectives: Vec<Slo>,
    service: Option<String>,
}

/// The longest name of a service, in characters.
const MAX_SERVICE: usize = 255;

/// The limit of objectives.
const MAX_OBJECTIVES: usize = 100;

impl SlaBuilder {
    /// Adds an objective, 100 at most, whose name no other has.
    ///
    /// Defaults to none: exchanges are counted all the same.
    pub fn objective(mut self, objective: Slo) -> Self {
        self.objectives.push(objective);
        self
    }

    /// Sets the name of the service, which alerts on its budgets carry: 1 to 255 characters, none of them a control character.
    ///
    /// Defaults to none. `Campanile` sets its own name.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Returns the service levels, watched from a moment on.
    ///
    /// # Errors
    ///
    /// If an objective is not valid: the error lists all of them. What is valid but of little use is told by [`Sla::lints`].
    pub fn build(self, now: Now) -> Result<Sla, BuildError> {
        let mut problems = Vec::new();
        if self.objectives.len() > MAX_OBJECTIVES {
            problems.push(Problem::TooMany {
                objectives: self.objectives.len(),
            });
        }
        let routes: usize = self
            .objectives
            .iter()
            .filter_map(|slo| slo.per_route)
            .fold(0, usize::saturating_add);
        if routes > MAX_ROUTES {
            problems.push(Problem::TooManyRoutes { routes });
        }
        let is_name = |name: &&String| {
            (1..=MAX_SERVICE).contains(&name.chars().count()) && !name.chars().any(char::is_control)
        };
        if let Some(service) = self.service.as_ref().filter(|name| !is_name(name)) {
            problems.push(Problem::Service {
                service: service.chars().take(64).collect(),
            });
        }
        let mut names = HashSet::new();
        for Slo { name, .. } in &self.objectives {
            if !names.insert(name.to_ascii_lowercase()) {
                problems.push(Problem::Duplicate { name: name.clone() });
            }
        }
        let objectives = self.objectives.into_iter();
        let checked: Vec<_> = objectives
            .filter_map(|objective| objective.checked(&mut problems))
            .collect();
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Sla::new(checked, self.service, now))
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
    /// The window is too short or too long, or not one for such an objective.
    #[error("the window {window} of the objective {name:?} is not valid: give {expected}")]
    Window {
        /// The objective's name.
        name: String,
        /// The window.
        window: Window,
        /// What it may be.
        expected: &'static str,
    },
    /// The time zone is not known.
    #[error(
        "the time zone {zone:?} of the objective {name:?} is not known: give UTC, or a name such as Europe/Berlin"
    )]
    Zone {
        /// The objective's name.
        name: String,
        /// The zone as given.
        zone: String,
    },
    /// The setting is for other objectives.
    #[error(
        "the setting {setting} of the objective {name:?} doesn't apply to such an objective: leave it out"
    )]
    Setting {
        /// The objective's name.
        name: String,
        /// The setting.
        setting: &'static str,
    },
    /// The setting is out of its range.
    #[error("the setting {setting} of the objective {name:?} can't be {value}: give {expected}")]
    Range {
        /// The objective's name.
        name: String,
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The service's name can't be one.
    #[error(
        "invalid service name {service:?}: expected 1 to 255 characters, none of them a control character"
    )]
    Service {
        /// The beginning of the name.
        service: String,
    },
    /// There are too many routes.
    #[error("the objectives tell {routes} routes apart: give at most 200 in all")]
    TooManyRoutes {
        /// How many there are.
        routes: usize,
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
    use std::time::{Duration, Instant, UNIX_EPOCH};

    use super::*;
    use crate::Bound;

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
            .objective(Slo::response_time("r", Duration::ZERO).over(Window::days(93)))
            .objective(Slo::error_rate("e", "5"))
            .objective(Slo::error_rate("same", "5%").over(Window::month("Berlin")))
            .objective(Slo::error_rate("SAME", "5%"))
            .objective(
                Slo::uptime("u", "99%")
                    .route("/")
                    .check("c")
                    .tracked()
                    .slice(Duration::ZERO),
            )
            .objective(Slo::percentile("p", "0%", Duration::ZERO).over(Window::days(2)))
            .objective(
                Slo::latency("l", "99%", Duration::ZERO)
                    .good(|_| true)
                    .abandoned_after(Duration::ZERO)
                    .per_route(0),
            )
            .objective(Slo::gauge("g", "99%", Bound::AtMost(f64::NAN)).slice(Duration::ZERO))
            .build(now())
            .unwrap_err();
        let problems: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                r#"there are two objectives named "SAME": give each a name of its own"#,
                r#"the objective's name "a b" is not valid: use 1 to 64 characters of [A-Za-z0-9._-]"#,
                r#"the target "100%" of the objective "a b" is not valid: give a percentage from 0% to below 100%, such as 99.9%"#,
                r#"the window 0s of the objective "t" is not valid: give 1s to 92d, or a month or a quarter"#,
                r#"the target "NaN" of the objective "t" is not valid: give a number above 0"#,
                r#"the window 93d of the objective "r" is not valid: give 1s to 92d, or a month or a quarter"#,
                r#"the target "0" of the objective "r" is not valid: give a time above 0"#,
                r#"the target "5" of the objective "e" is not valid: give a percentage from above 0% to 100%, such as 1%"#,
                r#"the time zone "Berlin" of the objective "same" is not known: give UTC, or a name such as Europe/Berlin"#,
                r#"the setting route of the objective "u" doesn't apply to such an objective: leave it out"#,
                r#"the setting tracked of the objective "u" doesn't apply to such an objective: leave it out"#,
                r#"the setting slice of the objective "u" doesn't apply to such an objective: leave it out"#,
                r#"the setting slice of the objective "u" can't be 0ns: give 1s to 1h"#,
                r#"the window 48h of the objective "p" is not valid: give a duration from 1s to 24h"#,
                r#"the target "0" of the objective "p" is not valid: give a time above 0"#,
                r#"the target "0%" of the objective "p" is not valid: give a percentage from above 0% to 100%, such as 99%"#,
                r#"the setting good of the objective "l" doesn't apply to such an objective: leave it out"#,
                r#"the setting abandoned_after of the objective "l" doesn't apply to such an objective: leave it out"#,
                r#"the setting abandoned_after of the objective "l" can't be 0ns: give 1ms to 1h"#,
                r#"the setting per_route of the objective "l" can't be 0: give 1 to 200"#,
                r#"the target "0" of the objective "l" is not valid: give a time above 0"#,
                r#"the setting slice of the objective "g" can't be 0ns: give 1s to 1h"#,
                r#"the target "<= NaN" of the objective "g" is not valid: give a bound that is a number"#,
            ]
        );
        assert_eq!(error.to_string(), problems.join("; "));
    }

    #[test]
    fn the_name_of_the_service_has_limits() {
        let build = |name: &str| Sla::builder().service(name).build(now());
        let longest = "ä".repeat(255);
        assert_eq!(build(&longest).unwrap().service(), Some(&*longest));
        for name in ["", "a\nb", &format!("{longest}ä")] {
            let error = build(name).unwrap_err();
            assert!(
                matches!(error.problems(), [Problem::Service { .. }]),
                "{error}"
            );
        }
        assert_eq!(Sla::builder().build(now()).unwrap().service(), None);
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

    #[test]
    fn the_number_of_routes_has_a_cap_over_all_objectives() {
        let build = |most: usize| {
            let of = |name: &str, routes| Slo::error_rate(name, "1%").per_route(routes);
            let builder = Sla::builder().objective(of("a", 150));
            builder.objective(of("b", most)).build(now())
        };
        assert!(build(50).is_ok());
        assert_eq!(
            build(51).unwrap_err().problems(),
            [Problem::TooManyRoutes { routes: 201 }]
        );
    }
}
