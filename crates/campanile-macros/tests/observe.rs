//! What `#[observe]` records, in each way that a call can end.

use std::fmt;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use campanile_metrics::metrics::{
    self, Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use campanile_metrics::{Bounded, Labels, Registry, Value, observe};

/// The value of a counter of calls, 0 if there is none.
fn calls(registry: &Registry, function: &str, outcome: &str) -> u64 {
    let labels = [
        ("function", function),
        ("module", module_path!()),
        ("outcome", outcome),
    ];
    counter(registry, "function_calls_total", &labels)
}

fn errors(registry: &Registry, function: &str, error: &str) -> u64 {
    let labels = [
        ("function", function),
        ("module", module_path!()),
        ("error", error),
    ];
    counter(registry, "function_errors_total", &labels)
}

fn counter(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> u64 {
    match registry.get(name, labels) {
        Some(Value::Counter(value)) => value,
        None => 0,
        other => panic!("{name} is {other:?}"),
    }
}

/// How many calls were timed, and how many are in flight.
fn timed(registry: &Registry, function: &str) -> (u64, f64) {
    let labels = [("function", function), ("module", module_path!())];
    let in_flight = registry.get("function_in_flight", &labels);
    match (
        registry.get("function_duration_seconds", &labels),
        in_flight,
    ) {
        (Some(Value::Histogram(histogram)), Some(Value::Gauge(in_flight))) => {
            (histogram.count, in_flight)
        }
        other => panic!("{function} has {other:?}"),
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future that is ready in the scope of a registry.
fn now<F: Future>(registry: &Registry, future: F) -> F::Output {
    let mut future = Box::pin(future);
    with_local_recorder(registry, || match poll(future.as_mut()) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready"),
    })
}

#[derive(Debug, Labels)]
enum OrderError {
    #[expect(dead_code, reason = "the data is not in the label")]
    OutOfStock(u32),
    Declined {
        #[expect(dead_code, reason = "the data is not in the label")]
        code: u8,
    },
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no order")
    }
}

#[observe]
async fn order(fails: Option<bool>) -> Result<&'static str, OrderError> {
    if fails == Some(true) {
        return Err(OrderError::OutOfStock(7));
    }
    match fails {
        Some(_) => Err(OrderError::Declined { code: 3 })?,
        None => Ok("ordered"),
    }
}

#[test]
fn results_are_counted_by_outcome_and_errors_by_kind() {
    let registry = Registry::new();
    assert!(now(&registry, order(None)).is_ok());
    assert!(now(&registry, order(None)).is_ok());
    assert!(now(&registry, order(Some(true))).is_err());
    assert!(now(&registry, order(Some(false))).is_err());
    assert_eq!(calls(&registry, "order", "ok"), 2);
    assert_eq!(calls(&registry, "order", "error"), 2);
    assert_eq!(errors(&registry, "order", "out_of_stock"), 1);
    assert_eq!(errors(&registry, "order", "declined"), 1);
    assert_eq!(timed(&registry, "order"), (4, 0.0));
    let page = registry.render();
    assert!(
        page.contains("# HELP function_calls_total Ended calls"),
        "{page}"
    );
}

#[observe]
async fn wait(panics: bool) {
    assert!(!panics, "on purpose");
    pending::<()>().await;
}

#[test]
fn a_future_that_is_dropped_was_cancelled_wherever_that_happens() {
    let registry = Registry::new();
    let mut future = Box::pin(wait(false));
    with_local_recorder(&registry, || assert!(poll(future.as_mut()).is_pending()));
    assert_eq!(timed(&registry, "wait"), (0, 1.0));
    // Out of the registry's scope.
    drop(future);
    assert_eq!(timed(&registry, "wait"), (1, 0.0));
    assert_eq!(calls(&registry, "wait", "cancelled"), 1);
    // A future that was never polled has not started.
    with_local_recorder(&registry, || drop(wait(false)));
    assert_eq!(timed(&registry, "wait"), (1, 0.0));
}

#[test]
fn panics_are_counted_and_go_on() {
    let registry = Registry::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| now(&registry, wait(true))));
    assert!(panicked.is_err());
    assert_eq!(calls(&registry, "wait", "panicked"), 1);
    assert_eq!(calls(&registry, "wait", "cancelled"), 0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        with_local_recorder(&registry, || half(1))
    }));
    assert!(panicked.is_err());
    assert_eq!(calls(&registry, "half", "panicked"), 1);
    assert_eq!(timed(&registry, "half"), (1, 0.0));
}

#[observe]
fn half(number: u32) -> u32 {
    assert!(number.is_multiple_of(2), "on purpose");
    number / 2
}

