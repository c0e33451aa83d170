use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use campanile_correlation::Correlation;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::capture::Capture;
use crate::clock;
use crate::fields::{Fields, Of};
use crate::keys::Keys;
use crate::limit::Limit;
use crate::line::{Ids, Line, Style};
#[cfg(feature = "otlp")]
use crate::otlp::{self, Attributes as RecordAttributes, Exporter, Wire};
use crate::queue::Queue;
use crate::span::Kept;

/// A [`Layer`] that writes a line for each event, and exports lines and spans where that is asked for; from
/// [`Telemetry::layer`](crate::Telemetry::layer).
///
/// It needs a subscriber that keeps spans, as `tracing_subscriber::registry()` does. There is one to a subscriber: of two, the second has
/// no fields of spans.
#[derive(Clone)]
pub struct TelemetryLayer {
    pub(crate) style: Arc<Style>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) capture: Option<Capture>,
    #[cfg(feature = "otlp")]
    pub(crate) exporter: Option<Arc<Exporter>>,
}

/// What a line is made of. It is taken out while it is in use, since a field that is formatted may log itself.
#[derive(Default)]
struct Scratch {
    fields: Fields,
    line: Line,
    #[cfg(feature = "otlp")]
    attributes: RecordAttributes,
    #[cfg(feature = "otlp")]
    message: Wire,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TelemetryLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields.recorder(&self.keys, Of::Span));
        #[cfg_attr(
            not(feature = "otlp"),
            expect(unused_mut, reason = "exports have more")
        )]
        let mut kept = Kept::new(self.keys.log(), fields);
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
    }

    #[cfg(feature = "otlp")]
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(outbox) = self
            .exporter
            .as_deref()
            .and_then(|all| all.traces.as_deref())
        else {
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
            with_scratch(|scratch| {
                scratch.message.clear();
                otlp::span(&mut scratch.message, &self.keys, span.name(), kept, begun);
                outbox.push(&scratch.message.0, 1);
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let suppressed = match &self.limit {
            None => 0,
            Some(limit) => {
                let place = std::ptr::from_ref(event.metadata()).addr();
                match limit.admit(place, clock::second()) {
                    Some(suppressed) => suppressed,
                    None => return,
                }
            }
        };
        with_scratch(|scratch| self.write(event, &context, suppressed, scratch));
    }
}

fn with_scratch(function: impl FnOnce(&mut Scratch)) {
    let taken = SCRATCH.try_with(|scratch| {
        let scratch = scratch.try_borrow_mut();
        scratch.map(|mut scratch| std::mem::take(&mut *scratch))
    });
    let mut scratch = taken.ok().and_then(Result::ok).unwrap_or_default();
    function(&mut scratch);
    // On a thread that is being torn down there is no place for it any more.
    let _ = SCRATCH.try_with(|place| place.try_borrow_mut().map(|mut place| *place = scratch));
}

impl TelemetryLayer {
    fn write<S>(
        &self,
        event: &Event<'_>,
        context: &Context<'_, S>,
        suppressed: u64,
        scratch: &mut Scratch,
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Scratch { fields, line, .. } = scratch;
        fields.clear();
        line.clear();
        #[cfg(feature = "otlp")]
        let outbox = self.exporter.as_deref().and_then(|all| all.logs.as_deref());
        #[cfg(feature = "otlp")]
        let attributes = &mut scratch.attributes;
        #[cfg(feature = "otlp")]
        attributes.clear();
        let mut also = |_key: &'static str, _value: &str| {
            #[cfg(feature = "otlp")]
            if outbox.is_some() {
                attributes.add(_key, _value);
            }
        };
        if suppressed > 0 {
            fields.add_number("suppressed", suppressed);
        }
        event.record(&mut fields.recorder(&self.keys, Of::Event));
        line.add(&self.style, &self.keys, fields, &mut also);
        let mut function = None;
        let mut ids = None::<Ids>;
        if let Some(scope) = context.event_scope(event) {
            for span in scope {
                function = function.or_else(|| Some(span.metadata().name()));
                let extensions = span.extensions();
                let Some(kept) = extensions.get::<Kept>() else {
                    continue;
                };
                if ids.is_none() {
                    ids = kept.ids.clone();
                }
                if kept.of == self.keys.log() {
                    line.add(&self.style, &self.keys, &kept.fields, &mut also);
                }
            }
        }
        let ids = ids.unwrap_or_else(|| Ids::of(&Correlation::current()));
        line.finish(
            &self.style,
            event.metadata(),
            fields.message(),
            function,
            &ids,
        );
        let parts = [line.head.as_str(), &line.tail];
        self.queue.push(parts);
        if let Some(capture) = &self.capture {
            capture.keep(event.metadata(), &ids, parts);
        }
        #[cfg(feature = "otlp")]
        if let Some(outbox) = outbox {
            let message = &mut scratch.message;
            message.clear();
            let text = scratch.fields.message();
            otlp::log_record(message, event.metadata(), text, &scratch.attributes, &ids);
            outbox.push(&message.0, 1);
        }
    }
}

impl fmt::Debug for TelemetryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLayer")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}
