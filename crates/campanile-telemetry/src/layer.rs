use std::fmt;
use std::sync::Arc;
#[cfg(feature = "otel")]
use std::sync::OnceLock;

#[cfg(feature = "otlp")]
use campanile_correlation::CorrelationId;
use campanile_correlation::{Correlation, TraceParent};
#[cfg(feature = "otel")]
use opentelemetry::KeyValue;
#[cfg(feature = "otel")]
use opentelemetry::trace::SpanRef as SpanRefOfOtel;
#[cfg(feature = "otel")]
use opentelemetry::trace::TraceContextExt as _;
#[cfg(feature = "otlp")]
use opentelemetry::{Array, StringValue, Value};
#[cfg(feature = "otel")]
use tracing::Dispatch;
#[cfg(feature = "otel")]
use tracing::dispatcher::WeakDispatch;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::clock;
use crate::emit::{Emitter, with_scratch};
use crate::event::{Ids, LogEvent};
use crate::fields::{FieldOwner, Fields};
use crate::filter::{Disposition, LogFilter, RecordingSite};
use crate::key_cache::{EVENTS_GONE, HTTP_TARGET, KeyCache, RECORDED, SUPPRESSED};
#[cfg(feature = "otlp")]
use crate::key_cache::{INTEGERS, OWN_ID};
use crate::limit::Limit;
use crate::origin::Origin;
#[cfg(feature = "otel")]
use crate::otel::{self, Tracer};
use crate::queue::is_writer;
use crate::recorder::{FlightRecorder, Recorded, Ring};
use crate::span::SpanData;
#[cfg(feature = "otlp")]
use crate::span::nearest_request;

