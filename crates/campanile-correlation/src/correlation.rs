use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::limit::once_a_minute;
use crate::trace_state::trimmed;
use crate::{Baggage, CorrelationId, TraceParent, TraceState};

/// What a task carries of the request that it works for: its id, its place in a trace, and its baggage.
///
/// A clone shares all texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    id: Option<CorrelationId>,
    /// `None` for a request that brought neither.
    remote: Option<Arc<Remote>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Remote {
    trace: Option<TraceContext>,
    /// The parent that the request came with, whatever the place in the trace is now.
    inbound: Option<TraceParent>,
    baggage: Baggage,
}

/// Which headers a request may have.
#[derive(Clone, Copy)]
pub(crate) struct ContextPresence {
    pub(crate) parent: bool,
    pub(crate) state: bool,
    pub(crate) baggage: bool,
}

/// A place in a trace, and what tracing systems keep in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The place.
    pub parent: TraceParent,
    /// What tracing systems keep.
    pub state: TraceState,
}

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

impl TraceContext {
    /// Returns a place in a trace in which nothing is kept.
    #[must_use]
    pub fn new(parent: TraceParent, state: TraceState) -> Self {
        Self { parent, state }
    }

    /// Reads the headers `traceparent` and `tracestate`. There is nothing without exactly one `traceparent` that is valid; a `tracestate`
    /// that is not is discarded.
    #[must_use]
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        Self::of_headers(headers, true)
    }

    /// `has_state` says whether there may be a `tracestate`.
    fn of_headers(headers: &HeaderMap, has_state: bool) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            tracing::debug!(error = "more than one line", "traceparent_rejected");
            return None;
        }
        // What is around a value is not part of it; not every server takes it away.
        let parent = TraceParent::parse(trimmed(parent.as_bytes()));
        let parent = parent.inspect_err(|error| tracing::debug!(%error, "traceparent_rejected"));
        let state = || TraceState::from_headers(&headers.get_all(TRACESTATE));
        let state = has_state.then(state).transpose();
        let state = state.inspect_err(|error| tracing::debug!(%error, "tracestate_rejected"));
        let state = state.unwrap_or_default().unwrap_or_default();
        Some(Self::new(parent.ok()?, state))
    }
}

impl Correlation {
    /// Returns what is carried, if anything is, besides an id. Headers that are not there are not looked for.
    pub(crate) fn extract(headers: &HeaderMap, presence: ContextPresence) -> Self {
        let trace = match presence.parent {
            true => TraceContext::of_headers(headers, presence.state),
            false => None,
        };
        let (baggage, left_out) = match presence.baggage {
            true => Baggage::from_headers(&headers.get_all(BAGGAGE)),
            false => (Baggage::default(), false),
        };
        if left_out {
            once_a_minute(|| {
                tracing::warn!(
                    "a request's baggage was malformed, or too much, and was kept in part: there may be others like it"
                );
            });
        }
        let has_any = trace.is_some() || !baggage.is_empty();
        Self {
            id: None,
            remote: has_any.then(|| {
                let inbound = trace.as_ref().map(|trace| trace.parent);
                let remote = Remote {
                    trace,
                    inbound,
                    baggage,
                };
                remote.into()
            }),
        }
    }

    /// Returns the id; `None` outside of a request.
    #[must_use]
    pub fn id(&self) -> Option<&CorrelationId> {
        self.id.as_ref()
    }

    /// Returns the place in a trace: what the request brought along, or what was [set](Self::with_trace) since.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.remote.as_ref()?.trace.as_ref()
    }

    /// Returns the place in a trace that the request came with: its `traceparent`, if the layer has taken it up. `None` outside of a request
    /// and for a request without one.
    #[must_use]
    pub fn inbound(&self) -> Option<TraceParent> {
        self.remote.as_ref()?.inbound
    }

    /// Returns the baggage, or `None` if there is none.
    #[must_use]
    pub fn baggage(&self) -> Option<&Baggage> {
        let remote = self.remote.as_deref()?;
        Some(&remote.baggage).filter(|baggage| !baggage.is_empty())
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(self, id: CorrelationId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Sets the place in a trace, which is what a request to somebody else then comes from.
    #[must_use]
    pub fn with_trace(mut self, trace: TraceContext) -> Self {
        let remote = self.remote.get_or_insert_default();
        Arc::make_mut(remote).trace = Some(trace);
        self
    }

    /// Sets the baggage.
    #[must_use]
    pub fn with_baggage(mut self, baggage: Baggage) -> Self {
        let remote = self.remote.get_or_insert_default();
        Arc::make_mut(remote).baggage = baggage;
        self
    }
}

impl From<CorrelationId> for Correlation {
    fn from(id: CorrelationId) -> Self {
        Self::default().with_id(id)
    }
}
