//! Sends a finished log event to the outputs, the capture buffer and the exporter.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use tracing::Level;

use crate::capture::Capture;
use crate::event::LogEvent;
use crate::fields::Fields;
use crate::line::{Line, Source};
#[cfg(feature = "otlp")]
use crate::otlp::{Attributes, Exporter};
use crate::output::Sink;
use crate::span::SpanData;

/// The buffers of a thread. They are taken out while in use, since formatting a field may log.
#[derive(Default)]
pub(crate) struct Scratch {
    line: Line,
    /// The lines of the other outputs, and whether each output writes this level.
    others: Vec<(bool, Line)>,
    #[cfg(feature = "otlp")]
    attributes: Attributes,
}

thread_local! {
    /// Boxed, since it is moved out and back for each event.
    static SCRATCH: Cell<Option<Box<(Scratch, Fields)>>> = const { Cell::new(None) };
}

/// Calls a function with this thread's buffers.
pub(crate) fn with_scratch(function: impl FnOnce(&mut Scratch, &mut Fields)) {
    let taken = SCRATCH.try_with(Cell::take);
    let mut taken = taken.ok().flatten().unwrap_or_default();
    let (scratch, fields) = &mut *taken;
    fields.clear();
    function(scratch, fields);
    // A thread that is being torn down has no thread-local storage.
    let _ = SCRATCH.try_with(|place| place.set(Some(taken)));
}

/// The destinations of log events: the outputs, the capture buffer and the exporter.
#[derive(Clone)]
pub(crate) struct Emitter {
    /// Dropped before the outputs, since it reports to the log.
    #[cfg(feature = "otlp")]
    pub(crate) exporter: Option<Arc<Exporter>>,
    pub(crate) capture: Option<Capture>,
    pub(crate) first: Sink,
    pub(crate) others: Arc<[Sink]>,
}

impl Emitter {
    /// Starts a line.
    pub(crate) fn begin(&self, scratch: &mut Scratch, level: Level) {
        scratch.line.clear();
        scratch
            .others
            .resize_with(self.others.len(), Default::default);
        for ((is_wanted, line), sink) in scratch.others.iter_mut().zip(&*self.others) {
            *is_wanted = sink.wants(level);
            line.clear();
        }
        #[cfg(feature = "otlp")]
        scratch.attributes.clear();
    }

    /// Adds fields of the application whose keys the line lacks.
    pub(crate) fn add(&self, scratch: &mut Scratch, fields: &Fields) {
        self.add_of(scratch, fields, Source::Application);
    }

    /// Adds fields of the library.
    pub(crate) fn add_own(&self, scratch: &mut Scratch, fields: &Fields) {
        self.add_of(scratch, fields, Source::Library);
    }

    /// Adds the fields of a span. `is_in_call` is whether the line has the fields of a request or
    /// call inside this span; the fields of this span are then taken into account, too.
    pub(crate) fn add_span(&self, scratch: &mut Scratch, span: &SpanData, is_in_call: &mut bool) {
        let source = match *is_in_call && span.has_kind {
            true => Source::OuterRequest,
            false => Source::Application,
        };
        self.add_of(scratch, &span.fields, source);
        *is_in_call |= span.has_kind;
    }

    fn add_of(&self, scratch: &mut Scratch, fields: &Fields, source: Source) {
        for ((is_wanted, line), sink) in scratch.others.iter_mut().zip(&*self.others) {
            if *is_wanted {
                line.add(&sink.style, &sink.keys, fields, source, |_, _| {});
            }
        }
        let style = &self.first.style;
        #[cfg(feature = "otlp")]
        if let Some(records) = self.exporter.as_deref().and_then(|all| all.logs.as_ref()) {
            let attributes = &mut scratch.attributes;
            let also = |key, value: &str| records.add(attributes, key, value);
            return scratch
                .line
                .add(style, &self.first.keys, fields, source, also);
        }
        let line = &mut scratch.line;
        line.add(style, &self.first.keys, fields, source, |_, _| {});
    }

    /// Finishes the line and sends it to its destinations.
    pub(crate) fn emit(&self, scratch: &mut Scratch, event: LogEvent<'_>) {
        for ((is_wanted, line), sink) in scratch.others.iter_mut().zip(&*self.others) {
            if *is_wanted {
                line.finish(&sink.style, &event);
                sink.queue.push(line.parts());
            }
        }
        scratch.line.finish(&self.first.style, &event);
        let parts = scratch.line.parts();
        if self.first.wants(*event.origin.level()) {
            self.first.queue.push(parts);
        }
        if let Some(capture) = &self.capture {
            capture.keep(&event, parts);
        }
        #[cfg(feature = "otlp")]
        if let Some(records) = self.exporter.as_deref().and_then(|all| all.logs.as_ref()) {
            records.push(&event, &mut scratch.attributes);
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("style", &self.first.style)
            .finish_non_exhaustive()
    }
}
