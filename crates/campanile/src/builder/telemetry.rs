#[cfg(feature = "metrics")]
use campanile_metrics::Registry;
use campanile_telemetry::{HttpSpans, Telemetry, TelemetryBuilder};
use tracing::Subscriber;
use tracing::dispatcher::{self, DefaultGuard};
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

#[cfg(feature = "metrics")]
use super::collect_error::collect_error;
use crate::{BuildError, Builder, Campanile};

/// The settings of the telemetry.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) configure: Option<Box<dyn FnOnce(TelemetryBuilder) -> TelemetryBuilder + Send>>,
    pub(super) from_env: bool,
    pub(super) version: Option<String>,
    pub(super) environment: Option<String>,
    /// Whether `RUST_LOG` is read.
    pub(super) reads_filter: bool,
    /// The telemetry, if it was built first so that the build can log.
    pub(super) built: Option<Telemetry>,
    pub(super) spans: HttpSpans,
}

impl Settings {
    /// Returns whether the application set the telemetry, or the environment has a collector.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        let is_set = self.configure.is_some() || self.built.is_some();
        #[cfg(feature = "otlp")]
        let is_set = is_set || self.from_env && Telemetry::builder(name).from_env().is_exporting();
        #[cfg(not(feature = "otlp"))]
        let _ = name;
        is_set
    }

    pub(super) fn build(
        self,
        name: &str,
        #[cfg(feature = "metrics")]
        #[cfg_attr(
            not(feature = "otlp"),
            expect(unused_variables, reason = "only the export reads it")
        )]
        registry: &Registry,
    ) -> Result<Telemetry, campanile_telemetry::BuildError> {
        if let Some(built) = self.built {
            return Ok(built);
        }
        let mut builder = Telemetry::builder(name);
        if self.from_env {
            builder = builder.from_env();
        }
        if self.reads_filter {
            builder = builder.filter_from_env();
        }
        #[cfg(all(feature = "metrics", feature = "otlp"))]
        {
            builder = builder.metric_source(crate::exports::Source(registry.clone()));
        }
        if let Some(version) = self.version {
            builder = builder.version(version);
        }
        if let Some(environment) = self.environment {
            builder = builder.environment(environment);
        }
        if let Some(configure) = self.configure {
            builder = configure(builder);
        }
        builder.build()
    }
}

/// Makes the telemetry the subscriber of this thread, unless there is one, so that the log has the
/// lines of the build. The application sets its subscriber afterwards.
pub(super) fn while_building(telemetry: &Telemetry) -> Option<DefaultGuard> {
    if !dispatcher::get_default(|to| to.is::<NoSubscriber>()) {
        return None;
    }
    let own = telemetry.in_scope(|| dispatcher::get_default(Clone::clone));
    Some(dispatcher::set_default(&own))
}

/// Settings of the telemetry.
impl Builder {
    /// Configures the telemetry: format, writer and filter of the log. With feature `otlp`, also
    /// the collector of traces, log records and metrics.
    ///
    /// ```no_run
    /// use campanile::Campanile;
    /// use campanile::telemetry::Format;
    ///
    /// let campanile = Campanile::builder("orders").telemetry(|log| log.format(Format::Pretty).filter("debug")).install()?;
    /// # Ok::<_, campanile::InstallError>(())
    /// ```
    ///
    /// [`build`](Self::build) then creates a [telemetry](Campanile::telemetry), too. An application with
    /// its own subscriber uses [`build_with_layer`](Self::build_with_layer).
    ///
    /// Defaults to none for `build`. For [`install`](Self::install) it defaults to JSON on the
    /// standard output at INFO, unless the process already has a subscriber. Each further call adds
    /// to the previous ones.
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn telemetry(
        mut self,
        configure: impl FnOnce(TelemetryBuilder) -> TelemetryBuilder + Send + 'static,
    ) -> Self {
        self.telemetry.configure = Some(match self.telemetry.configure.take() {
            Some(first) => Box::new(|builder| configure(first(builder))),
            None => Box::new(configure),
        });
        self
    }

    /// Creates the handle, and the layer that writes the log, for an application with its own `tracing`
    /// subscriber. It changes no global state.
    ///
    /// ```no_run
    /// use campanile::Campanile;
    /// use tracing_subscriber::Layer;
    /// use tracing_subscriber::filter::LevelFilter;
    /// use tracing_subscriber::layer::SubscriberExt;
    /// use tracing_subscriber::util::SubscriberInitExt;
    ///
    /// let (campanile, layer) = Campanile::builder("orders").build_with_layer()?;
    /// let own = tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO);
    /// tracing_subscriber::registry().with(own).with(layer).init();
    /// // Without it the `metrics` macros record only while a request is being handled.
    /// campanile.metrics().install()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The layer has the filter of the log, which does not affect the other layers; see
    /// [`Telemetry::subscriber_layer`]. The application's own lines have the correlation id if its
    /// layer shows the fields of spans, as `fmt` does: it is a field of the request's span. While
    /// the process has no subscriber yet, the log has the lines of the build.
    ///
    /// At the end, [`Campanile::run`] flushes the log. Without it call [`Telemetry::shutdown`].
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn build_with_layer<S>(
        self,
    ) -> Result<(Campanile, impl Layer<S> + Send + Sync + use<S>), BuildError>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let campanile = self.telemetry(|log| log).build()?;
        let layer = campanile.telemetry().map(Telemetry::subscriber_layer);
        let problems = Vec::new();
        let layer = layer.ok_or(BuildError { problems })?;
        Ok((campanile, layer))
    }

    /// Sets the spans and log lines of requests: additional fields, which requests have a line, and
    /// how paths are shown.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use campanile::telemetry::{HttpSpans, RequestLines};
    ///
    /// let spans = HttpSpans::new().lines(RequestLines::Failures);
    /// let campanile = Campanile::builder("orders").request_spans(spans).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to [`HttpSpans::new`]. [`note`](campanile_telemetry::note) adds fields during a
    /// request.
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn request_spans(mut self, spans: HttpSpans) -> Self {
        self.telemetry.spans = spans;
        self
    }

    /// Builds with a log, if it is set or the process has no subscriber. The log has the lines of
    /// the build.
    #[cfg(feature = "metrics")]
    pub(super) fn build_with_log(mut self) -> Result<Campanile, crate::InstallError> {
        let wants_subscriber = self.telemetry.configure.is_some();
        let has_subscriber = !dispatcher::get_default(|to| to.is::<NoSubscriber>());
        match (wants_subscriber, has_subscriber) {
            (true, true) => return Err(crate::InstallError::Subscriber),
            (false, true) => return Ok(self.build()?),
            (_, false) => {}
        }
        let configure = self.telemetry.configure.take();
        self.telemetry.configure = Some(configure.unwrap_or_else(|| Box::new(|log| log)));
        self.telemetry.reads_filter = true;
        let mut problems = Vec::new();
        let settings = std::mem::take(&mut self.telemetry);
        self.telemetry.spans = settings.spans.clone();
        let registry = self.registry.get_or_insert_default().clone();
        let Some(telemetry) = collect_error(settings.build(&self.name, &registry), &mut problems)
        else {
            // Other problems are reported with it.
            let others = self
                .build()
                .map_or_else(|error| error.problems, |_| Vec::new());
            problems.extend(others);
            return Err(BuildError { problems }.into());
        };
        self.telemetry.built = Some(telemetry);
        Ok(self.build()?)
    }
}

#[cfg(test)]
#[cfg(all(feature = "axum", feature = "health", feature = "monitor"))]
mod tests;
