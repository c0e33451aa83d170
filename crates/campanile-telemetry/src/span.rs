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

/// The data of a span, in its extensions.
#[derive(Debug)]
pub(crate) struct SpanData {
    /// The number of the telemetry that owns the data. Another telemetry may redact other values.
    pub(crate) of: usize,
    pub(crate) fields: Fields,
    /// Whether the span describes a request or call, by its `otel.kind`.
    pub(crate) has_kind: bool,
    /// The fields of [`note`](crate::note), for the OpenTelemetry span.
    #[cfg(feature = "otel")]
    pub(crate) noted: Vec<(&'static str, FieldValue)>,
    /// Whether the span belongs to a recorded request itself.
    pub(crate) is_request: bool,
    /// Whether `HttpSpans` made the span.
    pub(crate) is_http: bool,
    /// The trace and span id, and the correlation id at the start of the span. Lines take the
    /// correlation id from spans of requests only, since another span may outlive its task.
    pub(crate) ids: Option<Ids>,
    /// The recording of the request that the span belongs to.
    pub(crate) ring: Option<Arc<Ring>>,
    /// The correlation id of the request, if it differed from the current one when the span
    /// started.
    #[cfg(feature = "otlp")]
    pub(crate) foreign_id: Option<CorrelationId>,
    /// The name that was set after the start of the span.
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

    /// Returns the correlation id, if this is the span of a request.
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

/// Calls a function with the data of a span.
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

/// Returns the trace context of a span, if it has an OpenTelemetry span.
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
