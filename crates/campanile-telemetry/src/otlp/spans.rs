//! Spans: from the SDK's processor to the exporter of `opentelemetry_otlp`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use campanile_correlation::CorrelationId;
use opentelemetry::trace::{Span as _, SpanContext, Status};
use opentelemetry::{Array, Context, Key, KeyValue, StringValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};

use super::exporter::Export;
use super::outbox::{Outbox, Waiting};
use super::send::Sent;
use super::transport::Transport;
use super::{AttributeLimits, NOWHERE};
use crate::clock;
use crate::escape::MAX_VALUE;
use crate::keys::{CORRELATION_ID, INTEGERS, OWN_ID, RECORDED};
use crate::otel::{self, Recording};
use crate::recorder::Ring;
use crate::redact::{Hidden, REDACTED, Redaction};

/// The attribute with which a span says until its end what recording it belongs to.
const RING: &str = "campanile.ring";

/// Takes the spans that end into the queue of the exporter, or into the recording of their request.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) outbox: Arc<Outbox<SpanData>>,
    pub(crate) limits: AttributeLimits,
    rings: Mutex<Rings>,
}

/// The recordings of requests in progress.
#[derive(Debug, Default)]
struct Rings {
    all: HashMap<i64, Weak<Ring>>,
    /// At how many those of requests that have ended are removed.
    sweep_at: usize,
}

/// The least of that number.
const MIN_SWEEP: usize = 64;

impl Spans {
    pub(crate) fn new(outbox: Arc<Outbox<SpanData>>, limits: AttributeLimits) -> Self {
        Self {
            outbox,
            limits,
            rings: Mutex::default(),
        }
    }

    fn rings(&self) -> std::sync::MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the recording of a request.
    fn note(&self, ring: &Arc<Ring>) -> i64 {
        let number = ring.number();
        let mut rings = self.rings();
        if !rings.all.contains_key(&number) {
            if rings.all.len() >= rings.sweep_at {
                rings.all.retain(|_, ring| ring.strong_count() > 0);
                rings.sweep_at = MIN_SWEEP.max(rings.all.len() * 2);
            }
            rings.all.insert(number, Arc::downgrade(ring));
        }
        number
    }
}

impl SpanProcessor for Spans {
    fn on_start(&self, span: &mut Span, context: &Context) {
        if !otel::has_own_id()
            && let Some(id) = CorrelationId::current()
        {
            span.set_attribute(KeyValue::new(OWN_ID, id.as_str().to_owned()));
        }
        if !span.span_context().is_sampled()
            && let Some(Recording(ring)) = context.get::<Recording>()
        {
            span.set_attribute(KeyValue::new(RING, self.note(ring)));
        }
    }

