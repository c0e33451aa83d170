//! What is made of an event: a line, which is written, kept, and exported.

use std::cell::Cell;
use std::time::SystemTime;

use tracing::Level;

use crate::fields::Fields;
use crate::layer::TelemetryLayer;
use crate::line::{Ids, Line, Source};
use crate::origin::Origin;
#[cfg(feature = "otlp")]
use crate::otlp::Attributes;
use crate::span::Kept;

/// What a line is made of. It is taken out while it is in use, since a field that is formatted may log itself.
#[derive(Default)]
pub(crate) struct Scratch {
    line: Line,
    /// The lines of further outputs; with whether they want the event's level.
    others: Vec<(bool, Line)>,
    #[cfg(feature = "otlp")]
    attributes: Attributes,
}

/// What a line says besides its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) origin: &'a Origin<'a>,
    pub(crate) at: SystemTime,
    /// It is escaped.
    pub(crate) message: &'a str,
    pub(crate) function: Option<&'static str>,
    pub(crate) ids: &'a Ids,
}

thread_local! {
    /// Boxed, since it is taken out and put back for each event.
    static SCRATCH: Cell<Option<Box<(Scratch, Fields)>>> = const { Cell::new(None) };
}

/// Calls a function with what this thread keeps its memory in.
pub(crate) fn with_scratch(function: impl FnOnce(&mut Scratch, &mut Fields)) {
    let taken = SCRATCH.try_with(Cell::take);
    let mut taken = taken.ok().flatten().unwrap_or_default();
    let (scratch, fields) = &mut *taken;
    fields.clear();
    function(scratch, fields);
    // On a thread that is being torn down there is no place for it any more.
    let _ = SCRATCH.try_with(|place| place.set(Some(taken)));
}

impl TelemetryLayer {
    /// Begins a line.
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

    /// Adds the fields whose keys the line doesn't have yet.
    pub(crate) fn add(&self, scratch: &mut Scratch, fields: &Fields) {
        self.add_of(scratch, fields, Source::Application);
    }

    /// Adds fields that the library has logged.
    pub(crate) fn add_own(&self, scratch: &mut Scratch, fields: &Fields) {
        self.add_of(scratch, fields, Source::Library);
    }

    /// Adds the fields of a span. `is_in_call` says whether the line has those of a request or call
    /// within this span, and this span's are then added to it.
    pub(crate) fn add_span(&self, scratch: &mut Scratch, span: &Kept, is_in_call: &mut bool) {
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
            return scratch.line.add(style, &self.keys, fields, source, also);
        }
        let line = &mut scratch.line;
        line.add(style, &self.keys, fields, source, |_, _| {});
    }

    /// Ends the line, and sends it on its ways.
    pub(crate) fn say(&self, scratch: &mut Scratch, said: Said<'_>) {
        for ((is_wanted, line), sink) in scratch.others.iter_mut().zip(&*self.others) {
            if *is_wanted {
                line.finish(&sink.style, &said);
                sink.queue.push(line.parts());
            }
        }
        scratch.line.finish(&self.first.style, &said);
        let parts = scratch.line.parts();
        if self.first.wants(*said.origin.level()) {
            self.first.queue.push(parts);
        }
        if let Some(capture) = &self.capture {
            capture.keep(&said, parts);
        }
        #[cfg(feature = "otlp")]
        if let Some(records) = self.exporter.as_deref().and_then(|all| all.logs.as_ref()) {
            records.push(&said, &mut scratch.attributes);
        }
    }
}
