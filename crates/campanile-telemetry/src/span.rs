use std::sync::Arc;

use campanile_correlation::{CorrelationId, TraceContext};
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::event::Ids;
#[cfg(feature = "otel")]
use crate::field_value::FieldValue;
use crate::fields::Fields;
use crate::recorder::Ring;

/// What is kept of a span, in its extensions.
#[derive(Debug)]
pub(crate) struct SpanData {
    /// Which telemetry keeps it: another may hide other values.
    pub(crate) of: usize,
    pub(crate) fields: Fields,
    /// Whether the span stands for a request or call, by its `otel.kind`.
    pub(crate) has_kind: bool,
    /// What is noted of a request, for its OpenTelemetry span.
    #[cfg(feature = "otel")]
    pub(crate) noted: Vec<(&'static str, FieldValue)>,
    /// Whether it is the span of a request that is recorded.
    pub(crate) is_request: bool,
    /// Whether `HttpSpans` has made it.
    pub(crate) is_http: bool,
    /// Its place in the trace, and the correlation id that it began with. Only the id of a request's span is that of its lines: another
    /// span may outlive what it began with.
    pub(crate) ids: Option<Ids>,
    /// What is recorded of the request that it belongs to, if anything is.
    pub(crate) ring: Option<Arc<Ring>>,
    /// The correlation id of the request that it belongs to, if it began where another is current.
    #[cfg(feature = "otlp")]
    pub(crate) foreign_id: Option<CorrelationId>,
    /// The name that it was given after it began.
    #[cfg(feature = "otel")]
    pub(crate) late_name: Option<Box<str>>,
}

impl SpanData {
    pub(crate) fn new(of: usize, fields: Fields) -> Self {
        Self {
            of,
            has_kind: fields.is_of_request(),
            fields,
            #[cfg(feature = "otel")]
            noted: Vec::new(),
            is_request: false,
            is_http: false,
            ids: None,
            ring: None,
            #[cfg(feature = "otlp")]
            foreign_id: None,
            #[cfg(feature = "otel")]
            late_name: None,
        }
    }

    /// Returns the correlation id of the request, if it is the span of one that has an id.
    pub(crate) fn request_id(&self) -> Option<&CorrelationId> {
        let ids = self.ids.as_ref().filter(|_| self.is_http)?;
        ids.correlation.as_ref()
    }
}

/// Returns the correlation id of the nearest request, from a span outwards.
pub(crate) fn nearest_request<'a, S: LookupSpan<'a>>(
    span: &SpanRef<'a, S>,
) -> Option<CorrelationId> {
    span.scope().find_map(|span| {
        let extensions = span.extensions();
        extensions.get::<SpanData>()?.request_id().cloned()
    })
}

/// Calls a function with what is kept of a span.
pub(crate) fn with_span_data<T>(
    span: &Span,
    function: impl FnOnce(&mut SpanData) -> T,
) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let mut extensions = span.extensions_mut();
        extensions.get_mut::<SpanData>().map(function)
    });
    found.flatten()
}

/// Returns the place of a span in its trace, if it has one of its own.
pub(crate) fn place_of(span: &Span) -> Option<TraceContext> {
    #[cfg(feature = "otel")]
    {
        let context = tracing_opentelemetry::OpenTelemetrySpanExt::context(span);
        let span = opentelemetry::trace::TraceContextExt::span(&context);
        crate::otel::trace_context(span.span_context())
    }
    #[cfg(not(feature = "otel"))]
    {
        let _ = span;
        None
    }
}

pub(crate) use self::{SpanData as Kept, with_span_data as with_kept};
