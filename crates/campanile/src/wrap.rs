use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
#[cfg(feature = "monitor")]
use axum::extract::ConnectInfo;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::MethodRouter;
use campanile_correlation::{InvalidCorrelationId, OnInvalid, Reject};
use tower_service::Service;

use crate::Campanile;

impl Campanile {
    /// Wraps a finished router: adds our routes, and layers the host's own with the correlation id and the observers.
    ///
    /// With feature `monitor`, our routes are [its routes](campanile_monitor#routes), behind its guard; otherwise `GET /metrics`, and with
    /// feature `health` the probes' [paths](campanile_health#paths). Each is there with and without a final slash. They carry a correlation id and are not among the
    /// application's metrics. If the application has the same path, or nests a service right above it (`nest_service("/health", ..)`), the
    /// application's is kept. A route of the application such as `/{tenant}` does not receive requests for our paths. The log has a warning
    /// for both. The application's fallback stays, and its responses are observed.
    ///
    /// axum shows no pattern for requests to a service that is nested with `nest_service`: their route is `_unmatched_`, unless a closure
    /// of [`observe`](crate::Builder::observe) returns one.
    ///
    /// Call it last: axum does not layer what is added or merged after it.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn wrap(&self, router: Router) -> Router {
        let mut kept = Vec::new();
        let mut narrowed = BTreeMap::<String, Vec<&str>>::new();
        let mut ours = Vec::new();
        for (path, route) in self.layered_routes() {
            let found = find(&router, path);
            let is_kept = match &found {
                Some(Found::Route(matched)) => is_taken(matched.as_str(), path),
                Some(Found::Nested) => is_nested(&router, path),
                None => false,
            };
            if is_kept {
                kept.push(path);
                continue;
            }
            // A fallback such as `/{*rest}` is for what no other route takes.
            if let Some(Found::Route(matched)) = found
                && !matched.as_str().contains("{*")
            {
                let pattern = matched.as_str().to_owned();
                narrowed.entry(pattern).or_default().push(path);
            }
            ours.push((path, route));
        }
        if !kept.is_empty() {
            tracing::warn!(
                paths = ?kept,
                "the application has routes at paths of campanile; the application's are kept"
            );
        }
        for (pattern, paths) in narrowed {
            tracing::warn!(
                pattern,
                ?paths,
                "a route of the application does not receive requests for paths of campanile"
            );
        }
        let router = match self.layer().correlation().rejects_invalid() {
            true => router.layer(middleware::from_fn(reject_invalid_id)),
            false => router,
        };
        // Our routes come after the layer, and so outside of it; routes don't touch the fallback, as merging would.
        ours.into_iter().fold(router.layer(self.layer()), add)
    }

    /// Returns our routes alone, to be merged into a router that is layered by hand; [`wrap`](Self::wrap) lists them.
    ///
    /// In `app.layer(campanile.layer()).merge(campanile.routes())` the fallback of these routes wins, and what no route
    /// matches is not observed any more: `campanile.routes().merge(app.layer(campanile.layer()))` keeps the app's.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> Router {
        self.layered_routes().into_iter().fold(Router::new(), add)
    }

    /// Returns our routes with the layer of ids alone.
    fn layered_routes(&self) -> Vec<(&'static str, MethodRouter)> {
        let ids = self.layer().correlation();
        let routes = self.own_routes().into_iter();
        let layered = |(path, route): (_, MethodRouter)| (path, route.layer(ids.clone()));
        routes.map(layered).collect()
    }

    #[cfg(feature = "monitor")]
    fn own_routes(&self) -> Vec<(&'static str, MethodRouter)> {
        let routes = campanile_monitor::Monitor::routes().iter();
        let paths = routes.flat_map(|route| [route.path(), route.path_with_slash()]);
        let route = |path| {
            let monitor = self.monitor().clone();
            let answer = async move |request: Request| {
                let mut request = request.into_parts().0;
                if let Some(ConnectInfo(peer)) = request.extensions.get().copied() {
                    request.extensions.insert(campanile_monitor::Peer(peer));
                }
                monitor.respond(&request)
            };
            (path, axum::routing::any(answer))
        };
        paths.map(route).collect()
    }

    #[cfg(not(feature = "monitor"))]
    fn own_routes(&self) -> Vec<(&'static str, MethodRouter)> {
        #[cfg_attr(
            not(any(feature = "health", feature = "metrics")),
            expect(unused_mut, reason = "there are no routes then")
        )]
        let mut routes: Vec<(&str, MethodRouter)> = Vec::new();
        #[cfg(feature = "health")]
        for path in campanile_health::Health::PATHS.iter().copied() {
            let health = self.health().clone();
            let answer = async move |request: Request| {
                let request = request.into_parts().0;
                health.respond(&request)
            };
            routes.push((path, axum::routing::any(answer)));
        }
        #[cfg(feature = "metrics")]
        for path in ["/metrics", "/metrics/"] {
            let registry = self.metrics().clone();
            let page = async move |method: http::Method, headers: http::HeaderMap| {
                registry.respond(&method, &headers)
            };
            routes.push((path, axum::routing::any(page)));
        }
        routes
    }
}

