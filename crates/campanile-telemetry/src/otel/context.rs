//! OpenTelemetry contexts and trace contexts of the crate `campanile-correlation`.

use std::borrow::Borrow;
use std::cell::Cell;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;

use campanile_correlation::{Correlation, TraceContext, TraceParent, TraceState};
use opentelemetry::Context;
use opentelemetry::trace::{self, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};

use crate::recorder::Ring;

/// The recording of the request that a context belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Recording(pub(crate) Arc<Ring>);

/// The flag for random ids in W3C Trace Context, level 2.
const RANDOM: u8 = 1 << 1;

/// Returns the span context of a remote parent.
pub(super) fn remote(trace: &TraceContext) -> SpanContext {
    let TraceContext { parent, state, .. } = trace;
    let flags = u8::from(parent.is_sampled()) | if parent.is_random() { RANDOM } else { 0 };
    let state = match state.is_empty() {
        true => trace::TraceState::NONE,
        // The crate `campanile-correlation` accepts valid states only.
        false => trace::TraceState::from_key_value(state.iter()).unwrap_or_default(),
    };
    SpanContext::new(
        TraceId::from(parent.trace_id().get()),
        SpanId::from(parent.parent_id().get()),
        TraceFlags::new(flags),
        true,
        state,
    )
}

/// Returns the trace and span id of a span; `None` if it has none.
pub(crate) fn place(span: &SpanContext) -> Option<TraceParent> {
    let trace_id = NonZeroU128::new(u128::from_be_bytes(span.trace_id().to_bytes()))?;
    let parent_id = NonZeroU64::new(u64::from_be_bytes(span.span_id().to_bytes()))?;
    let is_random = span.trace_flags().to_u8() & RANDOM != 0;
    let place = TraceParent::new(trace_id, parent_id);
    Some(place.sampled(span.is_sampled()).random(is_random))
}

/// Returns the trace context of a span.
///
/// The SDK drops the flag for random ids of some spans. The task may still have it.
pub(crate) fn trace_context(span: &SpanContext) -> Option<TraceContext> {
    trace_context_in(span, Correlation::current)
}

/// Does the same. `current` returns the correlation of the task, and is called only for the flag.
pub(crate) fn trace_context_in<C: Borrow<Correlation>>(
    span: &SpanContext,
    current: impl FnOnce() -> C,
) -> Option<TraceContext> {
    let state = span.trace_state().header();
    let state = match state.is_empty() {
        true => TraceState::default(),
        false => TraceState::parse([state.as_bytes()]).unwrap_or_default(),
    };
    let place = place(span)?;
    let is_random = place.is_random() || {
        let current = current();
        let current = current.borrow().trace().map(|trace| trace.parent);
        current.is_some_and(|current| current.is_random() && current.trace_id() == place.trace_id())
    };
    Some(TraceContext::new(place.random(is_random), state))
}

/// Returns the recording of the current request.
pub(crate) fn recording() -> Option<Arc<Ring>> {
    Context::map_current(|context| {
        let recording = context.get::<Recording>()?;
        (!recording.0.has_ended()).then(|| Arc::clone(&recording.0))
    })
}

/// Returns the trace and span id of the current span.
pub(crate) fn current() -> Option<TraceParent> {
    Context::map_current(|context| place(context.span().span_context()))
}

/// Returns the context of the parent of a request span. `None` is the current context.
///
/// A local span in the trace of the request is nearer than the remote parent of the request.
pub(crate) fn parent_of_request(correlation: &Correlation) -> Option<Context> {
    let inbound = correlation.trace();
    Context::map_current(|context| {
        let span = context.span();
        let active = span.span_context();
        let inbound = inbound?;
        let trace_id = TraceId::from(inbound.parent.trace_id().get());
        let is_nearer = active.is_valid() && active.trace_id() == trace_id;
        (!is_nearer).then(|| {
            let context = context.with_remote_span_context(remote(inbound));
            match inbound.parent.is_undecided() {
                true => {
                    let parent = context.span().span_context().clone();
                    context.with_value(Undecided(parent.trace_id(), parent.span_id()))
                }
                false => context,
            }
        })
    })
}

/// The remote parent that the spans of a context continue.
#[derive(Debug)]
struct Continued(TraceId, SpanId);

/// Returns a context in which spans continue a remote parent.
pub(super) fn continued(context: &Context, parent: SpanContext) -> Context {
    let value = Continued(parent.trace_id(), parent.span_id());
    let context = context.with_value(value);
    context.with_remote_span_context(parent)
}

/// Returns whether the local span of a context continues a remote parent.
pub(super) fn continues(context: &Context, parent: &SpanContext) -> bool {
    let span = context.span();
    let active = span.span_context();
    let ids = (parent.trace_id(), parent.span_id());
    // The context of a request has no such value, since that would cost every request.
    let is_of_request = || {
        let inbound = Correlation::current().inbound();
        inbound.is_some_and(|inbound| {
            let trace_id = TraceId::from(inbound.trace_id().get());
            (trace_id, SpanId::from(inbound.parent_id().get())) == ids
        })
    };
    active.trace_id() == ids.0
        && !active.is_remote()
        && (context
            .get::<Continued>()
            .is_some_and(|continued| (continued.0, continued.1) == ids)
            || is_of_request())
}

/// A remote parent on which no sampler has decided.
#[cfg_attr(
    not(feature = "otlp"),
    expect(dead_code, reason = "only our sampler reads it")
)]
#[derive(Debug)]
struct Undecided(TraceId, SpanId);

/// Returns whether a sampler has decided on the parent that a context has.
#[cfg(feature = "otlp")]
pub(crate) fn is_decided(context: &Context) -> bool {
    let span = context.span();
    let parent = span.span_context();
    context
        .get::<Undecided>()
        .is_none_or(|undecided| (undecided.0, undecided.1) != (parent.trace_id(), parent.span_id()))
}

thread_local! {
    /// Whether the span that starts now has the correlation id already.
    static HAS_ID: Cell<bool> = const { Cell::new(false) };
}

/// Starts a span with the correlation id among its attributes.
pub(crate) fn with_own_id<T>(begin: impl FnOnce() -> T) -> T {
    let _ = HAS_ID.try_with(|has_id| has_id.set(true));
    let begun = begin();
    let _ = HAS_ID.try_with(|has_id| has_id.set(false));
    begun
}

#[cfg(feature = "otlp")]
pub(crate) fn has_own_id() -> bool {
    HAS_ID.try_with(Cell::get).unwrap_or_default()
}
