//! A tower layer that gives every request a correlation id.
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
//! let layer = CorrelationIdLayer::new();
//! let mut service = ServiceBuilder::new().layer(layer).service_fn(async |_: Request<()>| {
//!     // The id is available anywhere in the request's task.
//!     let id = CorrelationId::current().expect("the layer has set it");
//!     Ok::<_, Infallible>(Response::new(format!("your id: {id}")))
//! });
//!
//! let request = Request::get("/").header("x-correlation-id", "checkout-42").body(())?;
//! let response = service.ready().await?.call(request).await?;
//! assert_eq!(response.headers()["x-correlation-id"], "checkout-42");
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "your id: checkout-42");
//!
//! // The layer replaces a malformed id.
//! let request = Request::get("/").header("x-correlation-id", "<script>").body(())?;
//! let response = service.ready().await?.call(request).await?;
//! let generated = response.headers()["x-correlation-id"].to_str()?;
//! assert_eq!(generated.len(), 36); // a UUIDv7
//! # Ok(())
//! # }
//! ```
//!
//! # The id of a request
//!
//! The layer reads the header `x-correlation-id`, or `x-request-id` if the first is missing. A
//! valid id is a single header line with 1 to 128 characters of `[A-Za-z0-9._:@/+=-]`. The layer
//! replaces any other id with a new one (a UUIDv7). It never logs or returns the malformed string.
//!
//! If a request belongs to a trace and has no id, its id is the trace id, so one search finds both.
//!
//! The layer removes the headers that it does not accept, including those of a trace and of
//! baggage. Therefore a proxy does not forward them. The headers, the generator and the trusted
//! clients can be [configured](CorrelationIdLayer).
//!
//! # Traces and baggage
//!
//! The layer reads `traceparent` and `tracestate` (W3C Trace Context, level 2) and `baggage` (W3C
//! Baggage), strictly: it ignores malformed values. [`Correlation::current`] returns them with the
//! id, and outgoing requests propagate them.
//!
//! # Where to find the id
//!
//! - In the request's extensions,
//!   `request.extensions().get::<CorrelationId>()`, or with an extractor (feature `axum`).
//! - In [`CorrelationId::current`], while the inner service runs and while its response body is
//!   polled.
//! - In the header `x-correlation-id` of every response that passes the layer, exactly once. A
//!   panic or an error of the inner service has no response. To send one with an id, put
//!   `CatchPanic` or `HandleError` inside this layer.
//! - In tasks that `spawn` starts (feature `tokio`), and in threads by [`with_current`].
//! - In outgoing requests, by [`PropagationLayer`] (tower, tonic) or [`inject`].
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | [`CorrelationId`] as an extractor |
//! | `serde` | no | `Serialize` and `Deserialize` for [`CorrelationId`], as a string |
//! | `tokio` | no | `spawn` |
//! | `tonic` | no | [`PropagationLayer`] as an interceptor |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod baggage;
mod body;
mod correlation;
mod current;
#[cfg(feature = "axum")]
mod extract;
mod header_presence;
mod id;
mod inbound_id;
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
