//! The macros of [`campanile-metrics`](https://docs.rs/campanile-metrics), which exports them: feature `macros`.
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
///         return Err("nothing was ordered");
///     }
///     Ok(items * 5)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let registry = Registry::new();
/// let _scope = metrics::set_default_local_recorder(&registry); // or `registry.install()`, or an observed exchange
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
/// # What is recorded
///
/// | metric | labels besides those given | what it is |
/// |---|---|---|
/// | `function_calls_total` | `function`, `module`, `outcome` | calls that ended |
/// | `function_errors_total` | `function`, `module`, `error` | calls that returned an `Err`, by its kind |
/// | `function_duration_seconds` | `function`, `module` | histogram of the time from the beginning of a call to its end |
/// | `function_in_flight` | `function`, `module` | gauge of calls that have begun and not ended |
///
/// The outcome is `ok`; `error` for an `Err`; `cancelled` for a future that was dropped before it completed; `panicked`. An error's
/// kind is its variant if its enum derives `Labels`, and else the name of its type, with that of its crate if it is only `Error`.
///
/// The call is a span with the function's name and the labels given. The end of a call is an event
/// at DEBUG. An error is one more event, with the error's text if it implements `Display`, at the
/// level `err`. A panic is one at ERROR. Arguments are in neither.
///
/// The span of a call that failed gets `otel.status_code` (`ERROR`), `error.type` and
/// `otel.status_description`, the error's text. Campanile's export and `tracing-opentelemetry` turn
/// them into the span's status.
///
/// An error that passes through several observed functions of a task is logged once, by the first
/// that returns it. A function logs an error again if its text is another one: if neither the text
/// nor that of one of its sources is the text already logged, or ends with it after `": "`. Errors
/// without a text are compared by their kind. The metrics and spans of each function show the
/// error.
///
/// ```
/// # use campanile_metrics::observe;
/// #[derive(Debug)]
/// enum FindError {
///     NotFound,
///     Database,
/// }
///
/// /// An order that does not exist is no failure, and the caller logs the others.
/// #[observe(ok_if = |error| matches!(error, FindError::NotFound), err = "debug")]
/// fn find(id: u32) -> Result<u32, FindError> {
///     if id == 0 { Err(FindError::NotFound) } else { Err(FindError::Database) }
/// }
/// # assert!(find(0).is_err());
/// ```
///
/// The metrics go to the recorder of the `metrics` crate that is in force where the call begins: inside of an observed exchange that of
/// its `Campanile` or `HttpMetrics`, elsewhere the one that is installed. Errors and panics are counted where they happen, which for a future
/// that goes on outside of its exchange needs an installed one. Where there is none, the log says so, once in the life of the process.
/// A recorder that is a type without fields works if it is the global one. As a local recorder it
/// may be taken for none, because `metrics` has no way to ask.
///
/// # Arguments
///
/// | argument | default | sets |
/// |---|---|---|
/// | `name = "…"` | the function's name | the label `function`, and the span's name |
/// | `prefix = "…"` | `function` | what the metrics' names begin with |
/// | `labels(a, b = expression)` | none | labels, from an argument of that name or an expression, which is evaluated when the call begins; the type is one with a list of all its values: `Bounded` |
/// | `on_ok = path` | nothing | a function or closure that is called with a reference to what an `Ok`, or a function without `Result`, returns; it sees no argument that the function's body has used up; a closure's argument needs no type |
/// | `err = "…"` | `"error"` | the level at which errors are logged: `"debug"`, `"info"`, `"warn"`, `"error"` or `"off"`, which keeps the text out of the span too |
/// | `ok_if = path` | none | a function or closure that takes a reference to the error and returns whether the call counts as `ok`; `on_ok` is not called for it |
/// | `level = "…"` | `"info"` | the span's level: `"trace"`, `"debug"`, `"info"`, `"warn"` or `"error"` |
/// | `crate = path` | `campanile_metrics`, or `campanile::metrics` for `campanile::observe` | where the crate is that the code refers to |
///
/// With more than 1,000 combinations of labels, all of their values are `_other_`, and the log says so.
///
/// All functions with one `prefix` share four metrics, each with the registry's limit of series
/// (`RegistryBuilder::max_series_per_family`, 2,000 by default). A function and label set takes up to
/// four series of `calls_total`: `ok` and, for an `async` one, `cancelled` from the first call,
/// `error` and `panicked` when they happen. Past the limit calls are counted in a series `_other_`,
/// and a new function's gauge is left out. Raise the limit, or set a `prefix`, for hundreds of
/// functions with labels.
///
/// # Where it stands
///
/// Before functions and methods with a body, `async` or not, but neither `const` nor without end (`-> !`). A function that ends with an
/// `async` block, or with `Box::pin(async …)` as `#[async_trait]` writes it, is observed as what that block does; it says what that is
/// ready with, as in `impl Future<Output = …>`, `Pin<Box<dyn Future<Output = …>>>` or `BoxFuture<…>`.
///
/// A future that is made elsewhere, as by `fn call(&self) -> Self::Future { self.0.call() }`, one
/// that is returned before the last statement, and a stream are compile errors: their work is done
/// after the function returned. An iterator, and futures in a collection or a `Result`, are
/// observed until they are made.
///
/// A function is in the call's span while it runs and while its future is polled, but not while its future is dropped.
#[proc_macro_attribute]
pub fn observe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@observe`] for who depends on `campanile` alone, which exports it as `observe`.
#[proc_macro_attribute]
pub fn facade_observe(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(arguments, item, &parse_quote!(::campanile::metrics))
}

/// Makes labels of a struct, with a field for each, or of an enum, which is one label: its name that of the enum and its values those of
/// the variants, in snake case. The data of a variant is not in the label.
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
/// `#[label(name = "…")]` on a field or the enum, and `#[label(value = "…")]` on a variant, set another name or value. The type of a field
/// is a `LabelValue`: an enum, a truth value, a text or an integer. Where all values of all fields are known the type bounds the number
/// of series; elsewhere the registry's cap does.
#[proc_macro_derive(Labels, attributes(label))]
pub fn labels(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@Labels`] for who depends on `campanile` alone, which exports it as `Labels`.
#[proc_macro_derive(FacadeLabels, attributes(label))]
pub fn facade_labels(item: TokenStream) -> TokenStream {
    derive(labels::expand, item, &parse_quote!(::campanile::metrics))
}

/// Makes a set of metrics of a struct: `register(&Registry) -> Result<Self, RegisterError>` registers all of them.
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
///     /// Orders that wait.
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
/// | `#[metrics(prefix = "…")]` on the struct | none | what the names begin with, followed by an underscore |
/// | `#[metrics(crate = path)]` and `#[label(crate = path)]` on the struct | `campanile_metrics`, or `campanile::metrics` for the facade's | where the crate is that the code refers to |
/// | `#[metric(name = "…")]` | the field's name | the name, without prefix, unit and `_total` |
/// | `#[metric(help = "…")]` | the first paragraph of the doc comment | what is counted |
/// | `#[metric(unit = "…")]` | none; `seconds` for a `TimeCounter` | the unit, which the name ends with |
/// | `#[metric(buckets = […])]` | the registry's | the upper bounds of the buckets, for histograms |
/// | `#[label(name = "…")]` on a field of labels, or their enum | its name in snake case | the label's name |
/// | `#[label(value = "…")]` on a variant | its name in snake case | the label's value |
///
/// The data of a variant is not in the label. Each field is a `Field`. A set that is registered twice has the same series; where a metric
/// can't be registered, those before it stay.
#[proc_macro_derive(MetricSet, attributes(metric, metrics))]
pub fn metric_set(item: TokenStream) -> TokenStream {
    derive(metric_set::expand, item, &parse_quote!(::campanile_metrics))
}

/// [`macro@MetricSet`] for who depends on `campanile` alone, which exports it as `MetricSet`.
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
    // The function as it was written stays, so that what uses it brings no errors of its own.
    let expanded = expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    });
    expanded.into_token_stream().into()
}
