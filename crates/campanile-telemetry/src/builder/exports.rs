use std::fmt;
use std::sync::Arc;

use crate::causes::with_causes;
use crate::otlp::{Exporter, MetricSource, Otlp, Plan};
use crate::output::Sink;
use crate::redact::Redaction;
use crate::sampler::Sampler;
use crate::{EnvWarning, Problem};

/// The settings of the export.
#[derive(Default)]
pub(super) struct Exports {
    pub(super) otlp: Option<Otlp>,
    pub(super) sampler: Option<Sampler>,
    pub(super) source: Option<Arc<dyn MetricSource>>,
    /// Whether the environment disables the export.
    pub(super) is_disabled: bool,
    /// Whether the collector is from the environment.
    pub(super) is_from_env: bool,
}

impl Exports {
    /// Returns whether something is exported.
    pub(super) fn is_on(&self) -> bool {
        self.otlp.is_some() && !self.is_disabled
    }

    /// Reads the environment.
    pub(super) fn read(
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<EnvWarning>,
    ) -> Self {
        let is_true = |value: String| value.trim().eq_ignore_ascii_case("true");
        Self {
            otlp: Otlp::of_env(variable, warnings),
            sampler: read_sampler(variable, warnings),
            source: None,
            is_disabled: variable("OTEL_SDK_DISABLED").is_some_and(is_true),
            is_from_env: true,
        }
    }

    /// Adds settings of the environment where the code has none.
    pub(super) fn fill_missing_from(&mut self, env: Self) {
        self.is_from_env = self.otlp.is_none();
        self.otlp = self.otlp.take().or(env.otlp);
        self.sampler = self.sampler.take().or(env.sampler);
        self.is_disabled = env.is_disabled;
    }

    /// Exports no spans: they go to the application's provider.
    pub(super) fn without_traces(mut self) -> Self {
        self.otlp = self.otlp.map(|otlp| otlp.traces(false));
        self
    }

    /// Validates the settings. `None` means that nothing is exported.
    ///
    /// A collector from the environment that is invalid is ignored with a warning.
    pub(super) fn plan(
        self,
        resource: Vec<(String, String)>,
        redaction: Redaction,
        log: Option<&Sink>,
        warnings: &mut Vec<EnvWarning>,
        problems: &mut Vec<Problem>,
    ) -> Option<Plan> {
        let otlp = self.otlp.filter(|_| !self.is_disabled)?;
        let sampler = self.sampler.unwrap_or_default();
        if !sampler.is_valid() {
            problems.push(Problem::Otlp {
                setting: "sampler".to_owned(),
                source: Arc::from(Box::from("expected a ratio from 0 to 1")),
            });
        }
        let report = reporter(log);
        let console = console(log);
        let planned = otlp.plan(resource, redaction, sampler, self.source, report, &console);
        match planned {
            Ok(plan) => return Some(plan),
            Err(invalid) if self.is_from_env => {
                let warning = |problem: &Problem| {
                    let (variable, reason) = variable_of(problem);
                    EnvWarning::new(variable, format!("{reason}; nothing is exported"))
                };
                warnings.extend(invalid.iter().map(warning));
            }
            Err(invalid) => problems.extend(invalid),
        }
        None
    }
}

/// Starts the export.
pub(super) fn start(plan: Plan) -> Result<Arc<Exporter>, Problem> {
    let exporter = Exporter::start(plan).map_err(|error| Problem::Thread {
        name: "campanile-otlp",
        source: Arc::new(error),
    })?;
    Ok(Arc::new(exporter))
}

fn read_sampler(
    variable: &dyn Fn(&str) -> Option<String>,
    warnings: &mut Vec<EnvWarning>,
) -> Option<Sampler> {
    let name = variable("OTEL_TRACES_SAMPLER")?;
    let argument = variable("OTEL_TRACES_SAMPLER_ARG");
    let sampler = Sampler::of_env(&name.trim().to_ascii_lowercase(), argument.as_deref());
    if sampler.is_none() {
        let reason = "expected `always_on`, `always_off` or `traceidratio`, optionally after `parentbased_`, \
                      and a ratio from 0 to 1 in OTEL_TRACES_SAMPLER_ARG";
        warnings.push(EnvWarning::new("OTEL_TRACES_SAMPLER", reason));
    }
    sampler
}

type Write = Arc<dyn Fn(&str) + Send + Sync>;

/// Returns a function that logs a warning, which is not exported.
fn reporter(log: Option<&Sink>) -> Write {
    let log = log.map(|log| (Arc::clone(&log.style), Arc::downgrade(&log.queue)));
    Arc::new(move |text: &str| {
        if let Some((style, queue)) = &log
            && let Some(queue) = queue.upgrade()
        {
            queue.push_notice(&style.own_line("WARN", text));
        }
    })
}

/// Returns a function that writes a line of the `console` exporter.
fn console(log: Option<&Sink>) -> Write {
    let queue = log.map(|log| Arc::downgrade(&log.queue));
    Arc::new(move |line: &str| {
        if let Some(queue) = queue.as_ref().and_then(|queue| queue.upgrade()) {
            queue.push([line, ""]);
        }
    })
}

/// Returns the variable that an invalid setting of the collector is from, and the reason.
fn variable_of(problem: &Problem) -> (String, String) {
    let reason = with_causes(problem);
    let Problem::Otlp { setting, .. } = problem else {
        return ("OTEL_EXPORTER_OTLP_*".to_owned(), reason);
    };
    let variable = match setting.strip_prefix("OTLP endpoint") {
        Some("") => "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        Some(rest) => {
            let signal = rest.replace(" of ", "").to_uppercase();
            format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        }
        None => "OTEL_EXPORTER_OTLP_*".to_owned(),
    };
    (variable, reason)
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports")
            .field("otlp", &self.otlp)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}
