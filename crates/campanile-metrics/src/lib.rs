//! A bounded metrics registry that is read in process, scraped by Prometheus, or exported.
//!
//! ```
//! use campanile_metrics::{Registry, Value};
//!
//! let registry = Registry::new();
//! registry.describe("orders_total", "Orders accepted.");
//! let orders = registry.counter("orders_total", &[("channel", "web")])?;
//! orders.increment(3);
//!
//! assert_eq!(registry.get("orders_total", &[("channel", "web")]), Some(Value::Counter(3)));
//! let lines = [
//!     "# HELP orders_total Orders accepted.",
//!     "# TYPE orders_total counter",
//!     "orders_total{channel=\"web\"} 3",
//! ];
//! assert!(registry.render().lines().eq(lines));
//! # Ok::<_, campanile_metrics::RegisterError>(())
//! ```
//!
//! # The registry
//!
//! A [`Registry`] is a [`metrics::Recorder`]. After [`Registry::install`] the `metrics` macros
//! write to it everywhere. Otherwise they write to it while an [`HttpMetrics`] layer handles a
//! request, and also to the application's global recorder.
//!
//! Values are aggregated as they are recorded, and nothing is queued. The cost of recording:
//!
//! | metric | cost |
//! |---|---|
//! | counter, gauge | an atomic add |
//! | histogram | a bucket search and two atomic adds |
//! | summary | a sketch update under a lock |
//!
//! Reading does not block writers that have a handle. Only a summary is copied under its lock, which
//! takes a few microseconds.
//!
//! A registry responds to a scrape in OpenMetrics or in Prometheus' text format:
//!
//! | for | use |
//! |---|---|
//! | a handler of any framework | [`Registry::respond`] |
//! | a tower router | [`Registry::service`] |
//! | axum | `Registry::routes`, with feature `axum` |
//!
//! # Groups of metrics
//!
//! Each group registers with `register(&registry)?`. The error is a [`RegisterError`] if one of its
//! names belongs to another metric. Then none of its metrics is registered.
//!
//! | group | metrics of |
//! |---|---|
//! | [`HttpMetrics`], [`HttpClientMetrics`] | incoming and outgoing HTTP requests |
//! | [`collectors::ProcessMetrics`] | the process |
//! | [`collectors::SystemMetrics`] | CPU, memory and disks of the container or machine |
//! | `collectors::TokioMetrics` | the tokio runtime; feature `tokio` |
//! | [`collectors::DatabaseMetrics`], [`collectors::CacheMetrics`] | queries and cache lookups |
//! | `collectors::BusinessMetrics` | values collected in the background; feature `business` |
//! | [`collectors::OverheadMetrics`] | the CPU time of observing |
//! | `#[derive(MetricSet)]` | a struct of the application; feature `macros` |
//!
//! # Limits
//!
//! | limit | default | past it |
//! |---|---|---|
//! | series per family | 2,000 | the overflow series: all label values are `_other_` |
//! | summaries per family | 200 | the same |
//! | series per registry | 100,000 | the same, and new families are rejected |
//! | bytes per label value | 256 | the value is cut at a character |
//! | text of an exporter [beside](RegistryBuilder::beside) the registry | 32 MiB | the rest is omitted |
//! | described names | 10,000 | the description is dropped |
//!
//! The overflow series sums counters, histograms and summaries. Gauges, and
//! [`Counter::absolute`], are not recorded past the limit. These metrics count what is lost, and
//! [`Registry::top_overflow`] returns the label sets with the highest counts:
//!
//! - `campanile_registry_overflow_total{family}`: new series past a limit
//! - `campanile_registry_rejected_total`: rejected registrations of macros, and descriptions
//! - `campanile_registry_truncated_labels_total`: cut label values
//! - `campanile_registry_dropped_samples_total`: samples of histograms and summaries that are not
//!   finite
//! - `campanile_registry_exporter_omitted_lines{reason}`: omitted lines of the exporter
//!
//! # Names
//!
//! Counters end with `_total`. If a counter's name lacks the suffix, it is added in every format and
//! for reads in process. Names of other kinds must not end with `_total`.
//!
//! Conflicting registrations return a [`RegisterError`] and never panic. The conflicts are:
//!
//! - a second kind for a name
//! - two names that are exported under the same name
//! - a name of another metric's samples in any format: `…_bucket`, `…_sum`, `…_count`, `…_created`,
//!   or a counter's without `_total`
//! - a duplicate label, or a reserved label: `__…`, and for histograms and summaries `le` and
//!   `quantile`
//!
//! The macros return no errors. They replace invalid characters with `_`, and of duplicate labels
//! the last one applies. If a registration is rejected, they write to a handle without effect,
//! `campanile_registry_rejected_total` counts it, and the first rejection for each reason is
//! logged.
//!
//! A label with an empty value is the same as no label, as in Prometheus.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | `Registry::routes` |
//! | `business` | no | `collectors::BusinessMetrics` |
//! | `macros` | no | `#[observe]`, `#[derive(MetricSet)]` and `#[derive(Labels)]` |
//! | `prometheus-exporter` | no | [`export::Source`] for the `PrometheusHandle` of metrics-exporter-prometheus 0.18, see [`RegistryBuilder::beside`] |
//! | `tokio` | no | `collectors::TokioMetrics` |
//!
//! # Platforms
//!
//! The metrics of the process, the machine and CPU time exist on Linux only, not on Android. A
//! registry reads the clock, which panics on `wasm32-unknown-unknown`. It requires 64-bit atomics,
//! which some 32-bit targets lack.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
pub mod __private;
mod append_only_table;
mod beside;
mod both;
mod builder;
mod clock;
pub mod collectors;
mod constant_labels;
mod counter;
mod distinct;
mod encode;
mod error;
mod exemplar;
pub mod export;
mod family;
mod gauge;
mod histogram;
mod http;
mod http_client;
mod http_naming;
mod key_cache;
mod kind;
mod labels;
mod metric;
mod name;
mod name_match;
mod recorder;
mod registry;
mod rendering;
mod scale;
mod scrape;
mod series;
mod settings;
mod snapshot;
mod space_saving;
mod storage;
mod summary;
mod time;
mod value;

#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use campanile_macros::{Labels, MetricSet, observe};
pub use metrics;

pub use self::builder::RegistryBuilder;
pub use self::counter::{Counter, TimeCounter};
pub use self::distinct::DistinctCount;
pub use self::error::{BuildError, BuildProblem, InstallError, RegisterError};
pub use self::family::{Definition, Family, Field};
pub use self::gauge::Gauge;
pub use self::histogram::Histogram;
pub use self::http::{HttpExchange, HttpMetrics};
pub use self::http_client::{HttpClientExchange, HttpClientMetrics};
pub use self::http_naming::HttpNaming;
pub use self::kind::Kind;
pub use self::labels::{Bounded, LabelValue, Labels};
pub use self::metric::Metric;
pub use self::name_match::NameMatch;
pub use self::registry::Registry;
pub use self::snapshot::Value;
pub use self::summary::Summary;
pub use self::time::{InFlight, Timed, TimedFuture, Timer};
