use std::num::{NonZeroU64, NonZeroU128};

use campanile_correlation::TraceParent;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

/// Generates trace and span ids as the crate `campanile-correlation` does.
#[derive(Debug)]
pub(super) struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(TraceParent::generate().trace_id().get())
    }

    fn new_span_id(&self) -> SpanId {
        let place = TraceParent::new(NonZeroU128::MIN, NonZeroU64::MIN);
        SpanId::from(place.child().parent_id().get())
    }
}
