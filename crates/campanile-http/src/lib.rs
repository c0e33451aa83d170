//! One tower layer that sees an HTTP exchange from its head to the last byte of its body, and tells any number of
//! observers.
//!
//! ```
//! use std::sync::Mutex;
//!
//! use campanile_http::{End, Head, ObserveLayer, Observer, Outcome};
//! use http::{Method, Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! /// Keeps one line for each exchange.
//! #[derive(Default)]
//! struct Diary(Mutex<Vec<String>>);
//!
//! impl Observer for Diary {
//!     type Exchange = Method;
//!
//!     fn begin(&self, head: &mut Head<'_>) -> Method {
//!         head.method().clone()
//!     }
//!
//!     fn end(&self, method: Method, end: &End) {
//!         let line = format!("{method} {} {} {:?} {} bytes", end.route(), end.status().as_u16(), end.outcome(), end.sent());
//!         self.0.lock().unwrap().push(line);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = ObserveLayer::builder(Diary::default())
//!     .route(|head| head.uri().path().starts_with("/users/").then_some("/users/{id}".into()))
//!     .build();
//! let mut service = ServiceBuilder::new().layer(&layer).service_fn(async |_: Request<Full<&'static [u8]>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::new(&b"hello"[..])))
//! });
//!
//! let request = Request::get("/users/7").body(Full::default())?;
//! let response = service.ready().await?.call(request).await?;
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! assert_eq!(*layer.observer().0.lock().unwrap(), ["GET /users/{id} 200 Completed 5 bytes"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - An exchange *begins* when the service is called and *ends* exactly once: when the last byte of the response body was
//!   handed to the server, or when the future or the body is dropped before that, or with an error or a panic
//!   ([`Outcome`]).
//! - Observers are combined as tuples ([`Observer`]): one future, one body wrapper and two clock reads, however many there
//!   are.
//! - The layer changes no status, no header, no body byte and no error, boxes nothing, and allocates nothing.
//!
//! # gRPC
//!
//! A POST whose content type is `application/grpc`, and whose response's is too, has a [`GrpcStatus`]: from its trailers, or
//! from its headers if there is nothing else; UNKNOWN if it is missing or not a code. A call that
//! is dropped after the deadline of its `grpc-timeout` is DEADLINE_EXCEEDED.
//!
//! A gRPC-Web call (`application/grpc-web`, `application/grpc-web-text`) has one as well. It is read from the trailers frame that ends
//! the body. If the body or the trailers are compressed, the call is a request like any other.
//!
//! Unless the application sets a route itself, the route is `/pkg.Service/Method`, settled at the
//! end. It is [`Route::OTHER`] past 200 methods. It is [`Route::UNMATCHED`] if the status is
//! UNIMPLEMENTED, and until a response shows that the method exists: a message, a status in
//! trailers, or a status in the head that layers do not send to any path. Layers do send CANCELLED,
//! INVALID_ARGUMENT, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION,
//! UNAVAILABLE and UNAUTHENTICATED.
//!
//! The latency of a call ends with its first message, so that long streams don't distort it. Calls of
//! `grpc.health.v1.Health` are left out unless
//! [`include_grpc_health`](ObserveBuilder::include_grpc_health) is set.
//!
//! # What it cannot see
//!
//! - Servers buffer: hyper reads a body ahead of the socket, over HTTP/2 even before the client has opened a window. A response
//!   is complete when its last byte was handed to the server. If the client leaves after that, it stays complete, and the time of
//!   a body that is in memory as a whole does not include its transfer.
//! - An upgrade (101, a 2xx to CONNECT) is the end of its exchange, and what comes after is not HTTP. `Campanile::serve` counts
//!   the upgrades that have not ended; a host with a server of its own counts them where it handles them.
//! - tonic's `Server::timeout`, `load_shed` and `concurrency_limit_per_connection` are outside of
//!   every layer of its `Server`. A call that `timeout` drops is CANCELLED unless its
//!   `grpc-timeout` has passed too, and a call that `load_shed` rejects is not seen. Use tower's
//!   layers *inside* this layer instead.
//! - Panics are seen as the stack unwinds; with `panic = "abort"` there is nothing to see.
//! - A panic and an error of the inner service have no response. To send one, put tower-http's `CatchPanic` or axum's
//!   `HandleError` *inside* this layer.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | the route of an exchange is axum's `MatchedPath` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod observer;

mod boxed;
mod clock;
mod end;
mod grpc;
mod grpc_web;
mod head;
mod method;
mod observe;
mod route;
mod streaming;
mod trace;

pub use self::boxed::{BoxExchange, BoxObserver};
pub use self::clock::Clock;
pub use self::end::{End, EndBuilder, Outcome};
pub use self::grpc::GrpcStatus;
pub use self::head::Head;
pub use self::method::method_label;
pub use self::observe::{
    Observe, ObserveBuilder, ObserveLayer, ResponseBody, ResponseFuture, Stats,
};
pub use self::observer::{Exchanges, Observer};
pub use self::route::Route;
pub use self::streaming::Streaming;
pub use self::trace::TraceRef;
