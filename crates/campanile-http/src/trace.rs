use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The trace and the span of an HTTP exchange.
///
/// A tracing observer inserts it into the
/// [request's extensions](crate::RequestHead::extensions_mut). A metrics observer after it in the
/// tuple reads it for exemplars.
///
/// `Display` writes the trace id as 32 hexadecimal digits, as in `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceRef {
    // Bytes need no alignment, which keeps the state of a request small.
    trace_id: [u8; 16],
    // All zeros: unknown.
    span_id: [u8; 8],
    is_sampled: bool,
}

impl TraceRef {
    /// Creates a reference to a trace. W3C Trace Context allows no trace id 0.
    pub fn new(trace_id: NonZeroU128, is_sampled: bool) -> Self {
        Self {
            trace_id: trace_id.get().to_be_bytes(),
            span_id: [0; 8],
            is_sampled,
        }
    }

    /// Sets the id of the request's span in the trace.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn with_span(mut self, span_id: NonZeroU64) -> Self {
        self.span_id = span_id.get().to_be_bytes();
        self
    }

    /// Returns the trace's id.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace_id)
    }

    /// Returns the id of the request's span, or `None` if it is unknown.
    pub fn span_id(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(u64::from_be_bytes(self.span_id))
    }

    /// Returns whether the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

impl fmt::Display for TraceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_is_optional() {
        let trace = TraceRef::new(NonZeroU128::MAX, true);
        assert_eq!(trace.span_id(), None);
        let span = NonZeroU64::new(0xb7ad_6b71_6920_3331).unwrap();
        let placed = trace.with_span(span);
        assert_eq!(placed.span_id(), Some(span));
        assert_eq!((placed.trace_id(), placed.is_sampled()), (u128::MAX, true));
        assert_eq!(placed.to_string(), trace.to_string());
    }
}
