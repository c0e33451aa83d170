//! The SLOs in the formats of other tools: Prometheus, Grafana and OpenSLO.
//!
//! ```
//! use campanile_sla::{ServiceLevels, Slo};
//!
//! let levels = ServiceLevels::builder()
//!     .slo(Slo::availability("availability", "99.9%"))
//!     .build()?;
//! let export = levels.export("orders", r#"job="orders""#)?;
//! assert!(export.prometheus_rules().contains("record: slo:sli_error:ratio_rate30d"));
//! assert!(export.open_slo().starts_with("apiVersion: openslo/v1"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use campanile_series::Matcher;

use crate::active_slo::ActiveSlo;
use crate::service_levels::ServiceLevels;

mod definition;
mod grafana;
mod openslo;
mod prometheus;
mod promtool;
mod yaml;

use self::definition::ExportedSlo;

pub use self::definition::Export;
#[cfg(feature = "openslo")]
#[cfg_attr(docsrs, doc(cfg(feature = "openslo")))]
pub use self::openslo::{OpenSloError, from_open_slo};
pub use crate::error::ExportError;

impl ServiceLevels {
    /// Returns the SLOs in the formats of other tools.
    ///
    /// `matchers` select the counters of the service, for example `job="orders"`. Without matchers,
    /// the counts of services that have SLOs with the same names are summed.
    ///
    /// # Errors
    ///
    /// Returns an error if the name or the matchers are not valid.
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
        let is_reserved = |matcher: &&Matcher| ["slo", "result"].contains(&matcher.name());
        if let Some(reserved) = parsed.iter().find(is_reserved) {
            return Err(ExportError::Label {
                label: reserved.name().to_owned(),
            });
        }
        let exported = |slo: &ActiveSlo| {
            Some(ExportedSlo {
                name: slo.name.clone(),
                allowed: slo.target.allowed()?,
                period: slo.period.nominal(),
                definition: slo.definition.clone(),
            })
        };
        Ok(Export {
            service: service.to_owned(),
            matchers: parsed,
            slos: self.slos().iter().filter_map(exported).collect(),
        })
    }
}
