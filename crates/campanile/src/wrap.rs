use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::MethodRouter;
use campanile_correlation::{InvalidCorrelationId, OnInvalid, Reject};
#[cfg(any(feature = "health", feature = "monitor"))]
use http::uri::{PathAndQuery, Uri};
use tower_service::Service;

use crate::Campanile;

impl Campanile {
    /// Wraps a finished router: adds our routes, and layers the application's routes with the correlation id and the
    /// observers.
    ///
    /// With feature `monitor`, our routes are [the monitor's](campanile_monitor#routes), with its authorization. Without
    /// it, they are `/metrics` and with feature `health` the [probes](campanile_health#paths). Each exists with and without
    /// a final slash, below the [prefix](crate::Builder::routes_at). They have a correlation id, and the application's
    /// metrics do not count them.
    ///
    /// If the application has a route at one of our paths, or nests a service directly above it
    /// (`nest_service("/health", ..)`), the application's route stays. A route of the application such as `/{tenant}` does
    /// not receive requests for our paths. Both log a warning. The application's fallback stays, and its responses are
    /// observed.
    ///
    /// axum has no pattern for a service that is nested with `nest_service`. The route of its requests is `_unmatched_`,
    /// unless a closure of [`observe`](crate::Builder::observe) returns one.
    ///
    /// Call it last: axum does not layer routes that are added or merged afterwards.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn wrap(&self, router: Router) -> Router {
        let mut kept = Vec::new();
        let mut narrowed = BTreeMap::<String, Vec<String>>::new();
        let mut ours = Vec::new();
        for (path, route) in self.layered_routes() {
            let found = find(&router, &path);
            let is_kept = match &found {
                Some(Found::Route(matched)) => is_taken(matched.as_str(), &path),
                Some(Found::Nested) => is_nested(&router, &path),
                None => false,
            };
            if is_kept {
                kept.push(path);
                continue;
            }
            // A fallback such as `/{*rest}` is meant for the rest.
            if let Some(Found::Route(matched)) = found
                && !matched.as_str().contains("{*")
            {
                let pattern = matched.as_str().to_owned();
                narrowed.entry(pattern).or_default().push(path.clone());
            }
            ours.push((path, route));
        }
        if !kept.is_empty() {
            tracing::warn!(
                paths = ?kept,
                "routes already defined by the application; not adding campanile's"
            );
        }
        for (pattern, paths) in narrowed {
            tracing::warn!(
                pattern,
                ?paths,
                "route of the application does not receive requests for campanile's paths"
            );
        }
        let router = match self.layer().correlation().rejects_invalid() {
            true => router.layer(middleware::from_fn(reject_invalid_id)),
            false => router,
        };
        // Our routes are added after the layer, so outside of it. Unlike merging, adding routes keeps the fallback.
        ours.into_iter().fold(router.layer(self.layer()), add)
    }

    /// Returns our routes alone, to merge them into a router with [`layer`](Self::layer). [`wrap`](Self::wrap) lists them.
    ///
    /// Merge the application into these routes, `campanile.routes().merge(app.layer(campanile.layer()))`. The other way
    /// round, the fallback of these routes wins, and unmatched requests are not observed.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> Router {
        self.layered_routes().into_iter().fold(Router::new(), add)
    }

    /// Returns our routes with the layer of correlation ids.
    fn layered_routes(&self) -> Vec<(String, MethodRouter)> {
        let ids = self.layer().correlation();
        let routes = self.own_routes().into_iter();
        let layered = |(path, route): (&str, MethodRouter)| {
            let path = format!("{}{path}", self.prefix());
            (path, route.layer(ids.clone()))
        };
        routes.map(layered).collect()
    }

    #[cfg(feature = "monitor")]
    fn own_routes(&self) -> Vec<(&'static str, MethodRouter)> {
        let routes = campanile_monitor::Monitor::route_table().iter();
        let paths = routes.flat_map(|route| [route.path(), route.path_with_slash()]);
        let route = |path| {
            let service = WithoutPrefix::new(self, self.monitor().service());
            (path, axum::routing::any_service(service))
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
            let service = WithoutPrefix::new(self, self.health().service());
            routes.push((path, axum::routing::any_service(service)));
        }
        #[cfg(feature = "metrics")]
        for path in ["/metrics", "/metrics/"] {
            let registry = self.metrics().clone();
            let scrape = async move |request: Request| registry.respond(&request.into_parts().0);
            routes.push((path, axum::routing::any(scrape)));
        }
        routes
    }
}

