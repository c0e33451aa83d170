//! A tower middleware that observes every HTTP exchange, up to the last byte of the response body.
//!
//! An *HTTP exchange* is one request and its response. [`ObserveLayer`] calls an [`Observer`] at
//! these points of each request:
//!
//! | event | when | method of the observer |
//! |---|---|---|
//! | *request begins* | the service is called | [`begin`](Observer::begin), an `on_request` hook; it returns the observer's state of the request |
//! | *response head* | the inner service returned a response | [`responded`](Observer::responded), an `on_response` hook; not called without a response |
//! | *end* | the server received the last byte of the response body, or the future or the body was dropped, failed or panicked | [`end`](Observer::end), an `on_end` hook; called exactly once |
//! | *outcome* | known at the end | [`End::outcome`]: completed, cancelled, panicked, service error or body error |
//!
//! ```
//! use std::sync::Mutex;
//!
//! use campanile_http::{End, ObserveLayer, Observer, Outcome, RequestHead};
//! use http::{Method, Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! /// Keeps one line per exchange.
//! #[derive(Default)]
//! struct AccessLog(Mutex<Vec<String>>);
//!
//! impl Observer for AccessLog {
//!     type Exchange = Method;
//!
//!     fn begin(&self, head: &mut RequestHead<'_>) -> Method {
//!         head.method().clone()
//!     }
//!
//!     fn end(&self, method: Method, end: &End) {
//!         let (route, status, bytes) = (end.route(), end.status().as_u16(), end.body_bytes());
//!         let line = format!("{method} {route} {status} {:?} {bytes} bytes", end.outcome());
//!         self.0.lock().unwrap().push(line);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = ObserveLayer::builder(AccessLog::default())
//!     .route(|head| head.uri().path().starts_with("/users/").then_some("/users/{id}".into()))
//!     .build();
//! let mut service = ServiceBuilder::new().layer(&layer).service_fn(
//!     async |_: Request<Full<&'static [u8]>>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::new(&b"hello"[..])))
//!     },
//! );
//!
//! let request = Request::get("/users/7").body(Full::default())?;
//! let response = service.ready().await?.call(request).await?;
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! let log = layer.observer().0.lock().unwrap();
//! assert_eq!(*log, ["GET /users/{id} 200 Completed 5 bytes"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - `end` runs exactly once for each `begin` that returned: on completion, error, panic or
//!   cancellation.
//! - A tuple of observers is an observer. All of its members share one future, one body wrapper and
//!   two clock reads.
//! - The layer changes no status, header, body byte or error. It boxes nothing, and allocates only
//!   for gRPC calls.
//!
//! # gRPC
//!
//! A request is a gRPC call if it is a POST, and the request and the response both have the
//! content type `application/grpc`. Its [`GrpcStatus`] is read from the trailers, or from the
//! headers if there are no trailers. A missing or invalid status is UNKNOWN. A call that is dropped
//! after the deadline of its `grpc-timeout` is DEADLINE_EXCEEDED.
//!
//! A gRPC-Web call (`application/grpc-web`, `application/grpc-web-text`) has a status too. It is
//! read from the trailers frame at the end of the body. If the body or the trailers are compressed,
//! the call counts as a plain HTTP exchange.
//!
//! Unless the application sets a route, the route is `/pkg.Service/Method`, and it is final at the
//! end. It is [`Route::OTHER`] past 200 methods. It is [`Route::UNMATCHED`] if the status is
//! UNIMPLEMENTED, and until a response shows that the method exists. Such a response has a message,
//! a status in trailers, or a status in the head that layers do not send for unknown paths. Layers
//! do send CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED,
//! FAILED_PRECONDITION, UNAVAILABLE and UNAUTHENTICATED.
//!
//! The latency of a call ends with its first message, so that long streams do not distort it. Calls
//! to `grpc.health.v1.Health` are not observed unless
//! [`include_grpc_health`](ObserveBuilder::include_grpc_health) is set.
//!
//! # Limitations
//!
//! - Servers buffer. hyper reads a body ahead of the socket, over HTTP/2 even before the client has
//!   opened a window. A response is complete when the server has received its last byte. If the
//!   client leaves after that, the response stays complete. The duration of a body that is in
//!   memory as a whole does not include its transfer.
//! - An upgrade (101, or a 2xx to CONNECT) ends its exchange: what follows is not HTTP.
//!   `Campanile::serve` counts open upgrades. With another server, count them where the application
//!   handles them.
//! - tonic's `Server::timeout`, `load_shed` and
//!   `concurrency_limit_per_connection` are outside every layer of its `Server`. A call that
//!   `timeout` drops is CANCELLED, unless its `grpc-timeout` has passed too. A call that
//!   `load_shed` rejects is not observed. Use tower's layers *inside* this layer instead.
//! - The layer detects a panic while the stack unwinds. With `panic = "abort"` the process ends
//!   first.
//! - A panic or an error of the inner service has no response. To send one, put tower-http's
//!   `CatchPanic` or axum's `HandleError` *inside* this layer.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | reads the route from axum's `MatchedPath`, and the URI from its `OriginalUri` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod boxed;
mod clock;
mod end;
mod error_type;
mod grpc;
mod grpc_web;
mod head;
mod method;
mod observe;
mod observer;
mod route;
mod streaming;
mod trace;

pub use self::boxed::{BoxExchange, BoxObserver};
pub use self::clock::Clock;
pub use self::end::{End, EndBuilder, Outcome};
pub use self::error_type::ErrorType;
pub use self::grpc::GrpcStatus;
pub use self::head::RequestHead;
pub use self::method::method_label;
pub use self::observe::{
    Observe, ObserveBuilder, ObserveLayer, ResponseBody, ResponseFuture, Stats,
};
pub use self::observer::{Observer, TupleExchange};
pub use self::route::Route;
pub use self::streaming::Streaming;
pub use self::trace::TraceRef;
