use std::fmt;
use std::num::NonZeroU128;

/// The trace that an exchange belongs to: what an observer of traces leaves in the request's extensions
/// ([`Head::extensions_mut`](crate::Head::extensions_mut)), and an observer of metrics, further back in the tuple, reads.
///
/// It is displayed as 32 hexadecimal digits, as in `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceRef {
    /// As bytes, which need no alignment: an exchange carries this from its future into its body.
    trace_id: [u8; 16],
    is_sampled: bool,
}

impl TraceRef {
    /// Returns a reference to a trace; W3C Trace Context allows no id that is 0.
    pub fn new(trace_id: NonZeroU128, is_sampled: bool) -> Self {
        Self {
            trace_id: trace_id.get().to_be_bytes(),
            is_sampled,
        }
    }

    /// Returns the trace's id.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace_id)
    }

    /// Returns whether the trace is recorded, so that somebody may look at it.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

impl fmt::Display for TraceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id())
    }
}
