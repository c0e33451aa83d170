use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Buf;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;

use super::shared::Shared;
use crate::grpc::{self, Methods};
use crate::grpc_web::Trailers;
use crate::streaming::{self, Streaming};
use crate::{End, GrpcStatus, Observer, Outcome, RequestHead, Route};

/// An open HTTP exchange. It moves from the future into the body. Dropping it ends the HTTP
/// exchange.
pub(super) struct Guard<O: Observer> {
    shared: Arc<Shared<O>>,
    /// `None` after the observer's `end`.
    exchange: Option<O::Exchange>,
    started: Instant,
    /// The time of the response head, if it is measured.
    responded: Option<Instant>,
    /// The response head's status.
    status: Option<StatusCode>,
    route: Route,
    /// The gRPC call, boxed to keep the guard of a plain exchange small.
    call: Option<Box<Call>>,
    /// The length of the body that the head announced.
    body_length: Option<u64>,
    sent: u64,
    body_rule: BodyRule,
    /// Whether the response is a stream. Its latency ends with its head.
    is_stream: bool,
    /// Set while the inner service or body runs. If it is set in `drop`, they panicked.
    is_polling: bool,
}

/// A gRPC call.
struct Call {
    path: PathAndQuery,
    /// Whether the application has set the route.
    has_route: bool,
    status: Option<GrpcStatus>,
    /// Whether the status was in the trailers.
    has_trailers: bool,
    /// The client's timeout, from the start of the request.
    timeout: Option<Duration>,
    /// The time of the response's first data.
    first_message: Option<Instant>,
    /// Reads the status of a gRPC-Web call from the body.
    web: Option<Trailers>,
}

/// The methods with special rules for the response body (RFC 9110, sections 9.3.2 and 9.3.6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyRule {
    Head,
    Connect,
    Other,
}

impl<O: Observer> Guard<O> {
    /// Begins a request. Returns `None` if it is excluded or the observer panics.
    #[inline]
    pub(super) fn begin<B>(shared: &Arc<Shared<O>>, request: &mut Request<B>) -> Option<Self> {
        let started = shared.clock.now();
        // The head borrows the extensions mutably and the rest of the request immutably.
        let mut extensions = std::mem::take(request.extensions_mut());
        let begin = || {
            let extension = extensions.get::<Route>().cloned();
            let mut has_route = extension.is_some();
            let route = extension.or_else(|| Route::matched(&extensions));
            let original = original_uri(&extensions, request.uri());
            let mut head = RequestHead {
                method: request.method(),
                uri: original.as_ref().unwrap_or(request.uri()),
                version: request.version(),
                headers: request.headers(),
                extensions: &mut extensions,
                route: route.unwrap_or(Route::UNMATCHED),
            };
            if let Some(route) = shared.route.as_ref().and_then(|route| route(&head)) {
                head.route = route;
                has_route = true;
            }
            if shared.exclude.iter().any(|exclude| exclude(&head)) {
                return None;
            }
            if shared.excludes_grpc_health && grpc::is_health(request) {
                return None;
            }
            let exchange = shared.observer.begin(&mut head);
            Some((exchange, head.route, has_route))
        };
        let started_exchange = shared.catch(begin).flatten();
        *request.extensions_mut() = extensions;
        let (exchange, route, has_route) = started_exchange?;
        let path = request
            .uri()
            .path_and_query()
            .filter(|_| grpc::is_call(request));
        let call = path.map(|path| {
            Box::new(Call {
                path: path.clone(),
                has_route,
                status: None,
                has_trailers: false,
                timeout: grpc::timeout(request.headers()),
                first_message: None,
                web: None,
            })
        });
        Some(Self {
            shared: Arc::clone(shared),
            exchange: Some(exchange),
            started,
            responded: None,
            status: None,
            route,
            call,
            body_length: None,
            sent: 0,
            body_rule: match *request.method() {
                Method::HEAD => BodyRule::Head,
                Method::CONNECT => BodyRule::Connect,
                _ => BodyRule::Other,
            },
            is_stream: false,
            is_polling: false,
        })
    }

