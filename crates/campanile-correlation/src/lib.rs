//! A correlation id for every request: accepted if it is well formed, made if not, carried along and sent back.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use campanile_correlation::{CorrelationId, CorrelationIdLayer};
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut service = ServiceBuilder::new().layer(CorrelationIdLayer::new()).service_fn(async |_request: Request<()>| {
//!     // Anywhere in the request's task, without passing it around:
//!     let id = CorrelationId::current().expect("the layer has set it");
//!     Ok::<_, Infallible>(Response::new(format!("you are {id}")))
//! });
//!
//! let request = Request::get("/").header("x-correlation-id", "checkout-42").body(())?;
//! let response = service.ready().await?.call(request).await?;
//! assert_eq!(response.headers()["x-correlation-id"], "checkout-42");
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "you are checkout-42");
//!
//! // A header that is not a correlation id is neither used nor sent back.
//! let request = Request::get("/").header("x-correlation-id", "<script>").body(())?;
//! let response = service.ready().await?.call(request).await?;
//! let made = response.headers()["x-correlation-id"].to_str()?;
//! assert_eq!(made.len(), 36); // a UUIDv7
//! # Ok(())
//! # }
//! ```
//!
//! # Which id a request gets
//!
//! The layer reads `x-correlation-id`, and only if the request has none, `x-request-id`. The value must be 1 to 128
//! characters of `[A-Za-z0-9._:@/+=-]` on a single line. Anything else, two lines of one header included, is replaced by a
//! new id (a UUIDv7), and its text appears nowhere. The layer removes the headers that it does not take up from the request, and
//! those of a trace and of baggage too, so that a proxy does not pass them on. A request without an id that belongs to a trace has the trace's id, so that
//! one search finds all. The headers, the generator, and whose ids are taken up, can be [set](CorrelationIdLayer).
//!
//! # Traces and baggage
//!
//! `traceparent` and `tracestate` are read as W3C Trace Context, level 2, says, and `baggage` as W3C Baggage does, strictly: of what is
//! malformed nothing is used. They are in [`Correlation::current`] beside the id, and go along with requests to others.
//!
//! # Where it is then
//!
//! - in the request's extensions: `request.extensions().get::<CorrelationId>()`, or as an extractor (feature `axum`);
//! - in [`CorrelationId::current`], while the inner service runs and while its response body is polled;
//! - in the header `x-correlation-id` of every response that passes the layer, exactly once. A panic and an error of the
//!   inner service have no response: to have an id on what the client gets, put `CatchPanic` or `HandleError` inside.
//! - with feature `tokio`, in tasks that are started by `spawn`; in threads by [`with_current`];
//! - in requests to others, by the tower layer and tonic interceptor [`PropagationLayer`] or by [`inject`].
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | [`CorrelationId`] as an extractor |
//! | `serde` | no | [`CorrelationId`] as a string of serde |
//! | `tokio` | no | `spawn` |
//! | `tonic` | no | [`PropagationLayer`] as an interceptor |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod baggage;
mod body;
mod correlation;
mod current;
#[cfg(feature = "axum")]
mod extract;
mod id;
mod layer;
mod limit;
mod on_invalid;
mod propagation;
mod request_head;
mod service;
mod settings;
mod trace_parent;
mod trace_state;
mod trust;

pub use self::baggage::Baggage;
pub use self::body::ResponseBody;
pub use self::correlation::{Correlation, TraceContext};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::current::spawn;
pub use self::current::{ScopeSlot, scope, with_current};
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::extract::MissingCorrelationId;
pub use self::id::{CorrelationId, InvalidCorrelationId};
pub use self::layer::CorrelationIdLayer;
pub use self::on_invalid::{OnInvalid, Reject, Replace};
pub use self::propagation::{Propagate, PropagationLayer, inject};
pub use self::request_head::RequestHead;
pub use self::service::{ResponseFuture, SetCorrelationId};
pub use self::trace_parent::{InvalidTraceParent, TraceParent};
pub use self::trace_state::{InvalidTraceState, TraceState};
pub use self::trust::Trust;
