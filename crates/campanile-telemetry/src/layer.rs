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
use crate::queue::Queue;

/// A [`Layer`] that writes a line for each event; from [`Telemetry::layer`](crate::Telemetry::layer).
///
/// It needs a subscriber that keeps spans, as `tracing_subscriber::registry()` does. There is one to a subscriber: of two, the second has
/// no fields of spans.
#[derive(Clone)]
pub struct LogLayer {
    pub(crate) style: Arc<Style>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) capture: Option<Capture>,
}

/// What a line is made of. It is taken out while it is in use, since a field that is formatted may log itself.
#[derive(Default)]
struct Scratch {
    fields: Fields,
    line: Line,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::of(self.keys.log());
        attributes.record(&mut fields.recorder(&self.keys, Of::Span));
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Fields>().is_none() {
            extensions.insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        // What is formatted may log, which reads the span: so not under its lock.
        let mut fields = Fields::default();
        values.record(&mut fields.recorder(&self.keys, Of::Span));
        if let Some(all) = span.extensions_mut().get_mut::<Fields>()
            && all.log == self.keys.log()
        {
            all.take_up(&fields);
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
        let mut scratch = SCRATCH
            .try_with(|scratch| {
                scratch
                    .try_borrow_mut()
                    .map(|mut scratch| std::mem::take(&mut *scratch))
            })
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default();
        self.write(event, &context, suppressed, &mut scratch);
        // On a thread that is being torn down there is no place for it any more.
        let _ = SCRATCH.try_with(|place| place.try_borrow_mut().map(|mut place| *place = scratch));
    }
}

impl LogLayer {
    fn write<S>(
        &self,
        event: &Event<'_>,
        context: &Context<'_, S>,
        suppressed: u64,
        scratch: &mut Scratch,
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Scratch { fields, line } = scratch;
        fields.clear();
        line.clear();
        if suppressed > 0 {
            fields.add_number("suppressed", suppressed);
        }
        event.record(&mut fields.recorder(&self.keys, Of::Event));
        line.add(&self.style, &self.keys, fields);
        let mut function = None;
        let mut ids = None::<Ids>;
        if let Some(scope) = context.event_scope(event) {
            for span in scope {
                function = function.or_else(|| Some(span.metadata().name()));
                let extensions = span.extensions();
                if ids.is_none() {
                    ids = extensions.get::<Ids>().cloned();
                }
                if let Some(fields) = extensions.get::<Fields>()
                    && fields.log == self.keys.log()
                {
                    line.add(&self.style, &self.keys, fields);
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
    }
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}
