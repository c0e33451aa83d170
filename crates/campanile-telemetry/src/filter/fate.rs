//! Which events are written, and which are only recorded.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::{Inner, LogFilter, is_request};
use crate::recorder::Ring;
use crate::span::Kept;

thread_local! {
    /// The last event that is enabled only to be recorded, and where that is done.
    static ONLY_RECORDED: RefCell<Option<(Identifier, Place)>> = const { RefCell::new(None) };
}

/// Where an event is recorded.
pub(crate) struct Place {
    pub(crate) ring: Arc<Ring>,
    /// The name of the request's span, if that is the one that the event is in, and no other below it.
    pub(crate) innermost: Option<&'static str>,
}

impl Place {
    /// Returns where what happens in a span is recorded.
    fn of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Self> {
        let extensions = span.extensions();
        let kept = extensions.get::<Kept>()?;
        let ring = kept.ring.as_ref().filter(|ring| !ring.has_ended())?;
        Some(Self {
            ring: Arc::clone(ring),
            innermost: kept.is_request.then(|| span.name()),
        })
    }
}

/// What becomes of an event.
pub(crate) enum Fate {
    Written,
    Recorded(Place),
    /// The request that it would be recorded for has ended, or it is in none.
    Forgotten,
}

impl LogFilter {
    /// Returns what becomes of an event that comes now.
    pub(crate) fn fate<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Fate
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // Where a host has a filter of its own in place of this, everything is written.
        if self.0.recorded.is_none() || !self.0.is_used.load(Ordering::Relaxed) {
            return Fate::Written;
        }
        let metadata = event.metadata();
        let last = ONLY_RECORDED.try_with(|last| last.try_borrow_mut().ok()?.take());
        if let Some((of, place)) = last.ok().flatten()
            && of == metadata.callsite()
        {
            return Fate::Recorded(place);
        }
        // It is written; unless what was known of it is lost, since values of it have logged in turn.
        let of_record = event.normalized_metadata();
        if self.is_wanted(of_record.as_ref().unwrap_or(metadata), context) {
            return Fate::Written;
        }
        let place = context.event_span(event).and_then(|span| Place::of(&span));
        place.map_or(Fate::Forgotten, Fate::Recorded)
    }
}

impl Inner {
    /// Returns whether something is wanted for the recorder: an event within a request, or the span of a request.
    pub(super) fn records<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(recorded) = &self.recorded else {
            return false;
        };
        if metadata.is_span() {
            return is_request(metadata);
        }
        if !recorded.enabled(metadata, context.clone()) {
            return false;
        }
        let Some(place) = context.lookup_current().and_then(|span| Place::of(&span)) else {
            return false;
        };
        note(Some((metadata.callsite(), place)));
        true
    }
}

/// Notes where an event is recorded that is about to come. On a thread that is being torn down it is looked up.
pub(super) fn note(place: Option<(Identifier, Place)>) {
    let _ = ONLY_RECORDED.try_with(|last| {
        let last = last.try_borrow_mut();
        last.map(|mut last| *last = place)
    });
}
