use std::sync::Arc;

use crate::line::Style;
use crate::otlp::{Exporter, MetricSource, Otlp};
use crate::queue::Queue;
use crate::redact::Redaction;
use crate::sampler::Sampler;
use crate::{BuildError, EnvWarning};

/// What is exported.
#[derive(Default)]
pub(super) struct Exports {
    pub(super) otlp: Option<Otlp>,
    pub(super) sampler: Sampler,
    pub(super) source: Option<Arc<dyn MetricSource>>,
    /// Whether the environment has the last word, which is no.
    is_disabled: bool,
    /// Whether the environment names the collector.
    pub(super) is_from_env: bool,
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