#[test]
fn a_function_without_async_has_no_series_of_cancelled_calls() {
    let registry = Registry::new();
    assert_eq!(with_local_recorder(&registry, || half(2)), 1);
    now(&registry, order(None)).unwrap();
    let series = registry
        .family_snapshot("function_calls_total")
        .unwrap()
        .series;
    let cancelled = series
        .iter()
        .filter(|series| series.label("outcome").as_deref() == Some("cancelled"));
    let functions: Vec<_> = cancelled
        .filter_map(|series| series.label("function"))
        .collect();
    assert_eq!(functions, ["order"]);
}

/// Counts how often metrics are described to it.
#[derive(Default)]
struct Describes(AtomicUsize);

impl Recorder for Describes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[observe]
fn in_turns() {}

#[test]
fn metrics_are_described_once_to_each_of_two_recorders_that_take_turns() {
    let recorders = [Describes::default(), Describes::default()];
    for _ in 0..10 {
        for recorder in &recorders {
            with_local_recorder(recorder, in_turns);
        }
    }
    // A function has two counters.
    let described = recorders.map(|recorder| recorder.0.into_inner());
    assert_eq!(described, [2, 2]);
}

/// Neither its type nor its text is known.
struct Opaque;

#[observe(name = "parse")]
fn parsed<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, E> {
    parse(text)
}

#[observe]
fn opaque() -> Result<(), Opaque> {
    Err(Opaque)
}

#[observe]
fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err("no")?;
    Ok(())
}

#[observe]
fn iterator(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

#[observe]
fn fallible(text: &str) -> Result<impl Iterator<Item = u32>, std::num::ParseIntError> {
    let to: u32 = text.parse()?;
    Ok(0..to)
}

#[observe]
async fn fallible_future(text: &str) -> Result<impl Iterator<Item = u32> + use<>, Opaque> {
    let to: u32 = text.parse().map_err(|_| Opaque)?;
    Ok(0..to)
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[observe]
fn boxed_future(text: &str) -> BoxFuture<'_, Result<u32, fmt::Error>> {
    Box::pin(async {
        let number: u8 = text.parse().map_err(|_| fmt::Error)?;
        Ok(number.into())
    })
}

#[observe]
fn r#type() -> impl Sized {}

#[observe]
async fn future_of(to: u32) -> impl Iterator<Item = u32> + use<> {
    0..to
}

#[test]
fn functions_without_async_are_observed_too() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        assert_eq!(half(4), 2);
        assert_eq!(parsed("7", str::parse::<u8>), Ok(7));
        parsed("x", str::parse::<u8>).unwrap_err();
        assert!(opaque().is_err());
        assert!(boxed().is_err());
        assert_eq!(iterator(3).sum::<u32>(), 3);
    });
    with_local_recorder(&registry, || {
        assert_eq!(fallible("3").unwrap().count(), 3);
        assert!(fallible("x").is_err());
        r#type();
    });
    assert!(now(&registry, fallible_future("3")).is_ok());
    assert!(now(&registry, fallible_future("x")).is_err());
    assert_eq!(now(&registry, boxed_future("3")), Ok(3));
    assert!(now(&registry, boxed_future("x")).is_err());
    assert_eq!(errors(&registry, "fallible", "ParseIntError"), 1);
    assert_eq!(errors(&registry, "fallible_future", "Opaque"), 1);
    assert_eq!(errors(&registry, "boxed_future", "core::Error"), 1);
    assert_eq!(calls(&registry, "type", "ok"), 1);
    assert_eq!(now(&registry, future_of(3)).count(), 3);
    assert_eq!(calls(&registry, "half", "ok"), 1);
    assert_eq!(calls(&registry, "iterator", "ok"), 1);
    assert_eq!(calls(&registry, "future_of", "ok"), 1);
    assert_eq!(calls(&registry, "parse", "ok"), 1);
    assert_eq!(errors(&registry, "parse", "ParseIntError"), 1);
    assert_eq!(errors(&registry, "opaque", "Opaque"), 1);
    assert_eq!(
        errors(&registry, "boxed", "Box<dyn Error + Send + Sync>"),
        1,
        "{}",
        registry.render()
    );
}

/// What makes futures for later is done when it returns them.
#[observe]
fn futures(count: Option<u32>) -> Result<Vec<BoxFuture<'static, u32>>, Opaque> {
    let count = count.ok_or(Opaque)?;
    Ok((0..count)
        .map(|number| Box::pin(async move { number }) as BoxFuture<'static, u32>)
        .collect())
}

#[observe]
fn returns_within(text: &str) -> BoxFuture<'_, u32> {
    let length = || {
        if text.is_empty() {
            return 0;
        }
        text.len()
    };
    let length = length();
    Box::pin(async move {
        if length == 0 {
            return 0;
        }
        1
    })
}

