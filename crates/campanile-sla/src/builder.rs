use std::collections::HashSet;

use campanile_series::Now;

use crate::error::{BuildError, Problem};
use crate::service_levels::ServiceLevels;
use crate::slo::Slo;
use crate::validate::MAX_ROUTES;

/// A builder of [`ServiceLevels`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`slo`](Self::slo) | none | 100 |
/// | [`service`](Self::service) | none | 255 characters |
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ServiceLevelsBuilder {
    slos: Vec<Slo>,
    service: Option<String>,
}

/// The longest name of a service, in characters.
const MAX_SERVICE_NAME: usize = 255;

/// The limit of SLOs.
const MAX_SLOS: usize = 100;

impl ServiceLevels {
    /// Creates a builder.
    pub fn builder() -> ServiceLevelsBuilder {
        ServiceLevelsBuilder::default()
    }
}

impl ServiceLevelsBuilder {
    /// Adds an SLO. Its name is unique, ignoring ASCII case.
    ///
    /// Defaults to no SLO; all requests are counted nevertheless. Limit: 100 SLOs.
    pub fn slo(mut self, slo: Slo) -> Self {
        self.slos.push(slo);
        self
    }

    /// Sets the name of the service, for burn rate alerts: 1 to 255 characters without control
    /// characters.
    ///
    /// Defaults to none. `Campanile` sets its own name.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Builds the service levels, which count from now on.
    ///
    /// # Errors
    ///
    /// Returns all problems of the SLOs. Valid settings of little use are reported by
    /// [`ServiceLevels::lints`].
    pub fn build(self) -> Result<ServiceLevels, BuildError> {
        self.build_at(Now::system())
    }

