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
//! - [`Campanile::wrap`] for an axum router: our routes, and around the host's own the correlation id, the metrics and the
//!   service levels.
//! - [`Campanile::layer`] for any tower stack; [`Campanile::routes`] beside it, in axum.
//! - [`Campanile::client_layer`] for outgoing requests, by [reqwest or a tower
//!   client](guide::call_other_services).
//! - [`Campanile::serve`] to listen, with the limits that a public port needs; or another server, with
//!   [`Campanile::run`] [beside it](guide::serve_yourself).
//! - [`Builder::build`] puts nothing in a global place; [`Builder::install`] also makes the
//!   registry the process's recorder, so that the `metrics` macros reach it from everywhere, and
//!   writes the log. For an application with its own `tracing` subscriber there is
//!   [`Builder::build_with_layer`].
//!
//! # Measuring your own code
//!
//! ```
//! campanile::counter!("orders_total", "channel" => "web").increment(1);
//! campanile::histogram!("payment_seconds").record(0.2);
//! ```
//!
//! These are the macros of the `metrics` crate. They record while a request is handled, and
//! everywhere after [`Builder::install`].
//!
//! The guide has a page for each question: [time a function](guide::time_a_function), [count money](guide::count_money), [label by tenant
//! without an explosion](guide::label_by_tenant), [and others](guide).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `alerts` | yes | [`alerts`]; what rings them is `monitor` |
//! | `axum` | yes | [`wrap`](Campanile::wrap), [`routes`](Campanile::routes), the route from `MatchedPath`, extractors |
//! | `health` | yes | checks and probes |
//! | `check-http`, `check-passive`, `check-postgres`, `check-redis`, `check-system`, `check-tls` | no | checks of what most services need, in `health::checks` |
//! | `openslo` | no | SLOs from OpenSLO definitions |
//! | `tonic` | no | the probes as gRPC's `grpc.health.v1` |
//! | `macros` | yes | [`observe`](macro@observe), [`MetricSet`](derive@MetricSet), [`Labels`](derive@Labels) |
//! | `metrics` | yes | the registry, `/metrics`, and the metrics of HTTP, process, runtime and system |
//! | `monitor` | yes | rules, channels, the store, `/monitoring/sla`, `/api/v1/monitor/…`, the guard; with `alerts`, `health`, `metrics` and `sla` |
//! | `otel` | no | [`telemetry::otel`]: requests have OpenTelemetry spans, which those of other libraries join |
//! | `otlp` | no | [`telemetry::Otlp`]: traces, the log and metrics to an OpenTelemetry collector, over HTTP |
//! | `otlp-grpc` | no | the same over gRPC |
//! | `prometheus-exporter` | no | [`RegistryBuilder::beside`](metrics::RegistryBuilder::beside) takes the `PrometheusHandle` of metrics-exporter-prometheus 0.18 |
//! | `reqwest` | no | [`client_layer`](Campanile::client_layer) as a middleware of reqwest-middleware 0.5, for reqwest 0.13 |
//! | `serde` | no | correlation ids as strings of serde |
//! | `sla` | yes | SLOs, error budgets and burn rate alerts |
//! | `store-redb` | yes | a durable store in a file, with `monitor` |
//! | `telemetry` | yes | [`telemetry`]: the log, and spans of requests |
//! | `full` | no | all of them |
//!
//! # Environment
//!
//! [`Builder::from_env`] reads these variables, and [`Builder::install`] reads `RUST_LOG`. Settings of
//! the code take precedence:
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `RUST_LOG` | `info` | the filter of the log, with feature `telemetry` |
//! | `OTEL_*` | nothing is exported | see [`TelemetryBuilder::from_env`](campanile_telemetry::TelemetryBuilder::from_env), with feature `telemetry` |
//! | `CAMPANILE_STORE` | memory | the file of the store, with features `monitor` and `store-redb` |
//! | `CAMPANILE_TOKENS`, or a file named by `CAMPANILE_TOKENS_FILE` | none | tokens `name:role:sha256` of clients, separated by commas or lines; at most 1,000, and a file of 1 MiB; with feature `monitor` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod campanile;

#[cfg(feature = "metrics")]
mod background;
mod builder;
mod client;
#[cfg(feature = "monitor")]
mod env;
mod error;
#[cfg(all(feature = "metrics", feature = "telemetry"))]
mod exports;
#[cfg(all(feature = "health", feature = "metrics"))]
mod health_metrics;
mod last_work;
mod layer;
#[cfg(feature = "axum")]
mod make_service;
mod runs;
mod serve;
mod supervise;
#[cfg(feature = "axum")]
mod wrap;

#[cfg(all(feature = "macros", feature = "monitor", any(doc, doctest)))]
pub mod guide;

#[cfg(feature = "alerts")]
#[cfg_attr(docsrs, doc(cfg(feature = "alerts")))]
pub use campanile_alerts as alerts;
pub use campanile_correlation as correlation;
#[cfg(feature = "health")]
#[cfg_attr(docsrs, doc(cfg(feature = "health")))]
pub use campanile_health as health;
pub use campanile_http as http;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use campanile_macros::{
    FacadeLabels as Labels, FacadeMetricSet as MetricSet, facade_observe as observe,
};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use campanile_metrics as metrics;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
#[doc(inline)]
pub use campanile_metrics::metrics::{
    counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
#[cfg(feature = "monitor")]
#[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
pub use campanile_monitor as monitor;
#[cfg(feature = "sla")]
#[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
pub use campanile_series as series;
#[cfg(feature = "sla")]
#[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
pub use campanile_sla as sla;
#[cfg(feature = "monitor")]
#[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
pub use campanile_store as store;
#[cfg(feature = "telemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
pub use campanile_telemetry as telemetry;

pub use self::builder::Builder;
pub use self::campanile::Campanile;
pub use self::client::{ClientLayer, ClientObservers};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::error::InstallError;
pub use self::error::{BuildError, Problem};
pub use self::layer::{CampanileLayer, Observers};
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::make_service::MakeService;
pub use self::serve::{Handshake, HandshakeStream, Listener, RequestBody, RequestBodyError, Serve};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
