//! Spans: from the SDK's processor to the exporter of `opentelemetry_otlp`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use campanile_correlation::CorrelationId;
use opentelemetry::trace::{Span as _, SpanContext, Status};
use opentelemetry::{Array, Context, Key, KeyValue, StringValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};

use super::batch_queue::{BatchQueue, Waiting};
use super::export::Export;
use super::limits::AttributeLimits;
use super::proto::NOWHERE;
use super::send::Sent;
use super::transport::Transport;
use crate::clock;
use crate::key_cache::{OWN_ID, RING};
use crate::otel::{self, Recording};
use crate::recorder::Ring;
use crate::redact::{Hidden, Redaction};
use crate::sensitive::REDACTED;

#[cfg(test)]
mod tests;
mod tidy;

/// Takes the spans that end into the queue of the exporter, or into the recording of their request.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) outbox: Arc<BatchQueue<SpanData>>,
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
    pub(crate) fn new(outbox: Arc<BatchQueue<SpanData>>, limits: AttributeLimits) -> Self {
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
        // The rest is left to the exporter's thread.
        let bytes = tidy::bound(&mut span, self.limits);
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

/// Sends batches of spans.
pub(super) struct ExportSpans {
    exporter: SpanExporter,
    transport: Transport,
    limits: AttributeLimits,
    redacting: Redacting,
}

impl ExportSpans {
    pub(super) fn new(
        transport: Transport,
        resource: &Resource,
        limits: AttributeLimits,
        redaction: Redaction,
    ) -> Result<Self, String> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(transport.clone())
            .with_endpoint(NOWHERE)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
            .with_timeout(super::settings::DAY)
            .build()
            .map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        Ok(Self {
            exporter,
            transport,
            limits,
            redacting: Redacting::new(redaction),
        })
    }
}

impl Export for ExportSpans {
    type Item = SpanData;

    async fn export(&mut self, mut spans: Vec<SpanData>) -> Sent {
        for span in &mut spans {
            tidy::tidy(span, self.limits);
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
    known: HashMap<Key, Hidden, BuildHasherDefault<Fnv>>,
}

/// Fowler, Noll and Vo's hash of 64 bits, which is fast for short texts. The number of keys has a limit, so keys that were chosen to have one
/// hash do little harm.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The maximum number of keys that are kept.
const MAX_KEYS: usize = 4_096;

impl Redacting {
    fn new(redaction: Redaction) -> Self {
        Self {
            redaction,
            known: HashMap::default(),
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