    /// Runs the inner service or body in the observer's scope.
    #[inline]
    pub(super) fn scope<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let Some(exchange) = &mut self.exchange else {
            return poll();
        };
        self.is_polling = true;
        let polled = self.shared.observer.scope(exchange, poll);
        self.is_polling = false;
        polled
    }

    /// Drops the inner future or body in the observer's scope, unless it has panicked there.
    pub(super) fn scope_of_drop(&mut self, drop: impl FnOnce()) {
        if self.is_polling {
            drop();
        } else {
            self.scope(drop);
        }
    }

    /// Handles the response head. Without a body the request ends, and the result is `None`.
    #[inline]
    pub(super) fn respond<B: Body>(mut self, response: &Response<B>) -> Option<Self> {
        let status = response.status();
        self.status = Some(status);
        if self.route.is_unmatched()
            && let Some(route) = response.extensions().get::<Route>()
        {
            self.route = route.clone();
        }
        if let Some(mut call) = self.call.take()
            && grpc::is_grpc(response.headers())
        {
            call.status = GrpcStatus::from_headers(response.headers());
            call.web = Trailers::from_headers(response.headers()).filter(|_| call.status.is_none());
            self.call = Some(call);
        }
        self.body_length = response.body().size_hint().exact();
        if self.body_length.is_none() {
            let header = |name| response.headers().get(name)?.to_str().ok();
            self.body_length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
            self.is_stream = header(CONTENT_TYPE).is_some_and(streaming::is_stream);
        }
        self.is_stream |= response.extensions().get::<Streaming>().is_some();
        if self.shared.observer.wants_time_to_head() || self.is_stream {
            self.responded = Some(self.shared.clock.now());
        }
        if let Some(exchange) = &mut self.exchange {
            self.shared.catch(|| {
                self.shared
                    .observer
                    .responded(exchange, status, response.headers())
            });
        }
        let has_no_body = response.body().is_end_stream()
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.body_rule == BodyRule::Head
            || (self.body_rule == BodyRule::Connect && status.is_success());
        if has_no_body {
            self.end(Outcome::Completed);
            return None;
        }
        Some(self)
    }

    /// Counts body bytes that the server received.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        if let Some(call) = &mut self.call
            && call.first_message.is_none()
        {
            call.first_message = Some(self.shared.clock.now());
        }
    }

    /// Reads the body data of a gRPC-Web call.
    pub(super) fn read(&mut self, data: &impl Buf) {
        let Some(call) = &mut self.call else { return };
        let Some(web) = &mut call.web else { return };
        let mut slices = [IoSlice::new(&[]); 16];
        let count = data.chunks_vectored(&mut slices);
        let mut unread = data.remaining();
        for slice in &slices[..count] {
            web.read(slice);
            unread = unread.saturating_sub(slice.len());
        }
        if unread > 0 {
            web.skip();
        }
        if let Some(status) = web.status() {
            call.status = Some(status);
            call.has_trailers = true;
        }
        // Without a status, the call counts as a plain exchange.
        if web.is_unreadable() {
            self.call = None;
        }
    }

    /// Reads the status from the trailers.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(call) = &mut self.call
            && let Some(status) = GrpcStatus::from_headers(trailers)
        {
            call.status = Some(status);
            call.has_trailers = true;
        }
    }

    /// Ends the request.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.end_once(outcome);
    }

    #[inline]
    fn end_once(&mut self, outcome: Outcome) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        let now = self.shared.clock.now();
        let duration = now.saturating_duration_since(self.started);
        let status = self.status.unwrap_or_else(|| match outcome {
            Outcome::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        });
        let since = |time: Instant| time.saturating_duration_since(self.started);
        let time_to_head = self.responded.map(since);
        let first_message = self.call.as_ref().and_then(|call| call.first_message);
        let latency = match time_to_head.filter(|_| self.is_stream) {
            Some(time_to_head) => time_to_head,
            None => first_message.map_or(duration, since),
        };
        let route = std::mem::replace(&mut self.route, Route::UNMATCHED);
        let (route, grpc) = match self.call.take() {
            Some(call) => {
                let status = call.status(outcome, duration);
                let response = self.status.map(|_| grpc::CallResponse {
                    status,
                    has_body: call.has_trailers || self.sent > 0,
                });
                (
                    call.route(&self.shared.methods, route, response),
                    Some(status),
                )
            }
            None => (route, None),
        };
        let end = End {
            outcome,
            status,
            grpc,
            route,
            body_bytes: self.sent,
            time_to_head,
            latency,
            duration,
            ended_at: now,
        };
        self.shared
            .catch(|| self.shared.observer.end(exchange, &end));
        if status.is_success() && grpc.is_none() && end.route.is_unmatched() {
            self.shared.catch(|| self.shared.warn_of_unmatched());
        }
    }
}

impl Call {
    /// Returns the call's status, after it has ended.
    fn status(&self, outcome: Outcome, duration: Duration) -> GrpcStatus {
        self.status.unwrap_or_else(|| match outcome {
            Outcome::Cancelled => match self.timeout {
                Some(timeout) if grpc::is_past(timeout, duration) => GrpcStatus::DEADLINE_EXCEEDED,
                _ => GrpcStatus::CANCELLED,
            },
            _ => GrpcStatus::UNKNOWN,
        })
    }

    /// Returns the call's route.
    fn route(self, methods: &Methods, route: Route, response: Option<grpc::CallResponse>) -> Route {
        if self.has_route {
            route
        } else {
            methods.route(self.path.path(), response)
        }
    }
}

impl<O: Observer> Drop for Guard<O> {
    fn drop(&mut self) {
        self.end_once(if self.is_polling {
            Outcome::Panicked
        } else if self
            .body_length
            .is_some_and(|body_length| self.sent >= body_length)
        {
            // A server does not have to poll a body after its last byte.
            Outcome::Completed
        } else {
            Outcome::Cancelled
        });
    }
}

impl<O> Shared<O> {
    /// Calls the observer or the subscriber. Catches and counts a panic.
    #[inline]
    fn catch<T>(&self, observe: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(observe));
        if result.is_err() {
            self.observer_panics.fetch_add(1, Ordering::Relaxed);
        }
        result.ok()
    }

    #[cold]
    fn warn_of_unmatched(&self) {
        if !self.warned_of_unmatched.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                route = Route::UNMATCHED.as_str(),
                "successful response without a route: use `Router::layer` if this layer wraps a whole axum router, or \
                 set `ObserveBuilder::route` or a `Route` extension; ignore this for a fallback that responds with success"
            );
        }
    }
}

/// Returns the URI before a nested router removed a prefix, or `None` if none was removed.
///
/// A handler that forwards the request to another server changes the URI and keeps the extensions.
/// Nesting only removes a prefix of the path. It leaves `/` if the prefix is the whole path.
#[cfg(feature = "axum")]
fn original_uri(extensions: &Extensions, uri: &Uri) -> Option<Uri> {
    let axum::extract::OriginalUri(original) = extensions.get()?;
    let (before, after) = (original.path(), uri.path());
    let has_prefix = before != after
        && (before.ends_with(after) || after == "/")
        && original.query() == uri.query()
        && original.authority() == uri.authority();
    has_prefix.then(|| original.clone())
}

#[cfg(not(feature = "axum"))]
fn original_uri(_: &Extensions, _: &Uri) -> Option<Uri> {
    None
}
