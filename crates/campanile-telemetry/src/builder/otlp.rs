use std::sync::Arc;

use campanile_correlation::CorrelationId;

use super::TelemetryBuilder;
use crate::otlp::{MetricSource, Otlp};
use crate::sampler::Sampler;

impl TelemetryBuilder {
    /// Sets the collector that traces, log records and metrics are exported to.
    ///
    /// Defaults to none.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn otlp(mut self, collector: Otlp) -> Self {
        self.exports.otlp = Some(collector);
        self
    }

    /// Sets the sampler of traces.
    ///
    /// Defaults to `Sampler::parent_based(Sampler::always_on())`.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.exports.sampler = Some(sampler);
        self
    }

    /// Sets the source of exported metrics.
    ///
    /// Defaults to none; `Campanile` sets its registry.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn metric_source(mut self, source: impl MetricSource) -> Self {
        self.exports.source = Some(Arc::new(source));
        self
    }

    /// Returns the resource of all exported items. Settings take precedence over other attributes
    /// of the environment.
    pub(super) fn resource(&self, others: &[(String, String)]) -> Vec<(String, String)> {
        let made = self.instance.is_none().then(CorrelationId::generate_v4);
        let instance = self.instance.as_deref();
        let pid = std::process::id().to_string();
        let own = [
            ("service.name", Some(&*self.service)),
            ("service.version", self.version.as_deref()),
            ("deployment.environment.name", self.environment.as_deref()),
            // Metrics of two instances need different resources.
            (
                "service.instance.id",
                instance.or(made.as_ref().map(CorrelationId::as_str)),
            ),
            ("telemetry.sdk.name", Some("campanile")),
            ("telemetry.sdk.language", Some("rust")),
            ("telemetry.sdk.version", Some(env!("CARGO_PKG_VERSION"))),
            ("process.pid", Some(&*pid)),
        ];
        let own = own.map(|(key, value)| (key, value.map(str::to_owned)));
        let mut all: Vec<(String, String)> = Vec::new();
        for (key, value) in own {
            all.extend(value.map(|value| (key.to_owned(), value)));
        }
        // The last value of a key counts, unless a setting has the key.
        for (number, (key, value)) in others.iter().enumerate() {
            let is_again = others[number + 1..].iter().any(|(other, _)| other == key);
            if !is_again && all.iter().all(|(name, _)| name != key) {
                all.push((key.clone(), value.clone()));
            }
        }
        all
    }
}
