//! What of the subscriber takes part in a request's span.

use std::sync::Arc;

use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use super::trace::{Noted, noted};
use crate::field_value::Fact;
use crate::layer::TelemetryLayer;
#[cfg(feature = "otel")]
use crate::otel::Tracer;
use crate::recorder::FlightRecorder;
use crate::span::SpanData;

/// Adds facts to what is kept of a span, if the subscriber has no layer of the application that would want them. Returns what is noted of the
/// request if it did, and takes that out.
pub(super) fn record_alone<'a>(
    span: &Span,
    facts: impl Iterator<Item = (&'static str, Fact<'a>)>,
) -> Option<Noted> {
    let recorded = span.with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<TelemetryLayer>()?;
        if !layer.is_alone || layer.filter.knows_spans() {
            return None;
        }
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let mut extensions = span.extensions_mut();
        let kept = extensions.get_mut::<SpanData>()?;
        for (key, fact) in facts {
            kept.fields.add_fact(&layer.keys, key, fact);
        }
        Some(noted(kept))
    });
    recorded.flatten()
}

/// What takes part in a request's span.
pub(super) struct Found {
    pub(super) has_no_subscriber: bool,
    pub(super) has_layer: bool,
    pub(super) recorder: Option<Arc<FlightRecorder>>,
    #[cfg(feature = "otel")]
    pub(super) tracer: Option<Tracer>,
}

impl Found {
    pub(super) fn by(dispatch: &Dispatch) -> Self {
        let layer = dispatch.downcast_ref::<TelemetryLayer>();
        Self {
            has_no_subscriber: layer.is_none() && dispatch.is::<NoSubscriber>(),
            has_layer: layer.is_some(),
            recorder: layer.and_then(|layer| layer.recorder.clone()),
            #[cfg(feature = "otel")]
            tracer: layer.and_then(|layer| layer.tracer.clone()),
        }
    }
}
