use std::sync::Arc;

use campanile_correlation::{CorrelationIdLayer, SetCorrelationId};
use campanile_http::{BoxObserver, End, Observe, ObserveLayer, Observer, RequestHead};
#[cfg(feature = "metrics")]
use campanile_metrics::HttpMetrics;
#[cfg(feature = "metrics")]
use campanile_metrics::collectors::OverheadMetrics;
#[cfg(feature = "sla")]
use campanile_sla::{ServiceLevels, SliObserver};
#[cfg(feature = "telemetry")]
use campanile_telemetry::HttpSpans;
use http::{HeaderMap, StatusCode};
use tower_layer::Layer;

use crate::runs::Runs;

/// A [`Layer`] with all that [`Campanile`](crate::Campanile) has for a request; from
/// [`Campanile::layer`](crate::Campanile::layer).
#[derive(Clone, Debug)]
pub struct CampanileLayer {
    correlation: CorrelationIdLayer,
    observe: ObserveLayer<Observers>,
}

impl CampanileLayer {
    pub(crate) fn new(correlation: CorrelationIdLayer, observe: ObserveLayer<Observers>) -> Self {
        Self {
            correlation,
            observe,
        }
    }

    /// Returns the layer of correlation ids alone.
    #[cfg(feature = "axum")]
    pub(crate) fn correlation(&self) -> CorrelationIdLayer {
        self.correlation.clone()
    }

    /// Returns what went wrong in the observing itself.
    pub fn stats(&self) -> campanile_http::Stats {
        self.observe.stats()
    }
}

impl<S> Layer<S> for CampanileLayer {
    type Service = SetCorrelationId<Observe<S, Observers>>;

    fn layer(&self, inner: S) -> Self::Service {
        self.correlation.layer(self.observe.layer(inner))
    }
}

/// The observers of a [`CampanileLayer`]: those of the features that are on, and those of the
/// [application](crate::Builder::observer).
#[derive(Debug)]
pub struct Observers {
    inner: Inner,
    runs: Arc<Runs>,
    #[cfg(feature = "metrics")]
    overhead: OverheadMetrics,
    /// The process's log, which is open while a service has the layer.
    #[cfg(all(feature = "metrics", feature = "telemetry"))]
    _log: LogGuard,
}

/// What keeps the process's log, once it is installed.
#[cfg(all(feature = "metrics", feature = "telemetry"))]
pub(crate) type LogGuard = Arc<std::sync::OnceLock<campanile_telemetry::TelemetryGuard>>;

impl Observers {
    pub(crate) fn new(
        runs: Arc<Runs>,
        #[cfg(feature = "metrics")] metrics: HttpMetrics,
        #[cfg(feature = "metrics")] overhead: OverheadMetrics,
        #[cfg(all(feature = "metrics", feature = "telemetry"))] log: LogGuard,
        #[cfg(feature = "telemetry")] spans: HttpSpans,
        #[cfg(feature = "sla")] sla: &ServiceLevels,
        custom: Option<BoxObserver>,
    ) -> Self {
        #[cfg(not(feature = "telemetry"))]
        let spans = ();
        #[cfg(not(feature = "metrics"))]
        let metrics = ();
        #[cfg(feature = "sla")]
        let sli = sla.observer();
        #[cfg(not(feature = "sla"))]
        let sli = ();
        Self {
            inner: (spans, metrics, sli, custom),
            runs,
            #[cfg(feature = "metrics")]
            overhead,
            #[cfg(all(feature = "metrics", feature = "telemetry"))]
            _log: log,
        }
    }

    /// Runs a piece of code that is ours, and takes the time of some.
    #[inline]
    fn sampled<T>(&self, code: impl FnOnce() -> T) -> T {
        #[cfg(feature = "metrics")]
        return self.overhead.sample(code);
        #[cfg(not(feature = "metrics"))]
        return code();
    }
}

type Inner = (Spans, Metrics, Sli, Option<BoxObserver>);
#[cfg(feature = "telemetry")]
type Spans = HttpSpans;
#[cfg(not(feature = "telemetry"))]
type Spans = ();
#[cfg(feature = "metrics")]
type Metrics = HttpMetrics;
#[cfg(not(feature = "metrics"))]
type Metrics = ();
#[cfg(feature = "sla")]
type Sli = SliObserver;
#[cfg(not(feature = "sla"))]
type Sli = ();

impl Observer for Observers {
    type Exchange = <Inner as Observer>::Exchange;
    const WANTS_TIME_TO_HEAD: bool = Inner::WANTS_TIME_TO_HEAD;

    fn wants_time_to_head(&self) -> bool {
        self.inner.wants_time_to_head()
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange {
        self.sampled(|| self.inner.begin(head))
    }

    fn scope<T>(&self, exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        self.inner.scope(exchange, poll)
    }

    fn responded(&self, exchange: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
        self.inner.responded(exchange, status, headers);
    }

    fn end(&self, exchange: Self::Exchange, end: &End) {
        self.sampled(|| self.inner.end(exchange, end));
        self.runs.request_ended(end.ended_at());
    }
}