/// Returns whether a string is a valid prefix of routes, or empty.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let Some(segments) = prefix.strip_prefix('/') else {
        return prefix.is_empty();
    };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let is_segment = |segment: &str| {
        (1..=64).contains(&segment.len())
            && segment.bytes().all(is_valid)
            && segment != "."
            && segment != ".."
    };
    segments.split('/').count() <= 8 && segments.split('/').all(is_segment)
}

/// A service that gets requests without the prefix of their paths.
#[cfg(any(feature = "health", feature = "monitor"))]
#[derive(Clone)]
struct WithoutPrefix<S> {
    prefix: std::sync::Arc<str>,
    inner: S,
}

#[cfg(any(feature = "health", feature = "monitor"))]
impl<S> WithoutPrefix<S> {
    fn new(campanile: &Campanile, inner: S) -> Self {
        Self {
            prefix: campanile.prefix().into(),
            inner,
        }
    }
}

#[cfg(any(feature = "health", feature = "monitor"))]
impl<S: Service<Request>> Service<Request> for WithoutPrefix<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let target = request.uri().path_and_query().map(PathAndQuery::as_str);
        let rest = target.and_then(|target| target.strip_prefix(&*self.prefix));
        if let Some(Ok(rest)) = rest.map(str::parse).filter(|_| !self.prefix.is_empty()) {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.path_and_query = Some(rest);
            // The parts were a valid URI, and so is the shorter path.
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        }
        self.inner.call(request)
    }
}

/// Responds with 400 to a request whose correlation id is malformed.
async fn reject_invalid_id(request: Request, next: Next) -> Response {
    let error = request.extensions().get::<InvalidCorrelationId>();
    match error.and_then(|_| Reject::response()) {
        Some(response) => response,
        None => next.run(request).await,
    }
}

/// Adds a route, unless it conflicts with a route of the application.
fn add(router: Router, (path, route): (String, MethodRouter)) -> Router {
    let with = std::panic::AssertUnwindSafe(|| router.clone().route(&path, route));
    std::panic::catch_unwind(with).unwrap_or_else(|_| {
        tracing::warn!(
            path,
            "failed to add a route: it conflicts with the application's routes"
        );
        router
    })
}

/// Returns whether a pattern of the application covers one of ours: both match the same paths, whatever the names of
/// their parameters, or a wildcard covers all paths with our fixed prefix.
fn is_taken(theirs: &str, ours: &str) -> bool {
    let begin = |pattern: &str, mark| pattern.find(mark).map(|end| pattern[..end].to_owned());
    let all_that_begin = begin(theirs, "{*");
    is_same(theirs, ours) || all_that_begin.is_some() && all_that_begin == begin(ours, "{")
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

/// The match of an application's router for a path.
#[derive(Clone)]
enum Found {
    Route(MatchedPath),
    /// A nested service (`nest_service`), which has no pattern.
    Nested,
}

/// Returns whether a service is nested directly above a path. A service that is nested further up does not conflict.
fn is_nested(router: &Router, path: &str) -> bool {
    let prefix = nest_prefix(path);
    let found = find(router, prefix);
    matches!(found, Some(Found::Route(matched)) if matched.as_str() == prefix)
}

/// Returns the prefix at which a nested service conflicts with a path: the part before its first parameter, or else its
/// parent.
fn nest_prefix(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let end = path.find("/{").or_else(|| path.rfind('/'));
    &path[..end.unwrap_or(0)]
}

/// Sends a request. Layers respond to it before it reaches a handler or the fallback of the application.
fn find(router: &Router, path: &str) -> Option<Found> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().ok()?;
    if !router.has_routes() {
        return None;
    }
    // Routes get this layer outside of the other one; fallbacks get only the other one.
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
    // Neither layer is ever pending.
    match response.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(mut response)) => response.extensions_mut().remove(),
        Poll::Pending => None,
    }
}

#[cfg(feature = "metrics")]
#[cfg(test)]
mod tests;
