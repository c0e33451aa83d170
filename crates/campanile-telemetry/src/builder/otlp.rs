use std::sync::Arc;

use campanile_correlation::CorrelationId;

use super::TelemetryBuilder;
use crate::line::Style;
use crate::otlp::{Exporter, MetricSource, Otlp};
use crate::queue::Queue;
use crate::redact::Redaction;
use crate::sampler::Sampler;
use crate::{BuildError, EnvWarning};

/// What is exported.
#[derive(Default)]
pub(super) struct Exports {
    otlp: Option<Otlp>,
    sampler: Sampler,
    source: Option<Arc<dyn MetricSource>>,
    /// Whether the environment has the last word, which is no.
    is_disabled: bool,
    /// Whether the environment names the collector.
    is_from_env: bool,
}

impl TelemetryBuilder {
    /// Exports traces, lines of the log, and metrics to a collector.
    ///
    /// Defaults to exporting nothing.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn otlp(mut self, collector: Otlp) -> Self {
        self.exports.otlp = Some(collector);
        self.exports.is_from_env = false;
        self
    }

    /// Sets which traces are exported.
    ///
    /// Defaults to `Sampler::parent_based(Sampler::always_on())`.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.exports.sampler = sampler;
        self
    }

    /// Sets what has the metrics that are exported.
    ///
    /// Defaults to none; `Campanile` sets its registry.
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn metric_source(mut self, source: impl MetricSource) -> Self {
        self.exports.source = Some(Arc::new(source));
        self
    }

    /// Returns the resource that all exported things are of, as a field of theirs; what is set by name goes before.
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let made = self.instance.is_none().then(CorrelationId::generate_v4);
        let instance = self.instance.as_deref();
        let pid = std::process::id().to_string();
        let own = [
            ("service.name", Some(&*self.service)),
            ("service.version", self.version.as_deref()),
            ("deployment.environment.name", self.environment.as_deref()),
            // Metrics of two instances must not be taken for one's.
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
        // The last value of a key counts, but for those above.
        for (number, (key, value)) in self.resource.iter().enumerate() {
            let is_again = self.resource[number + 1..]
                .iter()
                .any(|(other, _)| other == key);
            if !is_again && all.iter().all(|(name, _)| name != key) {
                all.push((key.clone(), value.clone()));
            }
        }
        all
    }
}

impl Exports {
    /// Returns whether something is exported.
    pub(super) fn is_on(&self) -> bool {
        self.otlp.is_some() && !self.is_disabled
    }

    /// Exports no spans: they go to the application's provider.
    pub(super) fn without_traces(mut self) -> Self {
        self.otlp = self.otlp.map(|otlp| otlp.traces(false));
        self
    }

    pub(super) fn read(
        &mut self,
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<EnvWarning>,
    ) {
        let is_true = |value: String| value.trim().eq_ignore_ascii_case("true");
        self.is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(is_true);
        if let Some(otlp) = Otlp::of_env(variable, warnings) {
            self.otlp = Some(otlp);
            self.is_from_env = true;
        }
        if let Some(name) = variable("OTEL_TRACES_SAMPLER") {
            let argument = variable("OTEL_TRACES_SAMPLER_ARG");
            let name = name.trim().to_ascii_lowercase();
            match Sampler::of_env(&name, argument.as_deref()) {
                Some(sampler) => self.sampler = sampler,
                None => {
                    let reason = "expected `always_on`, `always_off` or `traceidratio`, maybe after `parentbased_`; \
                                  a ratio in OTEL_TRACES_SAMPLER_ARG is from 0 to 1";
                    warnings.push(EnvWarning::new("OTEL_TRACES_SAMPLER", reason));
                }
            }
        }
    }

    pub(super) fn start(
        self,
        resource: Vec<(String, String)>,
        redaction: &Redaction,
        style: &Arc<Style>,
        queue: &Arc<Queue>,
        warnings: &mut Vec<EnvWarning>,
    ) -> Result<Option<Arc<Exporter>>, BuildError> {
        let Some(otlp) = self.otlp.filter(|_| !self.is_disabled) else {
            return Ok(None);
        };
        let report = {
            let (style, queue) = (Arc::clone(style), Arc::downgrade(queue));
            move |text: &str| {
                if let Some(queue) = queue.upgrade() {
                    queue.push_notice(&style.own_line("WARN", text));
                }
            }
        };
        let console: Arc<dyn Fn(&str) + Send + Sync> = {
            let queue = Arc::downgrade(queue);
            Arc::new(move |line: &str| {
                if let Some(queue) = queue.upgrade() {
                    queue.push([line, ""]);
                }
            })
        };
        let redaction = redaction.clone();
        let report = Arc::new(report);
        let plan = match otlp.plan(
            resource,
            redaction,
            self.sampler,
            self.source,
            report,
            &console,
        ) {
            Ok(plan) => plan,
            Err(BuildError::Otlp { setting, problem }) if self.is_from_env => {
                let reason = format!("{setting}: {problem}; nothing is exported");
                warnings.push(EnvWarning::new(variable_of(&setting), reason));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let exporter = Exporter::start(plan).map_err(|error| BuildError::Thread {
            name: "campanile-otlp",
            reason: error.to_string(),
        })?;
        Ok(Some(Arc::new(exporter)))
    }
}

/// Returns the variable that a setting of the collector came from.
fn variable_of(setting: &str) -> String {
    let signal = match setting.strip_prefix("the endpoint") {
        Some("") => String::new(),
        Some(rest) => rest.replace(" of ", "").to_uppercase() + "_",
        None => return "OTEL_EXPORTER_OTLP_*".to_owned(),
    };
    format!("OTEL_EXPORTER_OTLP_{signal}ENDPOINT")
}

impl std::fmt::Debug for Exports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exports")
            .field("otlp", &self.otlp)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}
