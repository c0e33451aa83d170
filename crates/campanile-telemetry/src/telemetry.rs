use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing_log::LogTracer;
#[cfg(feature = "otel")]
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
#[cfg(feature = "otel")]
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::capture::Capture;
use crate::filter::LogFilter;
use crate::layer::TelemetryLayer;
#[cfg(feature = "otel")]
use crate::otel::StrictPropagator;
#[cfg(feature = "otlp")]
use crate::otlp::SignalStats;
use crate::queue::{LogStats, Queue};
use crate::{EnvWarning, InstallError, clock};

/// The telemetry of a service: its log and its export.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use campanile_telemetry::{Telemetry, Writer};
/// use tracing_subscriber::Layer;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # #[derive(Clone, Default)] struct Memory(Arc<Mutex<Vec<u8>>>);
/// # impl Write for Memory {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let memory = Memory::default();
/// let telemetry = Telemetry::builder("orders").writer(Writer::new(memory.clone())).build()?; // or `.install()?`
/// let subscriber = tracing_subscriber::registry().with(telemetry.layer().with_filter(telemetry.filter()));
/// tracing::subscriber::with_default(subscriber, || {
///     let _order = tracing::info_span!("order", id = 7).entered();
///     tracing::info!(items = 3, "accepted");
/// });
/// assert!(telemetry.shutdown(Duration::from_secs(5)).is_empty());
///
/// let line = String::from_utf8(memory.0.lock().unwrap().clone())?;
/// assert!(line.contains(r#""level":"INFO""#) && line.contains(r#""message":"accepted","service":"orders""#));
/// assert!(line.ends_with("\"items\":3,\"id\":7}\n"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share one telemetry (an `Arc`).
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub(crate) layer: Arc<TelemetryLayer>,
    pub(crate) filter: LogFilter,
    pub(crate) env_warnings: Arc<[EnvWarning]>,
}

