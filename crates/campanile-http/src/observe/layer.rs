use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::header::USER_AGENT;
use tower_layer::Layer;

use super::Observe;
use super::shared::{ExcludeFn, RouteFn, Shared};
use crate::grpc::{Methods, is_grpc};
use crate::{Clock, Observer, RequestHead, Route};

/// A [`Layer`] that calls an [`Observer`] for every HTTP exchange of the wrapped service.
///
/// Clones share the observer, as do the services that they create.
///
/// Put it outside every layer that sends responses itself (authentication, limits, `CatchPanic`),
/// so that these are observed. Put it inside layers that only set ids. In axum use `Router::layer`.
/// A layer around the whole `Router` can't read the matched route: it logs a warning when the first
/// successful response has no route.
pub struct ObserveLayer<O> {
    shared: Arc<Shared<O>>,
}

impl<O> ObserveLayer<O> {
    /// Creates a layer with the default settings.
    pub fn new(observer: O) -> Self {
        Self::builder(observer).build()
    }

    /// Creates a layer for an HTTP client. It observes the outgoing requests of the application.
    ///
    /// The route is the [`Route`] in the request's extensions: the template of the URL's path.
    /// Without one, the route is [`Route::UNMATCHED`], and no warning is logged. The layer ignores
    /// the route of an inbound request that the application forwards. gRPC calls have the same
    /// routes as on a server.
    ///
    /// ```
    /// use campanile_http::{ObserveLayer, Route};
    /// use http::Request;
    ///
    /// let layer = ObserveLayer::client(());
    /// let mut request = Request::get("http://stock/items/7").body(())?;
    /// request.extensions_mut().insert(Route::from_static("/items/{id}"));
    /// # drop((layer, request));
    /// # Ok::<_, http::Error>(())
    /// ```
    pub fn client(observer: O) -> Self {
        let builder = Self::builder(observer).route(|head| {
            let has_route = head.extensions().get::<Route>().is_some();
            (!has_route && !is_grpc(head.headers())).then_some(Route::UNMATCHED)
        });
        builder.build_with(false)
    }

    /// Creates a builder with the default settings.
    pub fn builder(observer: O) -> ObserveBuilder<O> {
        ObserveBuilder {
            observer,
            route: None,
            exclude: Vec::new(),
            excludes_grpc_health: true,
            clock: Clock::default(),
        }
    }

    /// Returns the observer.
    pub fn observer(&self) -> &O {
        &self.shared.observer
    }

    /// Returns the counts of errors in the layer itself, since it was built.
    pub fn stats(&self) -> Stats {
        Stats {
            observer_panics: self.shared.observer_panics.load(Ordering::Relaxed),
        }
    }
}

impl<O: Observer, S> Layer<S> for ObserveLayer<O> {
    type Service = Observe<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe::from_parts(inner, Arc::clone(&self.shared))
    }
}

impl<O> Clone for ObserveLayer<O> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<O> fmt::Debug for ObserveLayer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveLayer")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Settings of an [`ObserveLayer`].
///
/// | setting | default |
/// |---|---|
/// | [`route`](Self::route) | none: extensions and axum's `MatchedPath` |
/// | [`exclude`](Self::exclude) | none |
/// | [`include_grpc_health`](Self::include_grpc_health) | off: calls to `grpc.health.v1.Health` are excluded |
/// | [`clock`](Self::clock) | [`Clock::system`] |
#[must_use = "a builder does nothing until `build` is called"]
pub struct ObserveBuilder<O> {
    observer: O,
    route: Option<RouteFn>,
    exclude: Vec<ExcludeFn>,
    excludes_grpc_health: bool,
    clock: Clock,
}

impl<O> ObserveBuilder<O> {
    /// Sets a closure that returns the route of a request. If it returns
    /// `None`, the other sources of [`Route`] apply.
    ///
    /// The number of different routes that it returns must be bounded. Defaults to none.
    pub fn route(
        mut self,
        route: impl Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync + 'static,
    ) -> Self {
        self.route = Some(Box::new(route));
        self
    }

    /// Excludes the requests for which the closure returns `true`: the layer calls no method of the
    /// observer for them.
    ///
    /// This includes [`scope`](Observer::scope). If the metrics registry is not the process's
    /// recorder, the `metrics` macros record nothing in the handler of such a request.
    ///
    /// Each call adds a closure. Defaults to excluding nothing.
    pub fn exclude(
        mut self,
        exclude: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.exclude.push(Box::new(exclude));
        self
    }

    /// Excludes Kubernetes' probes (`User-Agent: kube-probe/…`) and Prometheus' scrapes
    /// (`User-Agent: Prometheus/…`).
    ///
    /// Any client can send these headers to hide its requests. Set it only if the clients are
    /// trusted. Defaults to observing these requests.
    pub fn exclude_probes_and_scrapes(self) -> Self {
        self.exclude(|head| {
            let agent = head
                .headers()
                .get(USER_AGENT)
                .map_or(&b""[..], |agent| agent.as_bytes());
            agent.starts_with(b"kube-probe/") || agent.starts_with(b"Prometheus/")
        })
    }

    /// Observes calls to `grpc.health.v1.Health`.
    ///
    /// Defaults to excluding them: they are probes, and clients keep a `Watch` call open while they
    /// are connected.
    pub fn include_grpc_health(mut self) -> Self {
        self.excludes_grpc_health = false;
        self
    }

    /// Sets the clock that measures exchanges.
    ///
    /// Defaults to [`Clock::system`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Creates the layer.
    pub fn build(self) -> ObserveLayer<O> {
        self.build_with(true)
    }

    fn build_with(self, warns_of_unmatched: bool) -> ObserveLayer<O> {
        let Self {
            observer,
            route,
            exclude,
            excludes_grpc_health,
            clock,
        } = self;
        let shared = Shared {
            observer,
            route,
            exclude,
            excludes_grpc_health,
            clock,
            methods: Methods::default(),
            observer_panics: AtomicU64::new(0),
            warned_of_unmatched: AtomicBool::new(!warns_of_unmatched),
        };
        ObserveLayer {
            shared: Arc::new(shared),
        }
    }
}

impl<O> fmt::Debug for ObserveBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveBuilder")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Counts of errors in an [`ObserveLayer`] itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Panics of the observer. The layer caught them.
    pub observer_panics: u64,
}
