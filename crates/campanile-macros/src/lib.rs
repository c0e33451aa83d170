//! Procedural macros for functions, labels and metric sets.
//!
//! [`campanile-metrics`](https://docs.rs/campanile-metrics) exports them with feature `macros`.
//!
//! ```
//! use campanile_metrics::{Counter, Family, Labels, MetricSet, Registry};
//!
//! #[derive(Labels)]
//! enum Channel {
//!     Web,
//!     App,
//! }
//!
//! #[derive(MetricSet)]
//! #[metrics(prefix = "shop")]
//! struct Metrics {
//!     /// Orders accepted.
//!     orders: Family<Channel, Counter>,
//! }
//!
//! let registry = Registry::new();
//! let metrics = Metrics::register(&registry)?;
//! metrics.orders.with(Channel::Web).increment(1);
//! assert!(registry.render().contains("shop_orders_total{channel=\"web\"} 1\n"));
//! # Ok::<_, campanile_metrics::RegisterError>(())
//! ```

use proc_macro::TokenStream;
use quote::{ToTokens, quote};
use syn::{Path, parse_macro_input, parse_quote};

mod labels;
mod metric_set;
mod names;
mod observe;

/// Counts, times and traces the calls of a function.
///
/// ```
/// use campanile_metrics::{Labels, Registry, Value, metrics, observe};
///
/// #[derive(Clone, Copy, Labels)]
/// enum Channel {
///     Web,
///     App,
/// }
///
/// #[observe(labels(channel))]
/// async fn order(channel: Channel, items: u32) -> Result<u32, &'static str> {
///     if items == 0 {
///         return Err("empty order");
///     }
///     Ok(items * 5)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let registry = Registry::new();
/// // Or `registry.install()`. In an observed request neither is needed.
/// let _scope = metrics::set_default_local_recorder(&registry);
/// assert_eq!(order(Channel::Web, 2).await, Ok(10));
/// assert!(order(Channel::App, 0).await.is_err());
///
/// let calls = |channel, outcome| {
///     let labels = [("function", "order"), ("module", module_path!()), ("channel", channel), ("outcome", outcome)];
///     registry.get("function_calls_total", &labels)
/// };
/// assert_eq!(calls("web", "ok"), Some(Value::Counter(1)));
/// assert_eq!(calls("app", "error"), Some(Value::Counter(1)));
/// # }
/// ```
///
/// # Metrics
///
/// | metric | labels, besides `labels(…)` | meaning |
/// |---|---|---|
/// | `function_calls_total` | `function`, `module`, `outcome` | calls that ended |
/// | `function_errors_total` | `function`, `module`, `error` | calls that returned an `Err`, by kind |
/// | `function_duration_seconds` | `function`, `module` | histogram of the duration of calls |
/// | `function_in_flight` | `function`, `module` | gauge of open calls |
///
/// The label `outcome` is `ok`, `error` (an `Err`),
/// `cancelled` (a future that was dropped before it completed) or `panicked`. The label
/// `error` is the variant if the error is an enum that derives `Labels`. Otherwise it is the name
/// of the error's type, with the crate's name if the type is called `Error`.
///
/// # Spans and log
///
/// Each call has a span with the function's name and the labels. The end of a call is an event at
/// DEBUG. An error is another event at the level
/// `err`, with its message if it implements `Display`. A panic is an event at ERROR. The arguments
/// of the function are not recorded.
///
/// The span of a failed call has the fields `otel.status_code` (`ERROR`), `error.type` and
/// `otel.status_description`, the error's message. Campanile's export and `tracing-opentelemetry`
/// read them as the span's status.
///
/// If an error passes through several observed functions of a task, only the first one logs it. A
/// function logs an error again if its message is new. A message is not new if it, or the message
/// of one of its sources, is the logged message or ends with it after `": "`. Errors without a
/// message are compared by kind. The metrics and the spans of all these functions show the error.
///
/// ```
/// # use campanile_metrics::observe;
/// #[derive(Debug)]
/// enum FindError {
///     NotFound,
///     Database,
/// }
///
/// /// A missing order is not a failure. The caller logs other errors.
/// #[observe(ok_if = |error| matches!(error, FindError::NotFound), err = "debug")]
/// fn find(id: u32) -> Result<u32, FindError> {
///     if id == 0 { Err(FindError::NotFound) } else { Err(FindError::Database) }
/// }
/// # assert!(find(0).is_err());
/// ```
///
/// # Recorder
///
/// The metrics go to the current recorder of the `metrics` crate at the start of the call. In an
/// observed request it is the registry of its `Campanile` or `HttpMetrics`. Elsewhere it is the
/// installed recorder. Errors and panics are counted where they happen: a future that leaves its
/// request needs an installed recorder. If there is no recorder, a warning is logged once per
/// process.
///
/// A recorder whose type is zero-sized works as the global recorder. As a local recorder it may be
/// mistaken for the no-op recorder, which is zero-sized too.
///
/// # Arguments
///
/// | argument | default | sets |
/// |---|---|---|
/// | `name = "…"` | the function's name | the label `function`, and the span's name |
/// | `prefix = "…"` | `function` | the prefix of the metric names |
/// | `labels(a, b = expression)` | none | labels: an argument of that name, or an expression that is evaluated at the start of the call; the type must be `Bounded` |
/// | `on_ok = path` | none | a function or closure that gets a reference to the `Ok` value, or to the output of a function without `Result`; arguments that the function's body has moved are not available |
/// | `err = "…"` | `"error"` | the level of logged errors: `"debug"`, `"info"`, `"warn"`, `"error"` or `"off"`; `"off"` also keeps the message out of the span |
/// | `ok_if = path` | none | a function or closure that gets a reference to the error and returns whether the call counts as `ok`; `on_ok` is not called then |
/// | `level = "…"` | `"info"` | the level of the span: `"trace"`, `"debug"`, `"info"`, `"warn"` or `"error"` |
/// | `crate = path` | `campanile_metrics`, or `campanile::metrics` for `campanile::observe` | the path of the crate that the generated code refers to |
///
/// # Limits
///
/// With more than 1,000 combinations of label values, all labels have the value `_other_`, and a
/// warning is logged.
///
/// All functions with one `prefix` share four metrics. Each metric has the registry's limit of
/// series (`RegistryBuilder::max_series_per_family`, 2,000 by default). A label set of a function has
/// up to four series of `calls_total`: `ok` and, for an `async` function, `cancelled` from the
/// first call, and `error` and `panicked` when they happen. Past the limit, calls are counted in a
/// series `_other_`, and the gauge of a new function is not recorded. For hundreds of functions
/// with labels, raise the limit or set a `prefix`.
///
/// # Supported functions
///
/// The attribute supports functions and methods with a body, `async` or not. It does not support
/// `const fn` and functions that never return (`-> !`).
///
/// It also supports a function that ends with an `async` block, or with `Box::pin(async …)` as
/// `#[async_trait]` generates it. The return type must name the output, for example
/// `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>` or `BoxFuture<…>`.
///
/// These are compile errors, because the work happens after the function has returned:
///
/// - a future that is created elsewhere, such as
///   `fn call(&self) -> Self::Future { self.0.call() }`,
/// - a future that is returned before the last statement,
/// - a stream.
///
/// For an iterator, and for futures in a collection or a `Result`, only their creation is observed.
///
/// The call's span is current while the function runs and while its future is polled, but not while
/// the future is dropped.
#[proc_macro_attribute]
pub fn observe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@observe`] with paths into `campanile`, which exports it as `observe`.
#[proc_macro_attribute]
pub fn facade_observe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, &parse_quote!(::campanile::metrics))
}

/// Derives `Labels` for a struct or an enum.
///
/// Each field of a struct is a label. An enum is one label: its name is the enum's, and its values
/// are the variants', in snake case. The data of a variant is not part of the value.
///
/// ```
/// use campanile_metrics::{Gauge, Labels, Registry};
///
/// #[derive(Labels)]
/// enum State {
///     Idle,
///     InUse,
/// }
///
/// #[derive(Labels)]
/// struct Pool {
///     name: &'static str,
///     state: State,
/// }
///
/// let registry = Registry::new();
/// let connections = registry.family::<Pool, Gauge>("pool_connections")?;
/// connections.with(Pool { name: "main", state: State::InUse }).set(3.0);
/// assert!(registry.render().contains("pool_connections{name=\"main\",state=\"in_use\"} 3\n"));
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// `#[label(name = "…")]` on a field or the enum, and `#[label(value = "…")]` on a variant,
/// override the name or the value. The type of a field must implement
/// `LabelValue`: an enum, a `bool`, a string or an integer. If all fields have a fixed list of
/// values, the type bounds the number of series. Otherwise the registry's limit does.
#[proc_macro_derive(Labels, attributes(label))]
pub fn labels(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@Labels`] with paths into `campanile`, which exports it as `Labels`.
#[proc_macro_derive(FacadeLabels, attributes(label))]
pub fn facade_labels(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile::metrics))
}

/// Derives `register(&Registry) -> Result<Self, RegisterError>`, which registers a metric per
/// field.
///
/// ```
/// use campanile_metrics::{Counter, Family, Gauge, Histogram, Labels, MetricSet, Registry, Timed};
///
/// #[derive(Labels)]
/// enum Currency {
///     #[label(value = "EUR")]
///     Euro,
///     #[label(value = "USD")]
///     Dollar,
/// }
///
/// #[derive(MetricSet)]
/// #[metrics(prefix = "orders")]
/// struct OrderMetrics {
///     /// Money taken, in minor units.
///     #[metric(unit = "cents")]
///     revenue: Family<Currency, Counter>,
///     /// Time in the payment provider.
///     #[metric(unit = "seconds", buckets = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0])]
///     payment: Histogram,
///     /// Orders in the queue.
///     queued: Gauge,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new();
/// let metrics = OrderMetrics::register(&registry)?;
/// async { "paid" }.timed(&metrics.payment).await;
/// metrics.revenue.with(Currency::Euro).increment(1_299);
/// let page = registry.render();
/// assert!(page.contains("# HELP orders_revenue_cents_total Money taken, in minor units.\n"));
/// assert!(page.contains("orders_revenue_cents_total{currency=\"EUR\"} 1299\n"));
/// assert!(page.contains("orders_payment_seconds_bucket{le=\"5.0\"} 1\n"));
/// # Ok(())
/// # }
/// ```
///
/// # Attributes
///
/// | attribute | default | sets |
/// |---|---|---|
/// | `#[metrics(prefix = "…")]` on the struct | none | the prefix of the names, without the underscore at its end |
/// | `#[metrics(crate = path)]` and `#[label(crate = path)]` on the struct | `campanile_metrics`, or `campanile::metrics` for the facade's | the path of the crate that the generated code refers to |
/// | `#[metric(name = "…")]` | the field's name | the name, without prefix, unit and `_total` |
/// | `#[metric(help = "…")]` | the first paragraph of the doc comment | the description of the metric |
/// | `#[metric(unit = "…")]` | none; `seconds` for a `TimeCounter` | the unit, which is the suffix of the name |
/// | `#[metric(buckets = […])]` | the registry's | the upper bounds of the buckets, for histograms |
/// | `#[label(name = "…")]` on a field of labels, or their enum | its name in snake case | the label's name |
/// | `#[label(value = "…")]` on a variant | its name in snake case | the label's value |
///
/// The type of each field must implement `Field`. Registering a set twice returns the same series.
/// If a metric can't be registered, the metrics before it stay registered.
#[proc_macro_derive(MetricSet, attributes(metric, metrics))]
pub fn metric_set(item: TokenStream) -> TokenStream {
    derive(metric_set::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@MetricSet`] with paths into `campanile`, which exports it as `MetricSet`.
#[proc_macro_derive(FacadeMetricSet, attributes(metric, metrics))]
pub fn facade_metric_set(item: TokenStream) -> TokenStream {
    derive(
        metric_set::expand,
        item,
        &parse_quote!(::campanile::metrics),
    )
}

fn derive(
    expand: fn(&syn::DeriveInput, &Path) -> syn::Result<proc_macro2::TokenStream>,
    item: TokenStream,
    root: &Path,
) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    expand(&item, root)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

fn attribute(arguments: TokenStream, item: TokenStream, root: &Path) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    let expanded = observe::expand(arguments.into(), &item, root);
    // The original function is kept, so that its callers cause no further errors.
    let expanded = expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    });
    expanded.into_token_stream().into()
}
