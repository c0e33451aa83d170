use super::tidy::{bound, cut, size, tidy};
use super::*;
use crate::escape::MAX_VALUE;
use crate::key_cache::INTEGERS;

fn text(value: &str) -> Value {
    value.to_owned().into()
}

#[test]
fn a_text_is_cut_between_characters() {
    for (max, expected) in [(0, ""), (1, "é"), (2, "é🔔"), (3, "é🔔x"), (4, "é🔔x")] {
        let mut value = text("é🔔x");
        cut(&mut value, max);
        assert_eq!(value, text(expected));
    }
    let mut value = text(&"é".repeat(MAX_VALUE));
    cut(&mut value, usize::MAX);
    assert_eq!(value.as_str().len(), MAX_VALUE + '…'.len_utf8());
}

fn span(attributes: Vec<KeyValue>) -> SpanData {
    SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: opentelemetry::trace::SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: opentelemetry::trace::SpanKind::Internal,
        name: "work".into(),
        start_time: std::time::UNIX_EPOCH,
        end_time: std::time::UNIX_EPOCH,
        attributes,
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: Status::Unset,
        instrumentation_scope: crate::otlp::proto::scope(),
    }
}

#[test]
fn an_attribute_is_there_once_with_its_last_value() {
    let mut span = span(vec![
        KeyValue::new("a", 1),
        KeyValue::new("correlation_id", "mine"),
        KeyValue::new(OWN_ID, "early"),
        KeyValue::new("b", 2),
        KeyValue::new("a", 3),
        KeyValue::new(RING, 7),
        KeyValue::new("c", 4),
        KeyValue::new(OWN_ID, "abc"),
    ]);
    let limits = AttributeLimits {
        count: 3,
        ..AttributeLimits::default()
    };
    tidy(&mut span, limits);
    let expected = [
        KeyValue::new("a", 3),
        KeyValue::new("correlation_id_", "mine"),
        KeyValue::new("b", 2),
        // The id is beside the limit.
        KeyValue::new("correlation_id", "abc"),
    ];
    assert_eq!(span.attributes, expected);
    assert_eq!(span.dropped_attributes_count, 1);
}

#[test]
fn secrets_in_spans_are_hidden() {
    let mut redacting = Redacting::new(Redaction::default());
    let mut span = span(vec![
        KeyValue::new("password", "hunter2"),
        KeyValue::new("url.full", "http://me:hunter2@host/"),
        KeyValue::new("token_count", 3),
        KeyValue::new("text", "no \"secret\""),
    ]);
    span.name = "GET http://me:hunter2@host/".into();
    span.status = Status::error("password=hunter2");
    redacting.redact_span(&mut span);
    let shown = format!("{span:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(span.attributes[2].value, Value::I64(3));
    assert_eq!(span.attributes[3].value, text("no \"secret\""));
}

#[test]
fn a_text_that_is_an_unsigned_integer_becomes_one() {
    let keys = ["count", "rows"].map(StringValue::from).to_vec();
    let mut span = span(vec![
        KeyValue::new("count", "7"),
        KeyValue::new("rows", "1"),
        KeyValue::new("rows", "set by the API"),
        KeyValue::new("id", "7"),
        KeyValue::new(INTEGERS, Value::Array(Array::String(keys))),
    ]);
    tidy(&mut span, AttributeLimits::default());
    let expected = [
        KeyValue::new("count", 7),
        KeyValue::new("rows", "set by the API"),
        KeyValue::new("id", "7"),
    ];
    assert_eq!(span.attributes, expected);
}

#[test]
fn no_text_of_a_span_is_without_a_limit() {
    let long = "x".repeat(1 << 20);
    let mut span = span(vec![KeyValue::new("a", long.clone())]);
    span.name = long.clone().into();
    span.status = Status::error(long.clone());
    span.events
        .events
        .push(opentelemetry::trace::Event::with_name(long));
    let limits = AttributeLimits::default();
    let bytes = bound(&mut span, limits);
    let bounded = span.clone();
    tidy(&mut span, limits);
    // What is cut once is not cut again.
    assert_eq!(span, bounded);
    assert_eq!(size(&span), bytes);
    assert!((4 * MAX_VALUE..5 * MAX_VALUE).contains(&bytes), "{bytes}");
}