impl Telemetry {
    /// Returns the layer that writes lines, for a subscriber of the application. Add the
    /// [filter](Self::filter) to it: `telemetry.layer().with_filter(telemetry.filter())`.
    ///
    /// With another filter, [`LogFilter::override_for`], [`LogFilter::override_for_request`] and
    /// the flight recorder have no effect. The layer does not work inside of
    /// `tracing_subscriber::reload::Layer`, which hides it.
    ///
    /// Requests have OpenTelemetry spans with this layer. For the spans of the application see
    /// [`layer_with_spans`](Self::layer_with_spans).
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.layer.another(false)
    }

    /// Returns the layer that writes lines together with the layer of `tracing-opentelemetry`,
    /// which exports the spans of the application. Without a [tracer
    /// provider](crate::TelemetryBuilder::tracer_provider) and without exported traces it is the
    /// same as [`layer`](Self::layer).
    ///
    /// Do not use it if the subscriber already has a layer of `tracing-opentelemetry`: the second
    /// one panics at the first span. Use [`layer`](Self::layer) beside such a layer.
    #[cfg(feature = "otel")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
    #[must_use]
    pub fn layer_with_spans<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        self.with_spans(false)
    }

    /// Returns the layer with its [filter](Self::filter), for a subscriber of the application.
    /// Other layers of that subscriber keep their filters. The flight recorder and overrides of the
    /// filter work.
    ///
    /// ```
    /// use campanile_telemetry::Telemetry;
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// # struct OwnLayer;
    /// # impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for OwnLayer {}
    /// # let own_layer = OwnLayer;
    /// let telemetry = Telemetry::builder("orders").build()?;
    /// let subscriber = tracing_subscriber::registry().with(own_layer).with(telemetry.subscriber_layer());
    /// # drop(subscriber);
    /// # Ok::<_, campanile_telemetry::BuildError>(())
    /// ```
    ///
    /// With feature `otel` it is `layer_with_spans` that is filtered. Beside a layer of
    /// `tracing-opentelemetry`, use `telemetry.layer().with_filter(telemetry.filter())` instead.
    #[must_use]
    pub fn subscriber_layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        #[cfg(feature = "otel")]
        let layer = self.layer_with_spans();
        #[cfg(not(feature = "otel"))]
        let layer = self.layer();
        layer.with_filter(self.filter())
    }

    /// `is_alone` is whether the subscriber has no other layer.
    #[cfg(feature = "otel")]
    fn with_spans<S>(&self, is_alone: bool) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer = self.layer.another(is_alone);
        let Some(tracer) = self.layer.tracer.clone() else {
            // An `Option` of the other layer would disable all events if it were `None`.
            return layer.boxed();
        };
        let spans = OpenTelemetryLayer::new(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_error_fields_to_exceptions(false)
            .with_error_records_to_exceptions(false);
        // Events are log lines, not span events.
        let spans = spans.with_filter(filter_fn(|metadata| metadata.is_span()));
        layer.and_then(spans).boxed()
    }

    /// Returns the provider of the exported spans; `None` if no spans are exported.
    ///
    /// Do not shut it down: later spans would have no ids and would not be counted. After
    /// [`shutdown`](Self::shutdown) they have ids and are counted as dropped.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    #[must_use]
    pub fn tracer_provider(&self) -> Option<&opentelemetry_sdk::trace::SdkTracerProvider> {
        self.layer.emitter.exporter.as_ref()?.provider()
    }

    /// Returns the filter. It belongs to the layer in a subscriber of the application, and it
    /// changes the log at run time.
    #[must_use]
    pub fn filter(&self) -> LogFilter {
        self.filter.clone()
    }

    /// Calls a function with this layer and filter as the thread's subscriber.
    pub fn in_scope<T>(&self, function: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.subscriber(), function)
    }

    #[cfg(feature = "otel")]
    fn layer_alone<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        self.with_spans(true)
    }

    #[cfg(not(feature = "otel"))]
    fn layer_alone<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.layer.another(true)
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry()
            .with(self.filter())
            .with(self.layer_alone())
    }

    /// Installs the layer and the filter as the global subscriber. Records of the `log` crate go to
    /// it, unless the process already has a logger.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError::Taken`] if the process already has a subscriber.
    pub fn install(&self) -> Result<TelemetryGuard, InstallError> {
        let installed = tracing::subscriber::set_global_default(self.subscriber());
        installed.map_err(|_| InstallError::Taken)?;
        #[cfg(feature = "otel")]
        self.install_otel();
        // An application with a logger keeps it.
        let _ = LogTracer::init();
        Ok(TelemetryGuard(self.clone()))
    }

    /// Sets the global tracer provider and propagator of OpenTelemetry.
    #[cfg(feature = "otel")]
    fn install_otel(&self) {
        // OpenTelemetry logs this at INFO with its feature `internal-logs`.
        tracing::dispatcher::with_default(&tracing::Dispatch::none(), || {
            #[cfg(feature = "otlp")]
            if let Some(provider) = self.tracer_provider() {
                opentelemetry::global::set_tracer_provider(provider.clone());
            }
            opentelemetry::global::set_text_map_propagator(StrictPropagator::new());
        });
    }

    /// Returns the last lines; `None` without
    /// [`TelemetryBuilder::capture`](crate::TelemetryBuilder::capture).
    #[must_use]
    pub fn capture(&self) -> Option<&Capture> {
        self.layer.emitter.capture.as_ref()
    }

    /// Returns the environment variables that were ignored, because their values are invalid.
    #[must_use]
    pub fn env_warnings(&self) -> &[EnvWarning] {
        &self.env_warnings
    }

    /// Returns the numbers of lines that were not written.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let recorder = self.layer.recorder.as_ref();
        let limit = self.layer.limit.as_ref();
        LogStats {
            suppressed: limit.map_or(0, |limit| limit.suppressed()),
            recordings_suppressed: recorder.map_or(0, |recorder| recorder.suppressed()),
            ..self
                .queues()
                .map(Queue::stats)
                .fold(LogStats::default(), |sum, one| LogStats {
                    dropped: sum.dropped + one.dropped,
                    failed: sum.failed + one.failed,
                    ..sum
                })
        }
    }

    /// Returns the numbers of exported items; `None` if nothing is exported.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    #[must_use]
    pub fn exports(&self) -> Option<ExportStats> {
        let [traces, logs, metrics] = self.layer.emitter.exporter.as_ref()?.counts();
        Some(ExportStats {
            traces,
            logs,
            metrics,
        })
    }

    /// Writes and exports all lines, spans and metrics that were emitted before the call, and waits
    /// at most `timeout`.
    ///
    /// All outputs write concurrently, so a blocked output does not delay the others. Returns the
    /// items that were not written or exported, those that the collector rejected meanwhile, and
    /// the lines that were dropped or failed since the last call.
    pub fn flush(&self, timeout: Duration) -> Unflushed {
        let until = after(timeout);
        #[cfg(feature = "otlp")]
        let exports = match &self.layer.emitter.exporter {
            Some(exporter) => exporter.flush(until - for_lines(timeout)),
            None => [0; 3],
        };
        #[cfg(not(feature = "otlp"))]
        let exports = [0; 3];
        // The lines come last, since the exporter may log. All outputs write concurrently.
        let targets: Vec<_> = self.queues().map(Queue::hurry).collect();
        let waits = self.queues().zip(targets);
        let lost = waits
            .map(|(queue, target)| queue.wait_for(target, left(until)))
            .sum();
        Unflushed::new(lost, exports)
    }

    /// Does the same as [`flush`](Self::flush), and then closes the log and the export. Later lines
    /// are dropped and counted.
    pub fn shutdown(&self, timeout: Duration) -> Unflushed {
        let until = after(timeout);
        #[cfg(feature = "otlp")]
        let exports = match &self.layer.emitter.exporter {
            Some(exporter) => exporter.shutdown(until - for_lines(timeout)),
            None => [0; 3],
        };
        #[cfg(not(feature = "otlp"))]
        let exports = [0; 3];
        // As in `flush`. A second call does not wait.
        let were_open: Vec<_> = self.queues().map(Queue::close).collect();
        let waits = self.queues().zip(were_open);
        let lost = waits
            .map(|(queue, was_open)| {
                queue.join(if was_open {
                    left(until)
                } else {
                    Duration::ZERO
                })
            })
            .sum();
        Unflushed::new(lost, exports)
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        let sinks = std::iter::once(&self.layer.emitter.first).chain(&*self.layer.emitter.others);
        sinks.map(|sink| &*sink.queue)
    }
}

