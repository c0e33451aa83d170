use std::fmt;
use std::sync::Arc;

use campanile_correlation::{Correlation, TraceParent};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::capture::Capture;
use crate::clock;
use crate::fields::{Fields, Of};
use crate::filter::{Fate, LogFilter, Place};
use crate::http;
use crate::keys::{EVENTS_GONE, Keys, RECORDED, SUPPRESSED};
use crate::limit::Limit;
use crate::line::Ids;
use crate::origin::Origin;
#[cfg(feature = "otlp")]
use crate::otlp::{self, Exporter};
use crate::output::Sink;
use crate::queue::is_writer;
use crate::recorder::{FlightRecorder, Recorded, Ring};
use crate::say::{Said, with_scratch};
use crate::span::Kept;

/// A [`Layer`] that writes a line for each event, and exports lines and spans where that is asked for; from
/// [`Telemetry::layer`](crate::Telemetry::layer).
///
/// It needs a subscriber that keeps spans, as `tracing_subscriber::registry()` does. A subscriber
/// has at most one of them: of two, the second has no fields of spans. A telemetry can have several
/// [outputs](crate::TelemetryBuilder::output).
#[derive(Clone)]
pub struct TelemetryLayer {
    pub(crate) keys: Arc<Keys>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) capture: Option<Capture>,
    pub(crate) recorder: Option<Arc<FlightRecorder>>,
    pub(crate) filter: LogFilter,
    /// It is dropped before the queue, to which it has something to tell.
    #[cfg(feature = "otlp")]
    pub(crate) exporter: Option<Arc<Exporter>>,
    pub(crate) first: Sink,
    pub(crate) others: Arc<[Sink]>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TelemetryLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        let is_http = attributes.metadata().target() == http::TARGET;
        let of = if is_http { Of::Request } else { Of::Span };
        attributes.record(&mut fields.recorder(&self.keys, of));
        let mut kept = Kept::new(self.keys.log(), fields);
        kept.is_http = is_http;
        if let Some(recorder) = &self.recorder {
            // What is within a request is recorded with it, be it one itself.
            let outer = span.parent().and_then(|parent| ring_of(&parent));
            let outer = outer.filter(|ring| !ring.has_ended());
            kept.is_request = outer.is_none() && kept.is_http;
            kept.ring = outer.or_else(|| kept.is_request.then(|| recorder.begin()));
        }
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter.as_deref().filter(|all| all.traces.is_some()) {
            kept.begin(&exporter.sampler, attributes, &span);
        }
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Kept>().is_none() {
            extensions.insert(kept);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        // What is formatted may log, which reads the span: so not under its lock.
        let mut fields = Fields::default();
        values.record(&mut fields.recorder(&self.keys, Of::Span));
        if let Some(all) = span.extensions_mut().get_mut::<Kept>()
            && all.of == self.keys.log()
        {
            all.fields.take_up(&fields);
        }
        if self.recorder.is_some() && fields.iter().any(|(key, _)| key == RECORDED) {
            self.say_recorded(&span);
        }
    }

    #[cfg(feature = "otlp")]
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(exporter) = self.exporter.as_deref() else {
            return;
        };
        let Some(outbox) = exporter.traces.as_deref() else {
            return;
        };
        let Some(span) = context.span(&id) else {
            return;
        };
        let extensions = span.extensions();
        if let Some(kept) = extensions.get::<Kept>()
            && kept.of == self.keys.log()
            && let Some(begun) = &kept.begun
        {
            with_scratch(|scratch, _| {
                let message = &mut scratch.message;
                message.clear();
                let [limits, _] = exporter.attributes;
                otlp::span(message, &self.keys, limits, span.name(), kept, begun);
                let is_exported = match &kept.ring {
                    Some(ring) if !kept.is_sampled() => ring.keep_span(&message.0),
                    _ => true,
                };
                if is_exported {
                    outbox.push(&message.0, 1);
                }
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_writer() {
            return;
        }
        if self.recorder.is_some() {
            match self.filter.fate(event, &context) {
                Fate::Written => {}
                Fate::Recorded(place) => return self.record(event, &place, &context),
                Fate::Forgotten => return,
            }
        }
        let origin = Origin::of(event);
        let limit = self.limit.as_ref();
        // The line of a request is that of many places in the service.
        let limit = limit.filter(|_| origin.target() != http::TARGET);
        let suppressed = match limit {
            None => 0,
            Some(limit) => match limit.admit(origin.place(), clock::second()) {
                Some(suppressed) => suppressed,
                None => return,
            },
        };
        with_scratch(|scratch, fields| {
            self.begin(scratch, *origin.level());
            if suppressed > 0 {
                fields.add_number(SUPPRESSED, suppressed);
                self.add_own(scratch, fields);
                fields.clear();
            }
            event.record(&mut fields.recorder(&self.keys, Of::event(&origin)));
            if origin.is_own() {
                self.add_own(scratch, fields);
            } else {
                self.add(scratch, fields);
            }
            let mut function = None;
            let mut ids = Ids::default();
            let mut is_in_call = false;
            for span in context.event_scope(event).into_iter().flatten() {
                function = function.or_else(|| Some(span.metadata().name()));
                let extensions = span.extensions();
                let Some(kept) = extensions.get::<Kept>() else {
                    continue;
                };
                ids.trace = ids.trace.or_else(|| kept.ids.as_ref()?.trace);
                if ids.correlation.is_none() {
                    ids.correlation = kept.request_id().cloned();
                }
                if kept.of == self.keys.log() {
                    self.add_span(scratch, kept, &mut is_in_call);
                }
            }
            ids.fill_up(Correlation::current);
            let said = Said {
                origin: &origin,
                at: clock::now(),
                message: fields.message(),
                function,
                ids: &ids,
            };
            self.say(scratch, said);
        });
    }
}

impl TelemetryLayer {
    /// Keeps an event until the request that it belongs to has ended.
    fn record<S>(&self, event: &Event<'_>, place: &Place, context: &Context<'_, S>)
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
            let of = Of::event(&recorded.origin);
            event.record(&mut fields.recorder(&self.keys, of));
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
                let Some(kept) = extensions.get::<Kept>() else {
                    continue;
                };
                if kept.is_request {
                    // Its fields and its ids are added when they are known.
                    if let Some(ring) = &kept.ring {
                        ring.keep(recorded, fields);
                    }
                    return;
                }
                let trace = kept.ids.as_ref().and_then(|ids| ids.trace);
                recorded.trace = recorded.trace.or(trace);
                fields.fill_up(&self.keys, &kept.fields);
            }
        });
    }

    /// Writes what was kept of a request.
    fn say_recorded<'a, S: LookupSpan<'a>>(&self, request: &SpanRef<'a, S>) {
        let Some(ring) = ring_of(request) else {
            return;
        };
        let (events, gone) = ring.take();
        let ids = |trace: Option<TraceParent>| {
            let extensions = request.extensions();
            let ids = extensions.get::<Kept>().and_then(|kept| kept.ids.clone());
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
                self.begin(scratch, *event.origin.level());
                self.add_own(scratch, own);
                self.add(scratch, fields);
                if let Some(kept) = request.extensions().get::<Kept>() {
                    self.add_span(scratch, kept, &mut fields.is_of_request());
                }
                let said = Said {
                    origin: &event.origin,
                    at: event.at,
                    message: fields.message(),
                    function: Some(event.function),
                    ids: &ids(event.trace),
                };
                self.say(scratch, said);
            }
        });
        #[cfg(feature = "otlp")]
        if let Some(outbox) = self
            .exporter
            .as_deref()
            .and_then(|all| all.traces.as_deref())
        {
            for span in ring.take_spans() {
                outbox.push(&span, 1);
            }
        }
    }
}

fn ring_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Arc<Ring>> {
    span.extensions().get::<Kept>()?.ring.clone()
}

impl fmt::Debug for TelemetryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLayer")
            .field("style", &self.first.style)
            .finish_non_exhaustive()
    }
}
