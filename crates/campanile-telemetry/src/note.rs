use tracing::span::Id;
use tracing::{Dispatch, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

pub(crate) use crate::field_value::FieldValue;
use crate::layer::TelemetryLayer;
use crate::span::SpanData;

/// Adds a field to the span of the nearest request that the current span is in. The line of the request has it, and so have the lines
/// that follow within the request, and the span that is exported.
///
/// A later value of a key replaces an earlier one. Values are redacted by their keys as others are. A request has at most 64 fields; a new
/// key is then ignored. Returns whether the field was added: not if there is no request, or if the
/// [filter](crate::Telemetry::filter) wants no span of it.
///
/// ```
/// use campanile_telemetry::note;
///
/// // In a handler, or in what it calls:
/// note("user.id", 7_u64);
/// note("cache", "miss");
/// ```
pub fn note(key: &'static str, value: impl Into<FieldValue>) -> bool {
    note_in(&Span::current(), key, &value.into())
}

/// The limit of the fields of a request.
const MAX_FIELDS: usize = 64;

/// Adds a field to the nearest request's span, from a span outwards.
pub(crate) fn note_in(span: &Span, key: &'static str, value: &FieldValue) -> bool {
    let added = span.with_subscriber(|(id, dispatch)| note_at(id, dispatch, key, value));
    added.flatten().unwrap_or_default()
}

/// Adds a field; returns whether it did.
fn note_at(id: &Id, dispatch: &Dispatch, key: &'static str, value: &FieldValue) -> Option<bool> {
    let layer = dispatch.downcast_ref::<TelemetryLayer>()?;
    let registry = dispatch.downcast_ref::<Registry>()?;
    let is_request = |kept: &SpanData| kept.is_http && kept.of == layer.keys.log();
    let mut spans = registry.span(id)?.scope();
    let request = spans.find(|span| span.extensions().get::<SpanData>().is_some_and(is_request))?;
    let mut extensions = request.extensions_mut();
    let kept = extensions.get_mut::<SpanData>()?;
    let is_added = kept.fields.note(&layer.keys, key, value, MAX_FIELDS);
    // The span gets it at its end: OpenTelemetry keeps each value of a key.
    #[cfg(feature = "otel")]
    if is_added {
        match kept.noted.iter_mut().find(|(noted, _)| *noted == key) {
            Some((_, noted)) => *noted = value.clone(),
            None => kept.noted.push((key, value.clone())),
        }
    }
    Some(is_added)
}
