//! What becomes of errors that observed functions return: lines of the log, and the status of
//! spans.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fmt;
use std::future::Future;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use campanile_metrics::metrics::with_local_recorder;
use campanile_metrics::{Labels, Registry, Value, observe};
use tracing::field::{Field, Visit};
use tracing::span::{Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Failures that were logged, as `LEVEL function text`, and fields that spans were given, as
/// `span field=value`.
#[derive(Clone, Default)]
struct Seen {
    lines: Arc<Mutex<Vec<String>>>,
    fields: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let field = |name: &str| {
            let found = fields.0.iter().find(|(field, _)| *field == name);
            found.map_or("", |(_, value)| value)
        };
        if field("message") == "failed" {
            let level = event.metadata().level();
            let line = format!("{level} {} {}", field("code.function.name"), field("error"));
            self.lines.lock().unwrap().push(line);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let name = context.span(id).unwrap().name();
        let fields = fields.0.iter();
        let fields = fields.map(|(field, value)| format!("{name} {field}={value}"));
        self.fields.lock().unwrap().extend(fields);
    }
}

/// Returns what is logged of failures, and the fields that spans were given.
fn seen<T>(function: impl FnOnce() -> T) -> (Vec<String>, Vec<String>) {
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    let registry = Registry::new();
    with_default(subscriber, || {
        drop(with_local_recorder(&registry, function))
    });
    let lines = seen.lines.lock().unwrap().clone();
    let fields = seen.fields.lock().unwrap().clone();
    (lines, fields)
}

fn lines<T>(function: impl FnOnce() -> T) -> Vec<String> {
    seen(function).0
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready"),
    }
}

/// An error as `thiserror` and others make them: with its source, which its text leaves out.
#[derive(Debug)]
struct Wrapped(&'static str, fmt::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.1)
    }
}

#[observe]
async fn charge() -> Result<(), &'static str> {
    Err("declined")
}

#[observe]
fn panics() {
    panic!("on purpose");
}

#[test]
fn the_span_of_a_call_that_failed_is_failed() {
    let (_, fields) = seen(|| now(charge()).unwrap_err());
    assert_eq!(
        fields,
        [
            "charge otel.status_code=ERROR",
            "charge error.type=&str",
            "charge otel.status_description=declined",
        ]
    );
    let (_, fields) = seen(|| catch_unwind(panics));
    assert_eq!(
        fields,
        ["panics otel.status_code=ERROR", "panics error.type=panic"]
    );
    let (_, fields) = seen(|| handled().unwrap());
    assert!(fields.iter().all(|field| !field.starts_with("handled ")));
}

#[observe]
fn handled() -> Result<(), fmt::Error> {
    failing("out of stock").ok();
    Ok(())
}

#[observe]
fn failing(text: &'static str) -> Result<(), &'static str> {
    Err(text)
}

#[observe]
fn passes(text: &'static str) -> Result<(), String> {
    failing(text)?;
    Ok(())
}

#[observe]
async fn adds_to_it(text: &'static str) -> Result<(), String> {
    passes(text).map_err(|error| format!("no order: {error}"))
}

#[observe]
async fn passes_on(text: &'static str) -> Result<(), String> {
    let mut inner = pin!(adds_to_it(text));
    std::future::poll_fn(|context| inner.as_mut().poll(context)).await
}

#[test]
fn an_error_is_logged_by_the_first_function_that_returns_it() {
    let logged = lines(|| now(passes_on("out of stock")).unwrap_err());
    assert_eq!(logged, ["ERROR failing out of stock"]);
    let (_, fields) = seen(|| now(passes_on("out of stock")).unwrap_err());
    let failed = fields.iter().filter(|field| field.ends_with("=ERROR"));
    assert_eq!(failed.count(), 4, "{fields:?}");
    // Each error is logged, also if it is the same again.
    let logged = lines(|| {
        now(passes_on("out of stock")).unwrap_err();
        failing("out of stock").unwrap_err();
    });
    assert_eq!(logged, ["ERROR failing out of stock"; 2]);
}

#[observe]
fn formats() -> Result<(), fmt::Error> {
    Err(fmt::Error)
}

#[observe]
fn wraps() -> Result<(), Wrapped> {
    formats().map_err(|error| Wrapped("no invoice", error))
}

#[observe]
fn wraps_in_a_box() -> Result<(), Box<dyn std::error::Error>> {
    Ok(formats()?)
}

struct Opaque;

#[observe]
fn opaque() -> Result<(), Opaque> {
    Err(Opaque)
}

#[observe]
fn passes_opaque() -> Result<(), Opaque> {
    opaque()
}

#[test]
fn an_error_is_known_by_its_source_too_and_one_without_text_by_its_type() {
    let error = "ERROR formats an error occurred when formatting an argument";
    assert_eq!(lines(wraps), [error]);
    assert_eq!(lines(wraps_in_a_box), [error]);
    assert_eq!(lines(passes_opaque), ["ERROR opaque "]);
}

#[observe]
fn another() -> Result<(), &'static str> {
    failing("no").ok();
    Err("casino")
}

#[observe]
fn panics_within() {
    panics();
}

#[test]
fn another_error_after_one_that_was_handled_is_logged() {
    let logged = lines(|| another().unwrap_err());
    assert_eq!(logged, ["ERROR failing no", "ERROR another casino"]);
    let logged = lines(|| catch_unwind(panics_within));
    assert_eq!(logged, ["ERROR panics "]);
}