macro_rules! returning {
    ($name:ident -> $output:ty) => {
        #[observe]
        fn $name() -> $output {
            Box::pin(async { 7 })
        }
    };
}

returning!(from_a_macro -> Pin<Box<dyn Future<Output = u32>>>);

#[test]
fn futures_are_observed_where_they_are_the_functions_work() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        assert_eq!(futures(Some(2)).unwrap_or_default().len(), 2);
        assert!(futures(None).is_err());
        drop(returns_within("abc"));
        drop(from_a_macro());
    });
    assert_eq!(calls(&registry, "futures", "ok"), 1);
    assert_eq!(errors(&registry, "futures", "Opaque"), 1);
    assert_eq!(now(&registry, returns_within("")), 0);
    assert_eq!(now(&registry, returns_within("abc")), 1);
    assert_eq!(calls(&registry, "returns_within", "ok"), 2);
    assert_eq!(now(&registry, from_a_macro()), 7);
    assert_eq!(calls(&registry, "from_a_macro", "ok"), 1);
}

#[observe(on_ok = |text| metrics::counter!("bytes_total").increment(text.len() as u64))]
fn read() -> Result<String, fmt::Error> {
    Ok("abc".into())
}

fn count_bytes(text: &str) {
    metrics::counter!("bytes_total").increment(text.len() as u64);
}

#[observe(on_ok = count_bytes)]
async fn read_later() -> Result<String, fmt::Error> {
    Ok("de".into())
}

#[test]
fn the_argument_of_a_hook_needs_no_type_and_is_converted_to_that_of_a_function() {
    let registry = Registry::new();
    assert!(with_local_recorder(&registry, read).is_ok());
    assert!(now(&registry, read_later()).is_ok());
    assert_eq!(counter(&registry, "bytes_total", &[]), 5);
}

struct Shop {
    name: String,
    sold: u32,
}

impl Shop {
    #[observe(name = "Shop::sell")]
    async fn sell(&mut self, (count, twice): (u32, bool), mut by: Vec<u32>) -> &str {
        by.push(count);
        self.sold += by.iter().sum::<u32>() * if twice { 2 } else { 1 };
        &self.name
    }

    #[observe(name = "Shop::boxed")]
    fn boxed<'a>(&'a self) -> Pin<Box<dyn Future<Output = Result<u32, Opaque>> + Send + 'a>> {
        Box::pin(async move {
            pending::<()>().await;
            Ok(self.sold)
        })
    }

    #[observe(name = "Shop::block")]
    fn block(&self) -> impl Future<Output = u32> {
        let sold = self.sold;
        async move { sold }
    }
}

#[test]
fn methods_keep_their_arguments_and_lifetimes() {
    let registry = Registry::new();
    let mut shop = Shop {
        name: "corner".into(),
        sold: 0,
    };
    assert_eq!(now(&registry, shop.sell((2, true), vec![1])), "corner");
    assert_eq!(now(&registry, shop.block()), 6);
    assert_eq!(calls(&registry, "Shop::sell", "ok"), 1);
    assert_eq!(calls(&registry, "Shop::block", "ok"), 1);
    // What is observed is the future, and not the function that makes it.
    let mut waiting = shop.boxed();
    with_local_recorder(&registry, || assert!(poll(waiting.as_mut()).is_pending()));
    assert_eq!(timed(&registry, "Shop::boxed"), (0, 1.0));
    drop(waiting);
    assert_eq!(calls(&registry, "Shop::boxed", "cancelled"), 1);
}

#[derive(Clone, Copy, Labels)]
enum Model {
    Small,
    Large,
}

struct Completion {
    tokens: u64,
}

fn count_tokens(completion: &Completion) {
    metrics::counter!("llm_tokens_total").increment(completion.tokens);
}

#[observe(prefix = "llm", labels(model, cached = tokens == 0), on_ok = count_tokens)]
async fn complete(model: Model, tokens: u64) -> Result<Completion, String> {
    match model {
        Model::Small => Ok(Completion { tokens }),
        Model::Large => Err("too busy".into()),
    }
}

#[test]
fn labels_come_from_arguments_and_results_are_seen() {
    let registry = Registry::new();
    assert!(now(&registry, complete(Model::Small, 5)).is_ok());
    assert!(now(&registry, complete(Model::Small, 7)).is_ok());
    assert!(now(&registry, complete(Model::Large, 0)).is_err());
    let labels = |model, cached| {
        [
            ("function", "complete"),
            ("module", module_path!()),
            ("model", model),
            ("cached", cached),
        ]
    };
    let calls = |model, cached, outcome| {
        let labels = [&labels(model, cached)[..], &[("outcome", outcome)]].concat();
        counter(&registry, "llm_calls_total", &labels)
    };
    assert_eq!(calls("small", "false", "ok"), 2);
    assert_eq!(calls("large", "true", "error"), 1);
    assert_eq!(counter(&registry, "llm_tokens_total", &[]), 12);
    let labels = [&labels("large", "true")[..], &[("error", "String")]].concat();
    assert_eq!(counter(&registry, "llm_errors_total", &labels), 1);
}

