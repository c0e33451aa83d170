//! A correlation id for every request: accepted if it is well formed, made if not, carried along and sent back.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use campanile_correlation::{CorrelationId, CorrelationIdLayer};
//! use http::{Request, Response};
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
//! assert_eq!(response.body(), "you are checkout-42");
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
//! new id (a UUIDv7), and its text appears nowhere.
//!
//! # Where it is then
//!
//! - in the request's extensions: `request.extensions().get::<CorrelationId>()`, or as an extractor (feature `axum`);
//! - in [`CorrelationId::current`], while the inner service runs;
//! - in the header `x-correlation-id` of every response that passes the layer, exactly once. A panic and an error of the
//!   inner service have no response: to have an id on what the client gets, put `CatchPanic` or `HandleError` inside.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | [`CorrelationId`] as an extractor |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod current;
mod id;
mod layer;

#[cfg(feature = "axum")]
mod extract;

pub use self::current::scope;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::extract::MissingCorrelationId;
pub use self::id::{CorrelationId, InvalidCorrelationId};
pub use self::layer::{Correlate, CorrelationIdLayer, ResponseFuture};