/// A [`Layer`] that writes a line for each event, and exports lines and spans; from
/// [`Telemetry::layer`](crate::Telemetry::layer).
///
/// It needs a subscriber with span data, such as `tracing_subscriber::registry()`. A subscriber has
/// at most one such layer: a second one has no span fields.
pub(crate) struct TelemetryLayer {
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) recorder: Option<Arc<FlightRecorder>>,
    pub(crate) filter: LogFilter,
    /// Whether the subscriber has no other layer.
    pub(crate) is_alone: bool,
    #[cfg(feature = "otel")]
    pub(crate) tracer: Option<Tracer>,
    /// The subscriber that the layer is in.
    #[cfg(feature = "otel")]
    pub(crate) dispatch: OnceLock<WeakDispatch>,
    pub(crate) emitter: Emitter,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TelemetryLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let is_http = attributes.metadata().target() == HTTP_TARGET;
        let (mut fields, of) = match is_http {
            true => (Fields::of_request(), FieldOwner::Request),
            false => (Fields::default(), FieldOwner::Span),
        };
        attributes.record(&mut fields.recorder(&self.keys, of));
        let mut kept = SpanData::new(self.keys.log(), fields);
        kept.is_http = is_http;
        if let Some(recorder) = &self.recorder {
            // Spans within a request belong to its recording, including those of nested requests.
            let outer = span.parent().and_then(|parent| ring_of(&parent));
            let outer = outer.filter(|ring| !ring.has_ended());
            #[cfg(feature = "otel")]
            let current = kept.is_http.then(otel::recording).flatten();
            #[cfg(not(feature = "otel"))]
            let current: Option<Arc<Ring>> = None;
            kept.is_request = kept.is_http
                && outer.is_none()
                && current.as_ref().is_none_or(|current| current.claim());
            let begin = || kept.is_request.then(|| recorder.begin());
            kept.ring = outer.or(current).or_else(begin);
        }
        #[cfg(feature = "otlp")]
        if self.tracer.as_ref().is_some_and(Tracer::is_exported) {
            let request = span.parent().and_then(|parent| nearest_request(&parent));
            kept.foreign_id = request.filter(|id| CorrelationId::current().as_ref() != Some(id));
        }
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<SpanData>().is_none() {
            extensions.insert(kept);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        // Formatting a value may log, and that reads the span. So the lock is not held here.
        let mut fields = Fields::default();
        values.record(&mut fields.recorder(&self.keys, FieldOwner::Span));
        if let Some(all) = span.extensions_mut().get_mut::<SpanData>()
            && all.of == self.keys.log()
        {
            #[cfg(feature = "otel")]
            if let Some((_, name)) = fields.iter().find(|(key, _)| *key == "otel.name") {
                all.late_name = Some(crate::escape::text_of(name).into());
            }
            all.fields.overwrite_with(&fields);
        }
        if self.recorder.is_some() && fields.iter().any(|(key, _)| key == RECORDED) {
            self.emit_recorded(&span);
        }
    }

    #[cfg(feature = "otel")]
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    /// Adds attributes that the OpenTelemetry layer, which is called next, does not know.
    #[cfg(feature = "otel")]
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let mut name = None;
        let mut late: Vec<KeyValue> = Vec::new();
        if let Some(kept) = span.extensions_mut().get_mut::<SpanData>()
            && kept.of == self.keys.log()
        {
            // The OpenTelemetry layer ignores a name that is set after the span was started. An
            // earlier access would start the span, and its parent may still be set.
            name = kept.late_name.take();
            // The exporter keeps the last value of a key. A provider of the application would keep
            // both.
            #[cfg(feature = "otlp")]
            if self.tracer.as_ref().is_some_and(Tracer::is_exported) {
                // The layer records unsigned integers as strings.
                let integers: Vec<_> = kept.fields.unsigned().map(StringValue::from).collect();
                if !integers.is_empty() {
                    late.push(KeyValue::new(
                        INTEGERS,
                        Value::Array(Array::String(integers)),
                    ));
                }
                if let Some(id) = &kept.foreign_id {
                    late.push(KeyValue::new(OWN_ID, id.as_str().to_owned()));
                }
            }
        }
        if name.is_some() || !late.is_empty() {
            self.with_otel_span(&id, |span| {
                if let Some(name) = name {
                    span.update_name(String::from(name));
                }
                span.set_attributes(late.drain(..));
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_writer() {
            return;
        }
        if self.recorder.is_some() {
            match self.filter.disposition(event, &context) {
                Disposition::Write => {}
                Disposition::Record(place) => return self.record(event, &place, &context),
                Disposition::Discard => return,
            }
        }
        let origin = Origin::of(event);
        let limit = self.limit.as_ref();
        // All requests share this callsite.
        let limit = limit.filter(|_| origin.target() != HTTP_TARGET);
        let suppressed = match limit {
            None => 0,
            Some(limit) => match limit.admit(origin.place(), clock::second()) {
                Some(suppressed) => suppressed,
                None => return,
            },
        };
        with_scratch(|scratch, fields| {
            self.emitter.begin(scratch, *origin.level());
            if suppressed > 0 {
                fields.add_number(SUPPRESSED, suppressed);
                self.emitter.add_own(scratch, fields);
                fields.clear();
            }
            event.record(&mut fields.recorder(&self.keys, FieldOwner::of_event(&origin)));
            if origin.is_own() {
                self.emitter.add_own(scratch, fields);
            } else {
                self.emitter.add(scratch, fields);
            }
            let mut function = None;
            let mut ids = Ids::default();
            let mut is_in_call = false;
            #[cfg(feature = "otel")]
            {
                ids.trace = self.place_of(event, &origin, &context);
            }
            for span in context.event_scope(event).into_iter().flatten() {
                function = function.or_else(|| Some(span.metadata().name()));
                let extensions = span.extensions();
                let Some(kept) = extensions.get::<SpanData>() else {
                    continue;
                };
                ids.trace = ids.trace.or_else(|| kept.ids.as_ref()?.trace);
                if ids.correlation.is_none() {
                    ids.correlation = kept.request_id().cloned();
                }
                if kept.of == self.keys.log() {
                    self.emitter.add_span(scratch, kept, &mut is_in_call);
                }
            }
            ids.fill_missing_from(Correlation::current);
            let log_event = LogEvent {
                origin: &origin,
                at: clock::now(),
                message: fields.message(),
                function,
                ids: &ids,
            };
            self.emitter.emit(scratch, log_event);
        });
    }
}

impl TelemetryLayer {
    /// Returns the layer for another subscriber.
    pub(crate) fn another(&self, is_alone: bool) -> Self {
        Self {
            is_alone,
            keys: Arc::clone(&self.keys),
            limit: self.limit.clone(),
            recorder: self.recorder.clone(),
            filter: self.filter.clone(),
            #[cfg(feature = "otel")]
            tracer: self.tracer.clone(),
            #[cfg(feature = "otel")]
            dispatch: OnceLock::new(),
            emitter: self.emitter.clone(),
        }
    }

    /// Adds an event to the recording of its request.
    fn record<S>(&self, event: &Event<'_>, place: &RecordingSite, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut recorded = Recorded {
            origin: Origin::of(event).into_owned(),
            at: clock::now(),
            function: "",
            trace: None,
        };
        with_scratch(|_, fields| {
            let of = FieldOwner::of_event(&recorded.origin);
            event.record(&mut fields.recorder(&self.keys, of));
            #[cfg(feature = "otel")]
            {
                recorded.trace = self.place_of(event, &recorded.origin, context);
            }
            if let Some(function) = place.innermost.filter(|_| event.is_contextual()) {
                recorded.function = function;
                return place.ring.keep(recorded, fields);
            }
            let Some(innermost) = context.event_span(event) else {
                return;
            };
            recorded.function = innermost.name();
            for span in innermost.scope() {
                let extensions = span.extensions();
                let Some(kept) = extensions.get::<SpanData>() else {
                    continue;
                };
                if kept.is_request {
                    // The fields and ids of the request are added when the recording is written.
                    if let Some(ring) = &kept.ring {
                        ring.keep(recorded, fields);
                    }
                    return;
                }
                let trace = kept.ids.as_ref().and_then(|ids| ids.trace);
                recorded.trace = recorded.trace.or(trace);
                fields.fill_missing_from(&self.keys, &kept.fields);
            }
        });
    }

    /// Writes the recording of a request.
    fn emit_recorded<'a, S: LookupSpan<'a>>(&self, request: &SpanRef<'a, S>) {
        let Some(ring) = ring_of(request) else {
            return;
        };
        let (events, gone) = ring.take();
        let ids = |trace: Option<TraceParent>| {
            let extensions = request.extensions();
            let ids = extensions
                .get::<SpanData>()
                .and_then(|kept| kept.ids.clone());
            let ids = ids.unwrap_or_default();
            Ids {
                trace: trace.or(ids.trace),
                ..ids
            }
        };
        with_scratch(|scratch, own| {
            own.add_true("recorded");
            if gone > 0 {
                own.add_number(EVENTS_GONE, gone);
            }
            for (event, fields) in &events {
                self.emitter.begin(scratch, *event.origin.level());
                self.emitter.add_own(scratch, own);
                self.emitter.add(scratch, fields);
                if let Some(kept) = request.extensions().get::<SpanData>() {
                    self.emitter
                        .add_span(scratch, kept, &mut fields.is_of_request());
                }
                let log_event = LogEvent {
                    origin: &event.origin,
                    at: event.at,
                    message: fields.message(),
                    function: Some(event.function),
                    ids: &ids(event.trace),
                };
                self.emitter.emit(scratch, log_event);
            }
        });
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.emitter.exporter {
            exporter.export_recorded(ring.take_spans());
        }
    }
}

