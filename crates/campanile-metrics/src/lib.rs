//! A bounded metrics registry that can be read back in process, its Prometheus exposition, and an HTTP observer.
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
//! let page = [
//!     "# HELP orders_total Orders accepted.", "# TYPE orders_total counter",
//!     "orders_total{channel=\"web\"} 3",
//! ];
//! assert!(registry.render().lines().eq(page));
//! # Ok::<_, campanile_metrics::RegisterError>(())
//! ```
//!
//! # The registry
//!
//! [`Registry`] is a [`metrics::Recorder`], so the `metrics` macros write to it once it is [installed](Registry::install),
//! and inside of an observed exchange even if it is not, beside the application's own recorder.
//! Values are aggregated as they are recorded, and nothing queues:
//! a counter is one atomic add, a histogram a bucket search and two, a summary a sketch behind a lock. Reading stops no writer that
//! has its handle, except that a summary is copied under its lock, which takes some microseconds.
//!
//! [`Registry::respond`] answers a scrape, in OpenMetrics or Prometheus' text format.
//!
//! # Bounds
//!
//! | what | default | past it |
//! |---|---|---|
//! | series of a family | 2,000 | counters, histograms and summaries are summed in the series whose label values are all `_other_`; a gauge, and a counter's `absolute`, are not recorded; `campanile_registry_overflow_total{family}` counts, and [`Registry::turned_away`] knows the most frequent |
//! | summaries of a family | 200 | as above |
//! | series of the registry | 100,000 | the same; a new family is refused |
//! | bytes of a label value | 256 | cut at a character; `campanile_registry_truncated_labels_total` counts |
//! | text of an exporter [beside](RegistryBuilder::beside) the registry | 32 MiB | left out; `campanile_registry_exporter_omitted_lines` tells |
//! | described names | 10,000 | the description is dropped; `campanile_registry_refused_total` counts |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `business` | no | [`Business`]: figures that are collected in the background |
//! | `macros` | no | `#[observe]`, `#[derive(MetricSet)]` and `#[derive(Labels)]` |
//! | `prometheus-exporter` | no | [`Source`] for the `PrometheusHandle` of metrics-exporter-prometheus 0.18: [`RegistryBuilder::beside`] |
//! | `tokio` | no | [`Runtime`]: the metrics of a tokio runtime |
//!
//! # Names
//!
//! A counter's name ends with `_total`, and gets that if it doesn't; so it is named in every format, and when it is read back.
//!
//! What can't be right is refused, never a panic: a second kind for a name, a second raw name that becomes the same name, a name
//! that another metric's samples have in some format (`…_bucket`, `…_sum`, `…_count`, `…_created`, a counter's without `_total`), a
//! duplicate or reserved label (`__…`, and for histograms and summaries `le` and `quantile`). Of
//! duplicate labels in a macro the last one holds. A label with an empty value counts as none, as
//! it does in Prometheus. The
//! methods of [`Registry`] return a [`RegisterError`]; the macros get a handle that does nothing, `campanile_registry_refused_total`
//! counts, and the log says so once for each reason. A histogram drops samples that are not finite;
//! `campanile_registry_dropped_samples_total` counts.
//!
//! `_total` is a counter's: another kind's name that ends with it is a [`RegisterError`], and through the macros a line in the log.
//!
//! # Platforms
//!
//! The metrics of the process, the machine and the CPU time exist on Linux only, not on Android. A
//! registry reads the clock, which panics on `wasm32-unknown-unknown`. It needs 64-bit atomics, which
//! some 32-bit targets lack.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod append_only_table;
mod beside;
mod both;
mod builder;
mod clock;
mod collectors;
mod constant_labels;
mod counter;
mod distinct;
mod encode;
mod error;
mod exemplar;
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

#[doc(hidden)]
pub mod __private;

#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use campanile_macros::{Labels, MetricSet, observe};
pub use metrics;

pub use self::beside::Source;
pub use self::builder::RegistryBuilder;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use self::collectors::Runtime;
#[cfg(feature = "business")]
#[cfg_attr(docsrs, doc(cfg(feature = "business")))]
pub use self::collectors::{Business, BusinessCollector, BusinessError, BusinessProblem};
pub use self::collectors::{
    CacheMetrics, DatabaseMetrics, Metered, Overhead, Process, QueryType, System,
};
pub use self::counter::{Counter, TimeCounter};
pub use self::distinct::DistinctCount;
pub use self::encode::CONTENT_TYPE;
pub use self::error::{BuildError, InstallError, RegisterError};
pub use self::family::{Definition, Family, Field};
pub use self::gauge::Gauge;
pub use self::histogram::Histogram;
pub use self::http::{HttpExchange, HttpMetrics};
pub use self::http_client::{HttpClientExchange, HttpClientMetrics};
pub use self::http_naming::Preset;
pub use self::kind::Kind;
pub use self::labels::{Bounded, LabelValue, Labels};
pub use self::metric::Metric;
pub use self::name_match::Names;
pub use self::registry::{Budget, Registry};
pub use self::scrape::Page;
pub use self::snapshot::{
    Exemplar, FamilySnapshot, HistogramSnapshot, SeriesSnapshot, Snapshot, SummarySnapshot, Value,
};
pub use self::summary::Summary;
pub use self::time::{InFlight, Timed, TimedFuture, Timer};