#[derive(Labels)]
enum Only {
    One,
}

#[observe(labels(kind))]
fn generic<K: Bounded>(kind: K) {
    drop(kind);
}

macro_rules! observed {
    ($name:ident, $hook:expr) => {
        #[observe(on_ok = $hook)]
        fn $name() -> u32 {
            7
        }
    };
}

observed!(hooked, |value: &u32| metrics::gauge!("hooked").set(*value));

#[test]
fn types_of_labels_are_told_apart_in_a_generic_function() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        generic(Only::One);
        generic(Model::Large);
        generic(true);
        generic(Digit::D9);
        generic(Only::One);
        assert_eq!(hooked(), 7);
    });
    let calls = |kind| {
        let own = [
            ("function", "generic"),
            ("module", module_path!()),
            ("kind", kind),
            ("outcome", "ok"),
        ];
        counter(&registry, "function_calls_total", &own)
    };
    let kinds = ["one", "large", "true", "d9", "_other_"];
    assert_eq!(kinds.map(calls), [2, 1, 1, 1, 0]);
    assert_eq!(registry.get("hooked", &[]), Some(Value::Gauge(7.0)));
}

/// What a future does once it goes on outside of its exchange.
#[observe]
async fn goes_on() {
    let mut is_first = true;
    std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

#[test]
fn a_call_is_counted_where_it_began() {
    let registry = Registry::new();
    let mut future = Box::pin(goes_on());
    with_local_recorder(&registry, || assert!(poll(future.as_mut()).is_pending()));
    assert!(poll(future.as_mut()).is_ready());
    assert_eq!(calls(&registry, "goes_on", "ok"), 1);
    assert_eq!(timed(&registry, "goes_on"), (1, 0.0));
}

/// Ten values.
#[derive(Clone, Copy, Labels)]
enum Digit {
    D0,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
}

#[observe(labels(a, b, c, d))]
fn many(a: Digit, b: Digit, c: Digit, d: Digit) {}

#[test]
fn too_many_combinations_are_counted_as_one() {
    let registry = Registry::new();
    let digits = [
        Digit::D0,
        Digit::D1,
        Digit::D2,
        Digit::D3,
        Digit::D4,
        Digit::D5,
        Digit::D6,
        Digit::D7,
        Digit::D8,
        Digit::D9,
    ];
    with_local_recorder(&registry, || {
        for digit in digits {
            many(digit, digit, Digit::D0, Digit::D9);
        }
    });
    let other = ["a", "b", "c", "d"].map(|label| (label, "_other_"));
    let own = [
        ("function", "many"),
        ("module", module_path!()),
        ("outcome", "ok"),
    ];
    let labels = [&own[..], &other].concat();
    assert_eq!(counter(&registry, "function_calls_total", &labels), 10);
}

#[observe(crate = ::campanile_metrics, on_ok = |(): &()| metrics::counter!("seen_total").increment(1))]
fn elsewhere() {}

#[test]
fn without_a_recorder_functions_work_and_two_registries_stay_apart() {
    assert_eq!(half(8), 4);
    let registries = [Registry::new(), Registry::new()];
    for registry in &registries {
        with_local_recorder(registry, elsewhere);
    }
    for registry in &registries {
        assert_eq!(calls(registry, "elsewhere", "ok"), 1);
        assert_eq!(counter(registry, "seen_total", &[]), 1);
        assert!(registry.render().contains("# HELP function_in_flight "));
    }
}

#[test]
fn enums_are_bounded_and_so_are_references_to_them() {
    fn check<T: Bounded>() {}
    check::<Model>();
    check::<&Digit>();
    check::<bool>();
}

/// A trait that is no stream of items, such as one of bytes.
trait Stream {
    fn length(&self) -> usize;
}

impl Stream for &[u8] {
    fn length(&self) -> usize {
        self.len()
    }
}

#[observe]
fn open() -> Box<dyn Stream + Send> {
    Box::new(&b"bytes"[..])
}

#[test]
fn a_trait_named_stream_without_items_is_observed() {
    let registry = Registry::new();
    assert_eq!(with_local_recorder(&registry, open).length(), 5);
    assert_eq!(calls(&registry, "open", "ok"), 1);
}
