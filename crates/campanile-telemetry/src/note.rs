use tracing::span::Id;
use tracing::{Dispatch, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::field_value::FieldValue;
use crate::layer::TelemetryLayer;
use crate::span::SpanData;

/// Adds a field to the nearest request that the current span belongs to. The span of the request,
/// its line, and all later lines of the request have the field.
///
/// A later value of a key replaces an earlier one. Values are redacted by their keys, as others
/// are. The limit is 64 fields per request; further keys are ignored.
///
/// Returns whether the field was added. It is not if there is no current request, or if the
/// [filter](crate::Telemetry::filter) disables the span of the request.
///
/// ```
/// use campanile_telemetry::note;
///
/// // In a handler, or in a function that it calls:
/// note("user.id", 7_u64);
/// note("cache", "miss");
/// ```
pub fn note(key: &'static str, value: impl Into<FieldValue>) -> bool {
    note_in(&Span::current(), key, &value.into())
}

/// The limit of fields of a request.
const MAX_FIELDS: usize = 64;

/// Adds a field to the nearest request, from a span outwards.
pub(crate) fn note_in(span: &Span, key: &'static str, value: &FieldValue) -> bool {
    let added = span.with_subscriber(|(id, dispatch)| note_at(id, dispatch, key, value));
    added.flatten().unwrap_or_default()
}

/// Adds a field, and returns whether it was added.
fn note_at(id: &Id, dispatch: &Dispatch, key: &'static str, value: &FieldValue) -> Option<bool> {
    let layer = dispatch.downcast_ref::<TelemetryLayer>()?;
    let registry = dispatch.downcast_ref::<Registry>()?;
    let is_request = |kept: &SpanData| kept.is_http && kept.of == layer.keys.log();
    let mut spans = registry.span(id)?.scope();
    let request = spans.find(|span| span.extensions().get::<SpanData>().is_some_and(is_request))?;
    let mut extensions = request.extensions_mut();
    let kept = extensions.get_mut::<SpanData>()?;
    let is_added = kept.fields.note(&layer.keys, key, value, MAX_FIELDS);
    // The OpenTelemetry span gets the field at its end, since it keeps every value of a key.
    #[cfg(feature = "otel")]
    if is_added {
        match kept.noted.iter_mut().find(|(noted, _)| *noted == key) {
            Some((_, noted)) => *noted = value.clone(),
            None => kept.noted.push((key, value.clone())),
        }
    }
    Some(is_added)
}
