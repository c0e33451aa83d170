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
    /// host's metrics. Where the application has the same path, the application's route is kept.
    /// A route of the application such as `/{tenant}` does not receive requests for our paths. The log has a warning for both. The
    /// application's fallback stays, and what it answers is observed.
    ///
    /// Call it last: axum does not layer what is added or merged after it.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn wrap(&self, router: Router) -> Router {
        let mut kept = Vec::new();
        let mut narrowed = BTreeMap::<String, Vec<&str>>::new();
        let mut ours = Vec::new();
        for (path, route) in self.layered_routes() {
            match matching(&router, path) {
                Some(pattern) if is_taken(&pattern, path) => {
                    kept.push(path);
                    continue;
                }
                // A fallback such as `/{*rest}` is for what no other route takes.
                Some(pattern) if !pattern.contains("{*") => {
                    narrowed.entry(pattern).or_default().push(path);
                }
                _ => {}
            }
            ours.push((path, route));
        }
        if !kept.is_empty() {
            tracing::warn!(
                paths = ?kept,
                "the application has routes for paths of campanile: the application's are kept"
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
        for path in campanile_health::Health::PATHS {
            let health = self.health().clone();
            let answer = async move |request: Request| {
                let request = request.into_parts().0;
                health.respond(&request).ok_or(http::StatusCode::NOT_FOUND)
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

/// Adds a route; one that the host's leave no room for stays away.
fn add(router: Router, (path, route): (&str, MethodRouter)) -> Router {
    let with = std::panic::AssertUnwindSafe(|| router.clone().route(path, route));
    std::panic::catch_unwind(with).unwrap_or_else(|_| {
        tracing::warn!(path, "the host's routes leave no room for this one");
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

/// Returns the pattern of the route that a router has for a path, for any method.
///
/// The router is asked with a request that a middleware answers before any handler and fallback of
/// the application.
fn matching(router: &Router, path: &'static str) -> Option<String> {
    let answer = middleware::from_fn(async |request: Request, _: Next| {
        let mut response = Response::new(Body::empty());
        if let Some(matched) = request.extensions().get::<MatchedPath>() {
            response.extensions_mut().insert(matched.clone());
        }
        response
    });
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(path);
    let response = pin!(router.clone().layer(answer).call(request));
    // Nothing in it waits.
    match response.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => {
            let matched = response.extensions().get::<MatchedPath>();
            matched.map(|matched| matched.as_str().to_owned())
        }
        Poll::Pending => None,
    }
}

#[cfg(feature = "metrics")]
#[cfg(test)]
mod tests;
