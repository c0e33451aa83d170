//! Observability that a Rust service links in: it can be seen, watches itself, and rings when something is wrong.
//!
//! ```
//! use axum::{Router, routing::get};
//! use campanile::Campanile;
//! # use axum::{body::Body, http::Request};
//! # use http_body_util::BodyExt;
//! # use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let campanile = Campanile::builder("orders").build()?;
//! let app = Router::new().route("/users/{id}", get(async || "Ada"));
//! let app = campanile.wrap(app);
//! // campanile.serve(tokio::net::TcpListener::bind("127.0.0.1:8000").await?, app).await?;
//! # let send = async |path| {
//! #     let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
//! #     let bytes = response.into_body().collect().await?.to_bytes();
//! #     Ok::<_, Box<dyn std::error::Error>>(String::from_utf8(bytes.to_vec())?)
//! # };
//!
//! assert_eq!(send("/users/7").await?, "Ada");
//! let page = send("/metrics").await?;
//! assert!(page.contains(r#"http_requests_total{endpoint="/users/{id}",method="GET",status_code="200"} 1"#));
//! # Ok(())
//! # }
//! ```
//!
//! # The way in
//!
//! - [`Campanile::wrap`] for an axum router: our routes, and around the host's own the correlation id and the metrics.
//! - [`Campanile::layer`] for any tower stack; [`Campanile::routes`] beside it, in axum.
//! - [`Campanile::serve`] to listen, with the limits that a public port needs; or `axum::serve`.
//! - [`Builder::build`] puts nothing in a global place; [`Builder::install`] also makes the registry the process's recorder,
//!   so that the `metrics` macros reach it from everywhere.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | yes | [`wrap`](Campanile::wrap), [`routes`](Campanile::routes), the route from `MatchedPath`, extractors |
//! | `health` | yes | checks and probes |
//! | `metrics` | yes | the registry, `/metrics`, the HTTP metrics |
//! | `full` | no | all of them |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod campanile;

mod builder;
mod error;
mod layer;
mod serve;
#[cfg(feature = "axum")]
mod wrap;

pub use campanile_correlation as correlation;
#[cfg(feature = "health")]
#[cfg_attr(docsrs, doc(cfg(feature = "health")))]
pub use campanile_health as health;
pub use campanile_http as http;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use campanile_metrics as metrics;

pub use self::builder::Builder;
pub use self::campanile::Campanile;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::error::InstallError;
pub use self::error::{BuildError, Problem};
pub use self::layer::{CampanileLayer, Observers};
pub use self::serve::Serve;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