    /// Builds the service levels, as [`build`](Self::build) does, at a given time.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_at(self, now: Now) -> Result<ServiceLevels, BuildError> {
        let mut problems = Vec::new();
        if self.slos.len() > MAX_SLOS {
            problems.push(Problem::TooMany {
                slos: self.slos.len(),
            });
        }
        let routes = self.slos.iter().filter_map(|slo| slo.per_route);
        let routes = routes.fold(0, usize::saturating_add);
        if routes > MAX_ROUTES {
            problems.push(Problem::TooManyRoutes { routes });
        }
        let is_name = |name: &&String| {
            (1..=MAX_SERVICE_NAME).contains(&name.chars().count())
                && !name.chars().any(char::is_control)
        };
        if let Some(service) = self.service.as_ref().filter(|name| !is_name(name)) {
            problems.push(Problem::Service {
                service: service.chars().take(64).collect(),
            });
        }
        let mut names = HashSet::new();
        for Slo { name, .. } in &self.slos {
            if !names.insert(name.to_ascii_lowercase()) {
                problems.push(Problem::Duplicate { name: name.clone() });
            }
        }
        let slos = self.slos.into_iter();
        let checked: Vec<_> = slos.filter_map(|slo| slo.checked(&mut problems)).collect();
        match BuildError::new(problems) {
            Some(error) => Err(error),
            None => Ok(ServiceLevels::new(checked, self.service, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, UNIX_EPOCH};

    use super::*;
    use crate::{Bound, Source, Window};

    fn now() -> Now {
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let mono = Instant::now();
        Now {
            wall: UNIX_EPOCH,
            mono,
        }
    }

    #[test]
    fn all_problems_are_listed() {
        let error = ServiceLevels::builder()
            .slo(Slo::availability("a b", "100%"))
            .slo(Slo::throughput("t", f64::NAN).over(Duration::ZERO))
            .slo(Slo::mean_latency("r", Duration::ZERO).over(Window::days(93)))
            .slo(Slo::error_rate("e", "5"))
            .slo(Slo::error_rate("same", "5%").over(Window::month("Berlin")))
            .slo(Slo::error_rate("SAME", "5%"))
            .slo(
                Slo::uptime("u", "99%")
                    .route("/")
                    .source(Source::series("c"))
                    .time_slice(Duration::ZERO),
            )
            .slo(Slo::latency_percentile("p", "0%", Duration::ZERO).over(Window::days(2)))
            .slo(
                Slo::latency("l", "99%", Duration::ZERO)
                    .good_if(|_| true)
                    .abandoned_after(Duration::ZERO)
                    .per_route(0),
            )
            .slo(Slo::gauge("g", "99%", Bound::AtMost(f64::NAN)).time_slice(Duration::ZERO))
            .build_at(now())
            .unwrap_err();
        let problems: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                r#"duplicate SLO name "SAME": expected one SLO per name, ignoring case"#,
                r#"invalid SLO name "a b": expected 1 to 64 characters of [A-Za-z0-9._-]"#,
                r#"invalid target "100%" of SLO "a b": expected a percentage from 0% to below 100%, such as 99.9%"#,
                r#"invalid window 0s of SLO "t": expected 1s to 92d, a month or a quarter"#,
                r#"invalid target "NaN" of SLO "t": expected a number above 0"#,
                r#"invalid window 93d of SLO "r": expected 1s to 92d, a month or a quarter"#,
                r#"invalid target "0" of SLO "r": expected a duration above 0"#,
                r#"invalid target "5" of SLO "e": expected a percentage from above 0% to 100%, such as 1%"#,
                r#"unknown time zone "Berlin" of SLO "same": expected UTC or a name such as Europe/Berlin"#,
                r#"invalid source "series:c" of SLO "u": expected Source::Health, Source::Check or Source::Manual"#,
                r#"invalid setting `route` of SLO "u": expected none for this kind and source"#,
                r#"invalid setting `time_slice` of SLO "u": expected none for this kind and source"#,
                r#"invalid time_slice 0ns of SLO "u": expected 1s to 1h"#,
                r#"invalid window 48h of SLO "p": expected a duration from 1s to 24h"#,
                r#"invalid target "0" of SLO "p": expected a duration above 0"#,
                r#"invalid target "0%" of SLO "p": expected a percentage from above 0% to 100%, such as 99%"#,
                r#"invalid setting `good_if` of SLO "l": expected none for this kind and source"#,
                r#"invalid setting `abandoned_after` of SLO "l": expected none for this kind and source"#,
                r#"invalid abandoned_after 0ns of SLO "l": expected 1ms to 1h"#,
                r#"invalid per_route 0 of SLO "l": expected 1 to 200"#,
                r#"invalid target "0" of SLO "l": expected a duration above 0"#,
                r#"invalid time_slice 0ns of SLO "g": expected 1s to 1h"#,
                r#"invalid target "<= NaN" of SLO "g": expected a finite bound"#,
            ]
        );
        assert_eq!(error.to_string(), problems.join("; "));
    }

    #[test]
    fn the_name_of_the_service_has_limits() {
        let build = |name: &str| ServiceLevels::builder().service(name).build_at(now());
        let longest = "ä".repeat(255);
        assert_eq!(build(&longest).unwrap().service(), Some(&*longest));
        for name in ["", "a\nb", &format!("{longest}ä")] {
            let error = build(name).unwrap_err();
            assert!(
                matches!(error.problems(), [Problem::Service { .. }]),
                "{error}"
            );
        }
        assert_eq!(
            ServiceLevels::builder().build_at(now()).unwrap().service(),
            None
        );
    }

    #[test]
    fn the_number_of_slos_is_limited() {
        let build = |slos: usize| {
            let builder = (0..slos).fold(ServiceLevels::builder(), |builder, number| {
                builder.slo(Slo::error_rate(format!("o{number}"), "1%"))
            });
            builder.build_at(now())
        };
        assert!(build(100).is_ok());
        assert_eq!(
            build(101).unwrap_err().problems(),
            [Problem::TooMany { slos: 101 }]
        );
    }

    #[test]
    fn the_number_of_routes_is_limited_over_all_slos() {
        let build = |most: usize| {
            let of = |name: &str, routes| Slo::error_rate(name, "1%").per_route(routes);
            let builder = ServiceLevels::builder().slo(of("a", 150));
            builder.slo(of("b", most)).build_at(now())
        };
        assert!(build(50).is_ok());
        assert_eq!(
            build(51).unwrap_err().problems(),
            [Problem::TooManyRoutes { routes: 201 }]
        );
    }
}