    fn on_end(&self, mut span: SpanData) {
        let ring = match span.span_context.is_sampled() {
            true => None,
            false => {
                let number = span
                    .attributes
                    .iter()
                    .find(|pair| pair.key.as_str() == RING);
                let number = number.and_then(|pair| match pair.value {
                    Value::I64(number) => Some(number),
                    _ => None,
                });
                let ring = number.and_then(|number| self.rings().all.get(&number)?.upgrade());
                match ring {
                    Some(ring) => Some(ring),
                    // Its request has ended.
                    None => return,
                }
            }
        };
        tidy(&mut span, self.limits);
        let bytes = size(&span);
        let exported = match ring {
            None => Some(span),
            Some(ring) => ring.keep_span(span, bytes).map(sampled),
        };
        if let Some(span) = exported {
            self.outbox.push(span, 1, bytes);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.outbox.hurry();
        let until = clock::instant() + FLUSH;
        match self.outbox.wait(until, &clock::instant) {
            (0, _) => Ok(()),
            _ => Err(OTelSdkError::Timeout(FLUSH)),
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let until = clock::instant() + timeout.min(FLUSH);
        self.outbox.close(until);
        match self.outbox.wait(until, &clock::instant) {
            (0, _) => Ok(()),
            _ => Err(OTelSdkError::Timeout(timeout)),
        }
    }
}

/// The longest that a call of the provider waits.
const FLUSH: Duration = Duration::from_secs(5);

/// Returns a span of a recording as one that is exported.
pub(crate) fn sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags().with_sampled(true),
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}

/// Brings the attributes of a span that ends into order: each key once, with the last of its values, which is cut to its limit.
fn tidy(span: &mut SpanData, limits: AttributeLimits) {
    let attributes = &mut span.attributes;
    let is_id = |pair: &KeyValue| pair.key.as_str() == OWN_ID;
    let id = attributes.iter().rposition(is_id);
    let id = id.map(|at| attributes.remove(at).value);
    let is_integers = |pair: &KeyValue| pair.key.as_str() == INTEGERS;
    let integers = attributes.iter().position(is_integers);
    let integers = integers.map(|at| attributes.remove(at).value);
    let mut kept = 0;
    for at in 0..attributes.len() {
        let (before, rest) = attributes.split_at_mut(at);
        let Some(pair) = rest.first_mut() else {
            break;
        };
        match pair.key.as_str() {
            OWN_ID | RING | RECORDED => continue,
            // The request's span has it for other layers, too.
            CORRELATION_ID if id.as_ref() == Some(&pair.value) => continue,
            CORRELATION_ID => pair.key = Key::from_static_str("correlation_id_"),
            _ => {}
        }
        cut(&mut pair.value, limits.length);
        let mut before = before[..kept].iter_mut();
        match before.find(|other| other.key == pair.key) {
            Some(other) => std::mem::swap(&mut other.value, &mut pair.value),
            None => {
                attributes.swap(kept, at);
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
    if span.name.is_empty() {
        span.name = Cow::Borrowed("unnamed");
    }
    let is_error = |pair: &KeyValue| pair.key.as_str() == "error.type";
    if span.status == Status::Unset && span.attributes.iter().any(is_error) {
        span.status = Status::error("");
    }
}

/// Cuts a name or a description to 16 KiB.
fn cut_name(text: &mut Cow<'static, str>) {
    if let Some(shorter) = shorter(text, usize::MAX) {
        *text = Cow::Owned(shorter.into());
    }
}

/// Cuts a text to a number of characters, and to 16 KiB.
fn cut(value: &mut Value, max_length: usize) {
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
    let short = super::first(text, max_length);
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
fn size(span: &SpanData) -> usize {
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

/// Sends batches of spans.
pub(super) struct ExportSpans {
    exporter: SpanExporter,
    transport: Transport,
    redacting: Redacting,
}

impl ExportSpans {
    pub(super) fn new(
        transport: Transport,
        resource: &Resource,
        redaction: Redaction,
    ) -> Result<Self, String> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(transport.clone())
            .with_endpoint(NOWHERE)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
            .with_timeout(super::DAY)
            .build()
            .map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        Ok(Self {
            exporter,
            transport,
            redacting: Redacting::new(redaction),
        })
    }
}

impl Export for ExportSpans {
    type Item = SpanData;

    async fn export(&mut self, mut spans: Vec<SpanData>) -> Sent {
        for span in &mut spans {
            self.redacting.redact_span(span);
        }
        let result = self.exporter.export(spans).await;
        self.transport.sent(result)
    }

    fn transport(&self) -> &Transport {
        &self.transport
    }
}

/// Hides the values of attributes by their keys. What is known of a key is kept.
struct Redacting {
    redaction: Redaction,
    known: HashMap<Key, Hidden>,
}

/// The maximum number of keys that are kept.
const MAX_KEYS: usize = 4_096;

impl Redacting {
    fn new(redaction: Redaction) -> Self {
        Self {
            redaction,
            known: HashMap::new(),
        }
    }

    fn redact_span(&mut self, span: &mut SpanData) {
        self.scrub(&mut span.name);
        if let Status::Error { description } = &mut span.status {
            self.scrub(description);
        }
        self.redact(&mut span.attributes);
        for event in &mut span.events.events {
            self.scrub(&mut event.name);
            self.redact(&mut event.attributes);
        }
        for link in &mut span.links.links {
            self.redact(&mut link.attributes);
        }
    }

    /// Replaces secrets inside of a text that has no key.
    fn scrub(&self, text: &mut Cow<'static, str>) {
        if let Some(scrubbed) = self.redaction.scrubber.plain("", text) {
            *text = scrubbed.into();
        }
    }

    fn redact(&mut self, attributes: &mut [KeyValue]) {
        for pair in attributes {
            let hidden = match self.known.get(&pair.key) {
                Some(hidden) => *hidden,
                None => {
                    let hidden = self.redaction.hides(pair.key.as_str());
                    if self.known.len() < MAX_KEYS {
                        self.known.insert(pair.key.clone(), hidden);
                    }
                    hidden
                }
            };
            let is_text = matches!(
                pair.value,
                Value::String(_) | Value::Array(Array::String(_))
            );
            if hidden.hides(is_text) {
                pair.value = REDACTED.into();
                continue;
            }
            let key = pair.key.as_str();
            let scrub = |text: &mut StringValue| {
                if let Some(scrubbed) = self.redaction.scrubber.plain(key, text.as_str()) {
                    *text = scrubbed.into();
                }
            };
            match &mut pair.value {
                Value::String(text) => scrub(text),
                Value::Array(Array::String(texts)) => texts.iter_mut().for_each(scrub),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
