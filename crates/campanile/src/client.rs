use campanile_correlation::{Propagate, PropagationLayer};
#[cfg(feature = "health-passive")]
use campanile_health::PassiveCheck;
use campanile_http::{End, Observe, ObserveLayer, Observer, RequestHead};
#[cfg(feature = "metrics")]
use campanile_metrics::HttpClientMetrics;
#[cfg(feature = "telemetry")]
use campanile_telemetry::HttpClientSpans;
use http::{HeaderMap, StatusCode};
use tower_layer::Layer;

use crate::Campanile;

#[cfg(feature = "reqwest")]
mod middleware;

impl Campanile {
    /// Returns the layer for outgoing requests: a span, metrics, and the ids of the request that is
    /// being handled in the headers.
    ///
    /// It is for tower services that take `http::Request`, such as the client of `hyper-util`. With
    /// feature `reqwest` it is also a middleware of `reqwest-middleware`. The guide has [a
    /// page](crate::guide::call_other_services) with both.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let campanile = Campanile::builder("orders").build()?;
    /// let client = ServiceBuilder::new()
    ///     .layer(campanile.client_layer())
    ///     .service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(String::new())));
    /// client.oneshot(Request::get("http://stock/items/7").body(())?).await?;
    /// # let page = campanile.metrics().render();
    /// # assert!(page.contains("http_client_request_duration_seconds_count{"), "{page}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_layer(&self) -> ClientLayer {
        #[cfg(feature = "telemetry")]
        let spans = HttpClientSpans::new();
        #[cfg(not(feature = "telemetry"))]
        let spans = ();
        #[cfg(feature = "metrics")]
        let metrics = self.client_metrics().clone();
        #[cfg(not(feature = "metrics"))]
        let metrics = ();
        ClientLayer {
            observe: ObserveLayer::client(ClientObservers((spans, metrics, None))),
            propagation: PropagationLayer::new(),
        }
    }
}

/// A [`Layer`] for HTTP clients; from [`Campanile::client_layer`].
///
/// | part | feature | what it does |
/// |---|---|---|
/// | [`HttpClientSpans`](campanile_telemetry::HttpClientSpans) | `telemetry` | makes a span, below that of the request that is being handled |
/// | [`HttpClientMetrics`](campanile_metrics::HttpClientMetrics) | `metrics` | records `http_client_request_duration_seconds` |
/// | [`PassiveCheck`](campanile_health::PassiveCheck) | `health-passive` | counts the outcome for a health check, if one is [set](Self::check) |
/// | [`PropagationLayer`] | | adds the headers `x-correlation-id`, `traceparent` and `tracestate` |
///
/// | setting | default |
/// |---|---|
/// | [`check`](Self::check) | none |
/// | [`propagation`](Self::propagation) | id and trace, no baggage |
/// | [`spans`](Self::spans) | `url.full` with its path, without its query |
///
/// # Routes
///
/// A path is never a label or part of a span's name. To distinguish the requests to a service,
/// insert a [`Route`](campanile_http::Route) with the template of the path into the request's
/// extensions. It is the label `url_template` and the field `url.template`.
///
/// # Order
///
/// - Retries and redirects belong around the layer: each attempt is a request with its own span.
/// - Timeouts belong inside of it, where they are errors.
/// - If the caller drops the future before the response, `error_type` is `cancelled`, and the check
///   does not count the request. A timeout around the layer drops the future, too.
///
/// The layer adds headers and extensions to the request. It changes neither the response nor an
/// error. A header that the application has set is kept.
///
/// A clone shares everything (an `Arc`).
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a client"]
pub struct ClientLayer {
    observe: ObserveLayer<ClientObservers>,
    propagation: PropagationLayer,
}

impl ClientLayer {
    /// Sets the health check that counts the outcomes of the requests. It needs no probe while
    /// there is traffic. Use one layer and one check for each service that the application calls.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use campanile::health::PassiveCheck;
    ///
    /// let payments = PassiveCheck::new();
    /// let probe = || async { Ok::<_, std::io::Error>(()) };
    /// let campanile = Campanile::builder("orders").check(payments.check("payments", probe)).build()?;
    /// let layer = campanile.client_layer().check(&payments);
    /// # drop(layer);
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to none.
    #[cfg(feature = "health-passive")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health-passive")))]
    pub fn check(self, check: &PassiveCheck) -> Self {
        self.with(|(_, _, counted)| *counted = Some(check.clone()))
    }

    /// Sets the headers that are added to the requests: the name of the id's header, and the keys
    /// of the baggage.
    ///
    /// Defaults to [`PropagationLayer::new`]: the id in `x-correlation-id`, the trace, and no baggage.
    pub fn propagation(mut self, propagation: PropagationLayer) -> Self {
        self.propagation = propagation;
        self
    }

    /// Sets the spans, for URLs whose paths hold secrets.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use campanile::telemetry::HttpClientSpans;
    ///
    /// let campanile = Campanile::builder("orders").build()?;
    /// let spans = HttpClientSpans::new().path(|_| "/[redacted]".into());
    /// let layer = campanile.client_layer().spans(spans);
    /// # drop(layer);
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to [`HttpClientSpans::new`].
    #[cfg(feature = "telemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn spans(self, spans: HttpClientSpans) -> Self {
        self.with(|(before, ..)| *before = spans)
    }

    /// Changes the observers.
    #[cfg(any(feature = "health-passive", feature = "telemetry"))]
    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut observers = self.observe.observer().clone();
        change(&mut observers.0);
        Self {
            observe: ObserveLayer::client(observers),
            ..self
        }
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Observe<Propagate<S>, ClientObservers>;

    fn layer(&self, inner: S) -> Self::Service {
        self.observe.layer(self.propagation.layer(inner))
    }
}

/// The observers of a [`ClientLayer`]: those of the features that are on.
#[derive(Clone, Debug)]
pub struct ClientObservers(Inner);

/// Metrics come after the spans, which they refer to.
type Inner = (Spans, Metrics, Option<Check>);
#[cfg(feature = "telemetry")]
type Spans = HttpClientSpans;
#[cfg(not(feature = "telemetry"))]
type Spans = ();
#[cfg(feature = "metrics")]
type Metrics = HttpClientMetrics;
#[cfg(not(feature = "metrics"))]
type Metrics = ();
#[cfg(feature = "health-passive")]
type Check = PassiveCheck;
#[cfg(not(feature = "health-passive"))]
type Check = ();

impl Observer for ClientObservers {
    type Exchange = <Inner as Observer>::Exchange;
    const WANTS_TIME_TO_HEAD: bool = Inner::WANTS_TIME_TO_HEAD;

    fn wants_time_to_head(&self) -> bool {
        self.0.wants_time_to_head()
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange {
        self.0.begin(head)
    }

    fn scope<T>(&self, exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        self.0.scope(exchange, poll)
    }

    fn responded(&self, exchange: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
        self.0.responded(exchange, status, headers);
    }

    fn end(&self, exchange: Self::Exchange, end: &End) {
        self.0.end(exchange, end);
    }
}