/// Responds with 400 to a request whose correlation id is malformed.
async fn reject_invalid_id(request: Request, next: Next) -> Response {
    let error = request.extensions().get::<InvalidCorrelationId>();
    match error.and_then(|_| Reject::answer()) {
        Some(response) => response,
        None => next.run(request).await,
    }
}

/// Adds a route, unless it conflicts with a route of the application.
fn add(router: Router, (path, route): (&str, MethodRouter)) -> Router {
    let with = std::panic::AssertUnwindSafe(|| router.clone().route(path, route));
    std::panic::catch_unwind(with).unwrap_or_else(|_| {
        tracing::warn!(
            path,
            "failed to add a route: it conflicts with the application's routes"
        );
        router
    })
}

/// Returns whether a pattern of the host's leaves no room for one of ours: it is for the same paths, as what is in braces may be named as it likes, or
/// it has all that begins as ours does before its first name in braces.
fn is_taken(hosts: &str, ours: &str) -> bool {
    let begin = |pattern: &str, mark| pattern.find(mark).map(|end| pattern[..end].to_owned());
    let all_that_begin = begin(hosts, "{*");
    is_same(hosts, ours) || all_that_begin.is_some() && all_that_begin == begin(ours, "{")
}

fn is_same(one: &str, other: &str) -> bool {
    let name = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
    let mut others = other.split('/');
    let same = one.split('/').all(|segment| {
        let other = others.next();
        other.is_some_and(|other| segment == other || name(segment) && name(other))
    });
    same && others.next().is_none()
}

/// What an application's router has for a path.
#[derive(Clone)]
enum Found {
    Route(MatchedPath),
    /// A service below a prefix (`nest_service`), of which axum shows no pattern.
    Nested,
}

/// Returns whether a service is nested right above a path. One that is nested further up leaves room for the path.
fn is_nested(router: &Router, path: &str) -> bool {
    let prefix = nest_prefix(path);
    let found = find(router, prefix);
    matches!(found, Some(Found::Route(matched)) if matched.as_str() == prefix)
}

/// Returns the prefix below which a nested service leaves no room for a path: what comes before its first name in braces, or else
/// its parent.
fn nest_prefix(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let end = path.find("/{").or_else(|| path.rfind('/'));
    &path[..end.unwrap_or(0)]
}

/// Sends a request, which layers answer before it reaches a handler or fallback of the application.
fn find(router: &Router, path: &str) -> Option<Found> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().ok()?;
    if !router.has_routes() {
        return None;
    }
    // Routes have this layer outside of the other one, and fallbacks have the other one alone.
    let on_route = middleware::from_fn(async |request: Request, _: Next| {
        let matched = request.extensions().get::<MatchedPath>();
        let mut response = Response::new(Body::empty());
        let found = matched.map_or(Found::Nested, |path| Found::Route(path.clone()));
        response.extensions_mut().insert(found);
        response
    });
    let on_all = middleware::from_fn(async |_: Request, _: Next| Response::new(Body::empty()));
    let mut router = router.clone().layer(on_all).route_layer(on_route);
    let response = pin!(router.call(request));
    // Neither layer waits.
    match response.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(mut response)) => response.extensions_mut().remove(),
        Poll::Pending => None,
    }
}

#[cfg(feature = "metrics")]
#[cfg(test)]
mod tests;
