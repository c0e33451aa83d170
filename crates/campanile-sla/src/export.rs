use std::fmt;

use campanile_series::{Matcher, MatcherError};

use crate::objective::Objective;
use crate::{Sla, Slo};

mod openslo;
#[cfg(feature = "openslo")]
mod openslo_in;
mod prometheus;
mod proof;
mod yaml;

#[cfg(feature = "openslo")]
pub use self::openslo_in::{OpenSloError, from_open_slo};

/// Objectives in the forms of other engines; from [`Sla::export`].
///
/// All of them are about the counter `campanile_slo_events_total{slo, result}`, which the monitor publishes: it has the exchanges as they were
/// classified, and how each of them compared with its bound. So Prometheus judges by the same counts as this process, closures included, and no
/// latency has to be guessed from a histogram's buckets. What is [forgiven](Sla::adjust) it doesn't know of.
///
/// Objectives without a budget are in none of them. Of a calendar's month the rules have the last 30 days, and of a quarter the last 90.
#[derive(Clone, Debug)]
pub struct Export {
    service: String,
    /// Of the counter.
    matchers: Vec<Matcher>,
    slos: Vec<Exported>,
}

/// An objective that is written.
#[derive(Clone, Debug)]
struct Exported {
    name: String,
    /// In parts of `WHOLE`.
    allowed: u64,
    /// Over which alerts are scaled.
    period: std::time::Duration,
    definition: Slo,
}

/// The counter that all is about.
const EVENTS: &str = "campanile_slo_events_total";

/// Objectives can't be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The service's name can't be one.
    #[error(
        "the service {service:?} is not valid: give 2 to 63 characters of [A-Za-z0-9._-], of which the first and the last are letters or digits"
    )]
    Service {
        /// The name as given.
        service: String,
    },
    /// The matchers are about a label that is the objective's.
    #[error(
        "the matchers have the label {label:?}, which says what is counted: give some such as job=\"orders\""
    )]
    Label {
        /// The label.
        label: String,
    },
    /// The matchers are not valid.
    #[error("the matchers {matchers:?} are not valid: {error}; give some such as job=\"orders\"")]
    Matchers {
        /// The matchers as given.
        matchers: String,
        /// What is wrong.
        error: MatcherError,
    },
    /// The series of a proof would have to match a matcher for which no label value is known.
    #[error(
        "invalid matcher {matcher:?} for a proof: expected an operator `=`, or one that matches series without the label {label:?}"
    )]
    Unprovable {
        /// The matcher, such as `job=~"orders.*"`.
        matcher: String,
        /// Its label.
        label: String,
    },
}

impl Sla {
    /// Returns the objectives in the forms of other engines, for a service whose counters have such labels as `job="orders"`: without such a
    /// matcher, services whose objectives have the same names are counted together.
    ///
    /// ```
    /// # use std::time::{Instant, SystemTime};
    /// # use campanile_series::Now;
    /// use campanile_sla::{Sla, Slo};
    ///
    /// # let now = Now { wall: SystemTime::now(), mono: Instant::now() };
    /// let sla = Sla::builder().objective(Slo::availability("availability", "99.9%")).build(now)?;
    /// let export = sla.export("orders", r#"job="orders""#)?;
    /// assert!(export.prometheus_rules().contains("record: slo:sli_error:ratio_rate30d"));
    /// assert!(export.open_slo().starts_with("apiVersion: openslo/v1"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the name or the matchers are not valid.
    pub fn export(&self, service: &str, matchers: &str) -> Result<Export, ExportError> {
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let bytes = service.as_bytes();
        if !(2..=63).contains(&bytes.len())
            || !is_end(bytes.first())
            || !is_end(bytes.last())
            || !bytes.iter().copied().all(is_valid)
        {
            return Err(ExportError::Service {
                service: service.chars().take(64).collect(),
            });
        }
        let parsed = Matcher::parse_promql(matchers);
        let parsed = parsed.map_err(|error| ExportError::Matchers {
            matchers: matchers.chars().take(256).collect(),
            error,
        })?;
        if let Some(taken) = parsed
            .iter()
            .find(|one| ["slo", "result"].contains(&one.name()))
        {
            return Err(ExportError::Label {
                label: taken.name().to_owned(),
            });
        }
        let exported = |objective: &Objective| {
            Some(Exported {
                name: objective.name.clone(),
                allowed: objective.target.allowed()?,
                period: objective.period.nominal(),
                definition: objective.definition.clone(),
            })
        };
        Ok(Export {
            service: service.to_owned(),
            matchers: parsed,
            slos: self.objectives().iter().filter_map(exported).collect(),
        })
    }
}

impl Export {
    /// Returns a Grafana dashboard in JSON. It can show every service with [Sloth's series](Self::prometheus_rules); only
    /// its panel "Events" is limited to the counters that the matchers select.
    ///
    /// The dashboard's `uid` and title contain the service, so dashboards of several services can be imported.
    #[must_use]
    pub fn grafana_dashboard(&self) -> String {
        let matchers = self.matchers.iter().map(|matcher| format!("{matcher}, "));
        let matchers = yaml::quoted(&matchers.collect::<String>());
        // The placeholders are within quotes of JSON already.
        include_str!("export/grafana.json")
            .replace("@uid@", &self.grafana_uid())
            .replace("@service@", &self.service)
            .replace("@matchers@", &matchers[1..matchers.len() - 1])
    }

    /// Returns the dashboard's identifier, which has at most 40 characters of `[A-Za-z0-9_-]` and is derived from the
    /// service's name.
    fn grafana_uid(&self) -> String {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if self.service.len() <= 40 - UID.len() && self.service.bytes().all(is_valid) {
            return format!("{UID}{}", self.service);
        }
        // FNV-1a, as two names must not become one by what they are cut to.
        let hash = self
            .service
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{UID}{hash:016x}")
    }
}

/// The prefix of a dashboard's identifier.
const UID: &str = "campanile-slo-";

impl Exported {
    /// Returns Sloth's id of it.
    fn id(&self, service: &str) -> String {
        format!("{service}-{}", self.name)
    }
}

/// What selects the series of one objective.
struct Selector<'a> {
    service: &'a str,
    slo: &'a Exported,
}

/// `{sloth_id="orders-availability", sloth_service="orders", sloth_slo="availability"}`
impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, slo } = self;
        let (id, name) = (slo.id(service), &slo.name);
        write!(
            f,
            "{{sloth_id=\"{id}\", sloth_service=\"{service}\", sloth_slo=\"{name}\"}}"
        )
    }
}
