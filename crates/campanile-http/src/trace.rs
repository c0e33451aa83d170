use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The trace that an exchange belongs to: what an observer of traces leaves in the request's extensions
/// ([`Head::extensions_mut`](crate::Head::extensions_mut)), and an observer of metrics, further back in the tuple, reads.
///
/// It is displayed as 32 hexadecimal digits, as in `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceRef {
    /// As bytes, which need no alignment: an exchange carries this from its future into its body.
    trace_id: [u8; 16],
    /// All 0 if it is not known.
    span_id: [u8; 8],
    is_sampled: bool,
}

impl TraceRef {
    /// Returns a reference to a trace; W3C Trace Context allows no id that is 0.
    pub fn new(trace_id: NonZeroU128, is_sampled: bool) -> Self {
        Self {
            trace_id: trace_id.get().to_be_bytes(),
            span_id: [0; 8],
            is_sampled,
        }
    }

    /// Sets the id of the exchange's span in the trace.
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

    /// Returns the id of the exchange's span, if it is known.
    pub fn span_id(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(u64::from_be_bytes(self.span_id))
    }

    /// Returns whether the trace is recorded.
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
