//! The macros of [`campanile-metrics`](https://docs.rs/campanile-metrics), which exports them with
//! feature `macros`.
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
/// let _scope = metrics::set_default_local_recorder(&registry); // or `registry.install()`
/// assert_eq!(order(Channel::Web, 2).await, Ok(10));
/// assert!(order(Channel::App, 0).await.is_err());
///
/// let calls = |channel, outcome| {
///     let labels = [
///         ("function", "order"),
///         ("module", module_path!()),
///         ("channel", channel),
///         ("outcome", outcome),
///     ];
///     registry.get("function_calls_total", &labels)
/// };
/// assert_eq!(calls("web", "ok"), Some(Value::Counter(1)));
/// assert_eq!(calls("app", "error"), Some(Value::Counter(1)));
/// # }
/// ```
///
/// # Recorded data
///
/// | metric | labels besides `labels(…)` | meaning |
/// |---|---|---|
/// | `function_calls_total` | `function`, `module`, `outcome` | ended calls |
/// | `function_errors_total` | `function`, `module`, `error` | calls that returned an `Err`, by kind |
/// | `function_duration_seconds` | `function`, `module` | histogram of the time from the start of a call to its end |
/// | `function_in_flight` | `function`, `module` | gauge of calls that have begun and not ended |
///
/// | outcome | meaning |
/// |---|---|
/// | `ok` | the function returned |
/// | `error` | it returned an `Err` |
/// | `cancelled` | its future was dropped before it completed |
/// | `panicked` | it panicked |
///
/// The kind of an error is its variant if its enum derives `Labels`, and else the name of its type.
/// For a type `Error` the name of its crate is added.
///
/// Each call is a span with the name of the function and the labels. The end of a call is an event
/// at DEBUG. An error is another event at the level `err`, with the error message if the error
/// implements `Display`. A panic is an event at ERROR. Arguments are not recorded.
///
/// The span of a failed call gets `otel.status_code` (`ERROR`), `error.type`, and
/// `otel.status_description` with the error message. Campanile's export and `tracing-opentelemetry`
/// turn them into the status of the span.
///
/// An error that passes through several observed functions of a task is logged once, by the
/// innermost function. An outer function logs it again if the message differs. Messages are the
/// same if the message of the error or of one of its sources equals the logged message, or ends
/// with it after `": "`. Errors without a message are compared by their kind. The metrics and spans
/// of each function show the error.
///
/// ```
/// # use campanile_metrics::observe;
/// #[derive(Debug)]
/// enum FindError {
///     NotFound,
///     Database,
/// }
///
/// /// A missing order is not a failure, and the caller logs the other errors.
/// #[observe(ok_if = |error| matches!(error, FindError::NotFound), err = "debug")]
/// fn find(id: u32) -> Result<u32, FindError> {
///     if id == 0 { Err(FindError::NotFound) } else { Err(FindError::Database) }
/// }
/// # assert!(find(0).is_err());
/// ```
///
/// # Recorder
///
/// The metrics go to the recorder of the `metrics` crate that is current when the call begins.
/// While a request is handled, it is the registry of its `Campanile` or `HttpMetrics`. Otherwise it
/// is the global recorder. Errors and panics are counted where they happen, so a future that
/// outlives its request needs a global recorder. Without a recorder, a warning is logged once per
/// process.
///
/// A recorder type without fields works as the global recorder. As a local recorder it may be
/// mistaken for no recorder, because `metrics` can't report that.
///
/// # Arguments
///
/// | argument | default | sets |
/// |---|---|---|
/// | `name = "…"` | the name of the function | the label `function` and the name of the span |
/// | `prefix = "…"` | `function` | the prefix of the metric names |
/// | `labels(a, b = expression)` | none | labels, from an argument with that name or an expression, evaluated when the call begins. The type implements `Bounded`. |
/// | `on_ok = path` | none | a function or closure that is called with a reference to the value of an `Ok`, or to the output of a function without `Result`. It can't use arguments that the body has moved. The argument of a closure needs no type. |
/// | `err = "…"` | `"error"` | the level at which errors are logged: `"debug"`, `"info"`, `"warn"`, `"error"`, or `"off"`, which also omits the message from the span |
/// | `ok_if = path` | none | a function or closure that takes a reference to the error, and returns whether the call counts as `ok`. Then `on_ok` is not called. |
/// | `level = "…"` | `"info"` | the level of the span: `"trace"`, `"debug"`, `"info"`, `"warn"` or `"error"` |
/// | `crate = path` | `campanile_metrics`, or `campanile::metrics` for `campanile::observe` | the path of the crate in the generated code |
///
/// With more than 1,000 label sets, all label values are `_other_`, and a warning is logged.
///
/// All functions with the same `prefix` share four metrics, each with the series limit of the
/// registry (`RegistryBuilder::max_series_per_family`, 2,000 by default). A function with one label
/// set has up to four series of `calls_total`. `ok` exists from the first call on, and `cancelled`
/// too for an `async` function. `error` and `panicked` exist when they happen. Past the limit,
/// calls are counted in the series `_other_`, and the gauge of a new function is not exported. For
/// hundreds of functions with labels, raise the limit or set a `prefix`.
///
/// # Supported functions
///
/// Functions and methods with a body, `async` or not, but neither `const` nor diverging (`-> !`).
///
/// A function that ends with an `async` block, or with `Box::pin(async …)` as written by
/// `#[async_trait]`, is observed until that future completes. Its return type must name the output:
/// `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>` or `BoxFuture<…>`.
///
/// These are compile errors, because their work is done after the function returned: a future that
/// another function creates, as in `fn call(&self) -> Self::Future { self.0.call() }`, a future
/// that is returned early, and a stream. Iterators, and futures in a collection or a `Result`, are
/// observed until they are created.
///
/// The span is entered while the function runs and while its future is polled, but not while its
/// future is dropped.
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
/// A struct has one label per field. An enum is one label: its name is the name of the enum, and
/// its values are the names of the variants, in snake case. The data of a variant is not recorded.
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
/// `#[label(name = "…")]` on a field or the enum sets another name. `#[label(value = "…")]` on a
/// variant sets another value. The type of a field is a `LabelValue`: an enum, a `bool`, a string
/// or an integer. If all values of all fields are known, they bound the number of series. Otherwise
/// the limit of the registry does.
#[proc_macro_derive(Labels, attributes(label))]
pub fn labels(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@Labels`] with paths into `campanile`, which exports it as `Labels`.
#[proc_macro_derive(LabelsOfFacade, attributes(label))]
pub fn labels_of_facade(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile::metrics))
}

/// Derives `register(&Registry) -> Result<Self, RegisterError>` for a struct of metrics.
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
///     /// Waiting orders.
///     waiting: Gauge,
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
/// | `#[metrics(prefix = "…")]` on the struct | none | the prefix of the names, followed by an underscore |
/// | `#[metrics(crate = path)]` and `#[label(crate = path)]` on the struct | `campanile_metrics`, or `campanile::metrics` for the facade | the path of the crate in the generated code |
/// | `#[metric(name = "…")]` | the name of the field | the name, without prefix, unit and `_total` |
/// | `#[metric(help = "…")]` | the first paragraph of the doc comment | the description |
/// | `#[metric(unit = "…")]` | none; `seconds` for a `TimeCounter` | the unit, which is the last word of the name |
/// | `#[metric(buckets = […])]` | the bounds of the registry | the upper bounds of the buckets of a histogram |
/// | `#[label(name = "…")]` on a field of labels, or their enum | its name in snake case | the name of the label |
/// | `#[label(value = "…")]` on a variant | its name in snake case | the value of the label |
///
/// Each field is a `Field`. A set that is registered twice has the same series. If a metric can't
/// be registered, the metrics before it stay.
#[proc_macro_derive(MetricSet, attributes(metric, metrics))]
pub fn metric_set(item: TokenStream) -> TokenStream {
    derive(metric_set::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@MetricSet`] with paths into `campanile`, which exports it as `MetricSet`.
#[proc_macro_derive(MetricSetOfFacade, attributes(metric, metrics))]
pub fn metric_set_of_facade(item: TokenStream) -> TokenStream {
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
    // The original function stays, so that its callers cause no further errors.
    let expanded = expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    });
    expanded.into_token_stream().into()
}
