use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use campanile_correlation::CorrelationId;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use self::directives::{parsed, without_spans};
use self::state::State;
use crate::clock;

pub(crate) mod directives;
mod disposition;
mod layer;
mod state;
mod timer;

pub use self::directives::InvalidDirectives;
pub(crate) use self::disposition::{Disposition, RecordingSite};

/// A filter that selects the events of the log and can be changed while the service runs; from
/// [`Telemetry::filter`](crate::Telemetry::filter).
///
/// Use it as the [`Filter`](tracing_subscriber::layer::Filter) of
/// [`Telemetry::layer`](crate::Telemetry::layer). Other layers of the subscriber then keep their
/// own filters, and do not see events that are only [recorded](crate::FlightRecorder).
///
/// ```
/// use campanile_telemetry::Telemetry;
/// use tracing_subscriber::Layer;
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # struct Other;
/// # impl<S: tracing::Subscriber> Layer<S> for Other {}
/// # let other_layer = Other;
/// let telemetry = Telemetry::builder("orders").filter("info,orders=debug").build()?;
/// let subscriber = tracing_subscriber::registry()
///     .with(other_layer.with_filter(LevelFilter::WARN))
///     .with(telemetry.layer().with_filter(telemetry.filter()));
/// # let _ = subscriber;
/// # Ok::<_, campanile_telemetry::BuildError>(())
/// ```
///
/// It is also a [`Layer`](tracing_subscriber::Layer). As a layer it applies to all layers of the
/// subscriber: they see the events that are written or recorded, and no others.
///
/// An override is temporary. While one is active, the thread `campanile-filter` waits for its end.
/// Each change of the filter is logged at INFO, whatever the directives.
///
/// Clones share one filter (an `Arc`).
#[derive(Clone)]
pub struct LogFilter(Arc<State>);

/// The limit of the duration of an override.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

impl LogFilter {
    pub(crate) fn new(directives: &str, recorded: Option<EnvFilter>) -> Result<Self, ParseError> {
        State::new(directives, recorded).map(|state| Self(Arc::new(state)))
    }

    /// Sets the function that writes a line about each change. A second call has no effect.
    pub(crate) fn on_change(&self, notice: impl Fn(&str) + Send + Sync + 'static) {
        self.0.on_change(Box::new(notice));
    }

    /// Replaces the directives for at most 24 hours. Afterwards the directives that the filter was
    /// built with apply again. A second call replaces the first.
    ///
    /// Directives without a default level, such as `orders=debug`, disable all other targets,
    /// including their errors. To add events of one target, use [`raise`](Self::raise).
    ///
    /// In a span that already exists, directives for spans (`[span]`) apply once the span is
    /// entered again.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidDirectives`] and changes nothing if the directives are invalid.
    pub fn override_for(
        &self,
        directives: &str,
        duration: Duration,
    ) -> Result<(), InvalidDirectives> {
        let filter = parsed(directives)?;
        let duration = duration.min(MAX_DURATION);
        {
            let mut timer = self.0.timer();
            timer.until = Some(clock::instant() + duration);
            self.0.replace(filter);
            timer::start(&self.0, &mut timer);
            self.0.notify(&format!(
                "log filter set to {directives:?} for {duration:?}"
            ));
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Adds events to the log for at most 24 hours: those that the directives enable, besides those
    /// that are enabled anyway. A second call replaces the first.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidDirectives`] and changes nothing if the directives are invalid or name a
    /// span (`[span]`).
    pub fn raise(&self, directives: &str, duration: Duration) -> Result<(), InvalidDirectives> {
        let filter = without_spans(directives)?;
        let duration = duration.min(MAX_DURATION);
        {
            let mut timer = self.0.timer();
            self.0.raise(filter, clock::instant() + duration);
            timer::start(&self.0, &mut timer);
            self.0.notify(&format!(
                "log filter raised by {directives:?} for {duration:?}"
            ));
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Adds events of the requests with a correlation id to the log, for at most 24 hours: those
    /// that the directives enable, besides those that are enabled anyway. The limit is 100 ids; a
    /// further id replaces the oldest.
    ///
    /// An event belongs to the nearest request whose span it is in, also in spawned tasks and
    /// threads. Outside of such spans it belongs to the id that its task carries.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidDirectives`] and changes nothing if the directives are invalid or name a
    /// span (`[span]`).
    pub fn override_for_request(
        &self,
        id: CorrelationId,
        directives: &str,
        duration: Duration,
    ) -> Result<(), InvalidDirectives> {
        let filter = without_spans(directives)?;
        let duration = duration.min(MAX_DURATION);
        let notice = format!(
            "log filter raised by {directives:?} for {duration:?}, for the correlation id {:?}",
            id.as_str(),
        );
        {
            let mut timer = self.0.timer();
            self.0.add_request(id, filter, clock::instant() + duration);
            timer::start(&self.0, &mut timer);
            self.0.notify(&notice);
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Ends all overrides: the directives that the filter was built with apply again.
    pub fn reset(&self) {
        {
            let mut timer = self.0.timer();
            self.0.reset(&mut timer);
            if let Some(thread) = &timer.thread {
                thread.unpark();
            }
        }
        tracing::callsite::rebuild_interest_cache();
    }

    /// Returns the current directives, without those of [`raise`](Self::raise) and
    /// [`override_for_request`](Self::override_for_request).
    #[must_use]
    pub fn directives(&self) -> String {
        self.0.current().to_string()
    }

    /// Returns whether the current directives name spans.
    pub(crate) fn knows_spans(&self) -> bool {
        self.0.knows_spans()
    }

    /// Returns what the layer does with an event that has just arrived.
    pub(crate) fn disposition<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Disposition
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.0.disposition(event, context)
    }

    /// Returns the directives that need span callbacks.
    fn of_spans(&self) -> Option<Arc<EnvFilter>> {
        self.knows_spans().then(|| self.0.current())
    }

    fn is_enabled<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.0.is_enabled(metadata, context)
    }

    /// Notes that a subscriber uses the filter.
    fn mark_used(&self) {
        self.0.is_used.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter")
            .field(&self.directives())
            .finish()
    }
}