/// OpenTelemetry spans.
#[cfg(feature = "otel")]
impl TelemetryLayer {
    /// Returns the trace and span id of an event.
    fn place_of<S>(
        &self,
        event: &Event<'_>,
        origin: &Origin<'_>,
        context: &Context<'_, S>,
    ) -> Option<TraceParent>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // OpenTelemetry logs while it holds locks that this lookup needs.
        if origin.target().starts_with("opentelemetry") {
            return None;
        }
        match event.parent() {
            // The parent may have ended, or belong to another subscriber.
            Some(parent) => context.span(parent).and_then(|_| {
                let context = self.otel_context(parent)?;
                let span = context.span();
                otel::place(span.span_context())
            }),
            None if event.is_contextual() && context.lookup_current().is_some() => otel::current(),
            None => None,
        }
    }

    fn otel_context(&self, id: &Id) -> Option<opentelemetry::Context> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        tracing_opentelemetry::get_otel_context(id, &dispatch)
    }

    fn with_otel_span(&self, id: &Id, function: impl FnOnce(SpanRefOfOtel<'_>)) {
        if let Some(context) = self.otel_context(id) {
            function(context.span());
        }
    }
}

fn ring_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Arc<Ring>> {
    span.extensions().get::<SpanData>()?.ring.clone()
}

impl fmt::Debug for TelemetryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLayer")
            .field("emitter", &self.emitter)
            .finish_non_exhaustive()
    }
}
