use campanile_correlation::TraceParent;
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::fields::Fields;
use crate::line::Ids;

/// What is kept of a span, in its extensions.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Which telemetry keeps it: another may hide other values.
    pub(crate) of: usize,
    pub(crate) fields: Fields,
    /// What the request that it belongs to is known by, and its own place in the trace if traces are exported.
    pub(crate) ids: Option<Ids>,
    /// `None` for a span that is not exported.
    #[cfg(feature = "otlp")]
    pub(crate) begun: Option<crate::otlp::Begun>,
}

impl Kept {
    pub(crate) fn new(of: usize, fields: Fields) -> Self {
        Self {
            of,
            fields,
            ids: None,
            #[cfg(feature = "otlp")]
            begun: None,
        }
    }
}

/// Calls a function with what is kept of a span.
pub(crate) fn with_kept<T>(span: &Span, function: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let mut extensions = span.extensions_mut();
        extensions.get_mut::<Kept>().map(function)
    });
    found.flatten()
}

/// Returns the place of a span in its trace, if it has one of its own.
pub(crate) fn place_of(span: &Span) -> Option<TraceParent> {
    with_kept(span, |kept| kept.ids.as_ref()?.trace).flatten()
}