#[observe]
fn panics_after_one_that_was_caught() {
    catch_unwind(panics).unwrap_err();
    panic!("and once more");
}

#[observe]
async fn panics_with_a_number_after_one_that_was_caught() {
    catch_unwind(panics).unwrap_err();
    std::panic::panic_any(7_u8);
}

#[observe]
async fn passes_on_a_panic() {
    panics_with_a_number_after_one_that_was_caught().await;
}

#[test]
fn another_panic_after_one_that_was_caught_is_logged() {
    let logged = lines(|| catch_unwind(panics_after_one_that_was_caught));
    let expected = ["ERROR panics ", "ERROR panics_after_one_that_was_caught "];
    assert_eq!(logged, expected);
    let logged = lines(|| catch_unwind(|| now(passes_on_a_panic())));
    let name = "panics_with_a_number_after_one_that_was_caught";
    assert_eq!(
        logged,
        ["ERROR panics ".to_owned(), format!("ERROR {name} ")]
    );
}

#[observe(err = "debug")]
fn quiet() -> Result<(), &'static str> {
    Err("bad input")
}

#[observe(err = "warn")]
fn louder() -> Result<(), &'static str> {
    quiet()
}

#[observe(err = "off")]
fn silent() -> Result<(), &'static str> {
    Err("postgres://user:secret@db")
}

#[observe(err = "off")]
fn silent_panic() {
    panics();
}

#[observe(err = "off")]
fn broken() {
    panic!("on purpose");
}

#[test]
fn the_level_of_errors_can_be_set() {
    assert_eq!(lines(quiet), ["DEBUG quiet bad input"]);
    // A line at a lower level may be out of sight.
    let logged = lines(louder);
    assert_eq!(logged, ["DEBUG quiet bad input", "WARN louder bad input"]);
    let (logged, fields) = seen(silent);
    assert!(logged.is_empty(), "{logged:?}");
    // Nor is the text in the span, which is failed all the same.
    assert_eq!(
        fields,
        ["silent otel.status_code=ERROR", "silent error.type=&str"]
    );
    // A panic is no error.
    assert_eq!(lines(|| catch_unwind(broken)), ["ERROR broken "]);
    assert_eq!(lines(|| catch_unwind(silent_panic)), ["ERROR panics "]);
}

#[derive(Debug, Labels)]
enum OrderError {
    NotFound,
    Broken,
}

impl OrderError {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound)
    }
}

#[observe(ok_if = OrderError::is_not_found)]
async fn find(error: OrderError) -> Result<(), OrderError> {
    Err(error)
}

#[observe(ok_if = |error| error.is_not_found(), on_ok = |(): &()| unreachable!())]
fn find_now(error: OrderError) -> Result<(), OrderError> {
    Err(error)
}

#[test]
fn errors_that_count_as_ok_are_neither_counted_nor_logged() {
    let registry = Registry::new();
    let (logged, fields) = seen(|| {
        with_local_recorder(&registry, || {
            now(find(OrderError::NotFound)).unwrap_err();
            find_now(OrderError::NotFound).unwrap_err();
        });
    });
    assert!(
        logged.is_empty() && fields.is_empty(),
        "{logged:?} {fields:?}"
    );
    let calls = |function, outcome| {
        let own = [
            ("function", function),
            ("module", module_path!()),
            ("outcome", outcome),
        ];
        registry.get("function_calls_total", &own)
    };
    assert_eq!(calls("find", "ok"), Some(Value::Counter(1)));
    assert_eq!(calls("find_now", "ok"), Some(Value::Counter(1)));
    assert_eq!(calls("find", "error"), None);
    assert!(registry.family_snapshot("function_errors_total").is_none());
    let logged = lines(|| now(find(OrderError::Broken)));
    assert_eq!(logged, ["ERROR find "]);
}

#[test]
fn a_function_whose_line_is_filtered_out_leaves_it_to_the_next() {
    let seen = Seen::default();
    let only = tracing_subscriber::filter::filter_fn(|metadata| {
        metadata.is_span()
            || *metadata.level() <= Level::ERROR && !metadata.target().ends_with("hidden")
    });
    let subscriber = tracing_subscriber::registry().with(seen.clone()).with(only);
    with_default(subscriber, || hidden::passes().unwrap_err());
    let lines = seen.lines.lock().unwrap().clone();
    assert_eq!(lines, ["ERROR passes_hidden no"]);
}

mod hidden {
    use super::observe;

    #[observe]
    fn fails() -> Result<(), &'static str> {
        Err("no")
    }

    pub(super) use super::passes_hidden as passes;

    pub(super) fn inner() -> Result<(), &'static str> {
        fails()
    }
}

#[observe]
fn passes_hidden() -> Result<(), &'static str> {
    hidden::inner()
}

#[observe]
fn inner() -> Result<(), &'static str> {
    Err("bad input")
}

#[observe(err = "off")]
fn middle() -> Result<(), &'static str> {
    inner()
}

#[observe]
fn outer() -> Result<(), &'static str> {
    middle()
}

#[test]
fn an_error_is_logged_once_through_a_silent_function() {
    assert_eq!(lines(outer), ["ERROR inner bad input"]);
}
