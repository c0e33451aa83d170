use std::sync::Arc;

use http::HeaderMap;

use crate::header_presence::{BAGGAGE, HeaderPresence, TRACEPARENT, TRACESTATE};
use crate::limit::once_a_minute;
use crate::trace_state::trimmed;
use crate::{Baggage, CorrelationId, TraceParent, TraceState};

/// The correlation of a request: its id, its trace context and its baggage.
///
/// A clone shares all strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    id: Option<CorrelationId>,
    /// `None` for a request without a trace and baggage.
    remote: Option<Arc<Remote>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Remote {
    trace: Option<TraceContext>,
    /// The `traceparent` of the request. `trace` may have changed since.
    inbound: Option<TraceParent>,
    baggage: Baggage,
}

/// A position in a trace: W3C `traceparent` and `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The trace id, the id of the parent span, and the flags.
    pub parent: TraceParent,
    /// The vendor-specific state.
    pub state: TraceState,
}

impl TraceContext {
    /// Creates a trace context.
    #[must_use]
    pub fn new(parent: TraceParent, state: TraceState) -> Self {
        Self { parent, state }
    }

    /// Reads the headers `traceparent` and `tracestate`.
    ///
    /// Returns `None` unless there is exactly one `traceparent` and it is valid. An invalid
    /// `tracestate` is ignored.
    #[must_use]
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        Self::from_headers(headers, true)
    }

    /// Skips `tracestate` if `has_state` is false.
    fn from_headers(headers: &HeaderMap, has_state: bool) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            tracing::debug!(error = "more than one header line", "rejected traceparent");
            return None;
        }
        // Not every server trims the whitespace around a header value.
        let parent = TraceParent::parse(trimmed(parent.as_bytes()));
        let parent = parent.inspect_err(|error| tracing::debug!(%error, "rejected traceparent"));
        let state = || TraceState::from_headers(&headers.get_all(TRACESTATE));
        let state = has_state.then(state).transpose();
        let state = state.inspect_err(|error| tracing::debug!(%error, "rejected tracestate"));
        let state = state.unwrap_or_default().unwrap_or_default();
        Some(Self::new(parent.ok()?, state))
    }
}

impl Correlation {
    /// Reads the trace and the baggage of a request, without the id.
    pub(crate) fn extract(headers: &HeaderMap, presence: HeaderPresence) -> Self {
        let trace = match presence.parent {
            true => TraceContext::from_headers(headers, presence.state),
            false => None,
        };
        let (baggage, dropped) = match presence.baggage {
            true => Baggage::from_headers(&headers.get_all(BAGGAGE)),
            false => (Baggage::default(), false),
        };
        if dropped {
            once_a_minute(|| {
                tracing::warn!(
                    "dropped part of the baggage of a request: malformed or over the limit; logged once per minute"
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

    /// Returns the correlation id, or `None` outside of a request.
    #[must_use]
    pub fn id(&self) -> Option<&CorrelationId> {
        self.id.as_ref()
    }

    /// Returns the trace context: the one of the request, or the one [set](Self::with_trace) since.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.remote.as_ref()?.trace.as_ref()
    }

    /// Returns the `traceparent` of the request, if the layer has accepted one. `None` outside of a
    /// request.
    #[must_use]
    pub fn inbound(&self) -> Option<TraceParent> {
        self.remote.as_ref()?.inbound
    }

    /// Returns the baggage, or `None` if it is empty.
    #[must_use]
    pub fn baggage(&self) -> Option<&Baggage> {
        let remote = self.remote.as_deref()?;
        Some(&remote.baggage).filter(|baggage| !baggage.is_empty())
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn with_id(self, id: CorrelationId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Sets the trace context. It is the parent of outgoing requests.
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
