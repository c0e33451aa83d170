//! The order and the limits of what a span has at its end.

use std::borrow::Cow;

use opentelemetry::trace::Status;
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

use crate::escape::MAX_VALUE;
use crate::key_cache::{CORRELATION_ID, INTEGERS, OWN_ID, RECORDED, RING};
use crate::otlp::limits::{AttributeLimits, first};

/// Cuts the texts of a span that are longer than their limits. Returns the size of the span in memory, in bytes.
pub(super) fn bound(span: &mut SpanData, limits: AttributeLimits) -> usize {
    let bytes = size(span);
    // No text of a smaller span is that long.
    if bytes <= MAX_VALUE {
        return bytes;
    }
    for pair in &mut span.attributes {
        cut(&mut pair.value, limits.length);
    }
    cut_others(span, limits);
    size(span)
}

/// Brings the attributes of a span that has ended into order: each key once, with the last of its values, which is cut to its limit.
pub(super) fn tidy(span: &mut SpanData, limits: AttributeLimits) {
    let attributes = &mut span.attributes;
    let (mut id, mut integers) = (None, None);
    for pair in &mut *attributes {
        match pair.key.as_str() {
            OWN_ID => id = Some(taken(pair)),
            INTEGERS => integers = Some(taken(pair)),
            _ => {}
        }
    }
    let mut kept = 0;
    for at in 0..attributes.len() {
        let (before, rest) = attributes.split_at_mut(at);
        let Some(pair) = rest.first_mut() else {
            break;
        };
        match pair.key.as_str() {
            OWN_ID | INTEGERS | RING | RECORDED => continue,
            // The request's span has it for other layers, too.
            CORRELATION_ID if id.as_ref() == Some(&pair.value) => continue,
            CORRELATION_ID => pair.key = Key::from_static_str("correlation_id_"),
            _ => {}
        }
        cut(&mut pair.value, limits.length);
        let key = pair.key.as_str();
        let mut before = before[..kept].iter_mut();
        match before.find(|other| other.key.as_str() == key) {
            Some(other) => std::mem::swap(&mut other.value, &mut pair.value),
            None => {
                if kept < at {
                    attributes.swap(kept, at);
                }
                kept += 1;
            }
        }
    }
    if let Some(Value::Array(Array::String(keys))) = integers {
        for pair in &mut attributes[..kept] {
            let is_one = keys.iter().any(|key| key.as_str() == pair.key.as_str());
            if let Value::String(text) = &pair.value
                && is_one
                && let Ok(integer) = text.as_str().parse::<i64>()
            {
                pair.value = integer.into();
            }
        }
    }
    let left_out = kept.saturating_sub(limits.count);
    span.dropped_attributes_count += u32::try_from(left_out).unwrap_or(u32::MAX);
    attributes.truncate(kept - left_out);
    attributes.extend(id.map(|id| KeyValue::new(CORRELATION_ID, id)));
    cut_others(span, limits);
    if span.name.is_empty() {
        span.name = Cow::Borrowed("unnamed");
    }
    let is_error = |pair: &KeyValue| pair.key.as_str() == "error.type";
    if span.status == Status::Unset && span.attributes.iter().any(is_error) {
        span.status = Status::error("");
    }
}

/// Takes the value of an attribute that is left out.
fn taken(pair: &mut KeyValue) -> Value {
    std::mem::replace(&mut pair.value, Value::Bool(false))
}

/// Cuts the texts of a span that are not its own attributes.
fn cut_others(span: &mut SpanData, limits: AttributeLimits) {
    cut_name(&mut span.name);
    if let Status::Error { description } = &mut span.status {
        cut_name(description);
    }
    for event in &mut span.events.events {
        cut_name(&mut event.name);
        for pair in &mut event.attributes {
            cut(&mut pair.value, limits.length);
        }
    }
    for link in &mut span.links.links {
        for pair in &mut link.attributes {
            cut(&mut pair.value, limits.length);
        }
    }
}

/// Cuts a name or a description to 16 KiB.
fn cut_name(text: &mut Cow<'static, str>) {
    if let Some(shorter) = shorter(text, usize::MAX) {
        *text = Cow::Owned(shorter.into());
    }
}

/// Cuts a text to a number of characters, and to 16 KiB.
pub(super) fn cut(value: &mut Value, max_length: usize) {
    match value {
        Value::String(text) => {
            if let Some(shorter) = shorter(text.as_str(), max_length) {
                *text = shorter;
            }
        }
        Value::Array(Array::String(texts)) => {
            for text in texts {
                if let Some(shorter) = shorter(text.as_str(), max_length) {
                    *text = shorter;
                }
            }
        }
        _ => {}
    }
}

fn shorter(text: &str, max_length: usize) -> Option<StringValue> {
    // Most are shorter even in bytes.
    if text.len() <= max_length.min(MAX_VALUE) {
        return None;
    }
    let short = first(text, max_length);
    if short.len() <= MAX_VALUE {
        return (short.len() < text.len()).then(|| short.to_owned().into());
    }
    // As lines show that they are cut.
    let end = (0..=MAX_VALUE)
        .rev()
        .find(|&end| short.is_char_boundary(end));
    Some(format!("{}…", &short[..end.unwrap_or(0)]).into())
}

/// Returns how many bytes a span takes in memory, about.
pub(super) fn size(span: &SpanData) -> usize {
    let of = |pairs: &[KeyValue]| -> usize { pairs.iter().map(size_of_pair).sum() };
    let description = match &span.status {
        Status::Error { description } => description.len(),
        _ => 0,
    };
    let events = span.events.events.iter();
    let events = events.map(|event| size_of_val(event) + event.name.len() + of(&event.attributes));
    let links = span.links.links.iter();
    let links = links.map(|link| size_of_val(link) + of(&link.attributes));
    size_of_val(span)
        + span.name.len()
        + description
        + of(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
}

fn size_of_pair(pair: &KeyValue) -> usize {
    let value = match &pair.value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => {
            let texts = texts.iter();
            texts
                .map(|text| size_of_val(text) + text.as_str().len())
                .sum()
        }
        Value::Array(Array::Bool(list)) => list.len(),
        Value::Array(Array::I64(list)) => list.len() * 8,
        Value::Array(Array::F64(list)) => list.len() * 8,
        _ => 0,
    };
    size_of_val(pair) + pair.key.as_str().len() + value
}
