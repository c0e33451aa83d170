//! The decision about one event, and its hand-over from the filter to the layer.

use std::cell::RefCell;
use std::sync::Arc;

use tracing::callsite::Identifier;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::recorder::Ring;
use crate::span::SpanData;

/// What the layer does with an event.
pub(crate) enum Disposition {
    Write,
    Record(RecordingSite),
    /// Nothing: the request that it would be recorded for has ended, or it belongs to none.
    Discard,
}

/// The recording that an event is added to.
pub(crate) struct RecordingSite {
    pub(crate) ring: Arc<Ring>,
    /// The name of the request's span, if it is the innermost span of the event.
    pub(crate) innermost: Option<&'static str>,
}

impl RecordingSite {
    /// Returns the recording of the request that a span belongs to.
    pub(super) fn of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Self> {
        let extensions = span.extensions();
        let kept = extensions.get::<SpanData>()?;
        let ring = kept.ring.as_ref().filter(|ring| !ring.has_ended())?;
        Some(Self {
            ring: Arc::clone(ring),
            innermost: kept.is_request.then(|| span.name()),
        })
    }
}

thread_local! {
    /// The last event that the filter enabled only for the flight recorder.
    static ONLY_RECORDED: RefCell<Option<(Identifier, RecordingSite)>> = const { RefCell::new(None) };
}

/// Stores the recording of an event that the filter has just enabled, or `None` for an event that
/// is written. On a thread that is being torn down, nothing is stored and the layer looks it up.
pub(super) fn announce(event: Option<(Identifier, RecordingSite)>) {
    let _ = ONLY_RECORDED.try_with(|last| {
        let last = last.try_borrow_mut();
        last.map(|mut last| *last = event)
    });
}

/// Returns the recording that was stored for an event of this callsite, and removes it.
pub(super) fn announced(callsite: &Identifier) -> Option<RecordingSite> {
    let last = ONLY_RECORDED.try_with(|last| last.try_borrow_mut().ok()?.take());
    let (announced, place) = last.ok().flatten()?;
    (announced == *callsite).then_some(place)
}