fn after(time: Duration) -> Instant {
    let now = clock::instant();
    // A timeout that overflows the clock is one day.
    now.checked_add(time).unwrap_or(now + DAY)
}

/// Returns the part of a timeout that is reserved for the writer, since the exporter may log.
#[cfg(feature = "otlp")]
fn for_lines(timeout: Duration) -> Duration {
    (timeout / 10).min(Duration::from_millis(200))
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(clock::instant())
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What [`Telemetry::flush`] could not write or export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it says whether lines or spans were lost"]
#[non_exhaustive]
pub struct Unflushed {
    /// The number of lines that are still queued, or were dropped or failed since the last
    /// [`flush`](Telemetry::flush), for all outputs together.
    pub lines: u64,
    /// The number of spans that were not exported.
    pub spans: u64,
    /// The number of log records that were not exported.
    pub records: u64,
    /// The number of metric points that were not exported.
    pub points: u64,
}

impl Unflushed {
    fn new(lines: u64, [spans, records, points]: [u64; 3]) -> Self {
        Self {
            lines,
            spans,
            records,
            points,
        }
    }

    /// Returns whether everything was written and exported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The numbers of exported items by signal; from [`Telemetry::exports`].
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportStats {
    /// The spans.
    pub traces: SignalStats,
    /// The log records.
    pub logs: SignalStats,
    /// The metric points.
    pub metrics: SignalStats,
}

/// Keeps an installed telemetry open. Its drop calls [`Telemetry::shutdown`] with 3 s.
#[derive(Debug)]
#[must_use = "the log ends when the guard is dropped"]
pub struct TelemetryGuard(Telemetry);

impl TelemetryGuard {
    /// Returns the telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.0
    }

    /// Shuts the telemetry down, as [`Telemetry::shutdown`] does.
    pub fn shutdown(self, timeout: Duration) -> Unflushed {
        self.0.shutdown(timeout)
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        // A destructor returns nothing.
        let _ = self.0.shutdown(Duration::from_secs(3));
    }
}
