use campanile_correlation::{TraceContext, TraceState};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;

use super::{remote, trace_context};

/// Reads and writes `traceparent` and `tracestate` as W3C Trace Context, level 2, says.
///
/// The propagator of the SDK takes malformed headers, forgets that an id is random, and writes an empty `tracestate`.
#[derive(Debug)]
pub(crate) struct StrictPropagator {
    fields: [String; 2],
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl StrictPropagator {
    pub(crate) fn new() -> Self {
        Self {
            fields: [TRACEPARENT, TRACESTATE].map(str::to_owned),
        }
    }
}

impl TextMapPropagator for StrictPropagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let Some(TraceContext { parent, state, .. }) = trace_context(context.span().span_context())
        else {
            return;
        };
        injector.set(TRACEPARENT, parent.to_string());
        if state != TraceState::default() {
            injector.set(TRACESTATE, state.as_str().to_owned());
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let mut headers = HeaderMap::new();
        for name in [TRACEPARENT, TRACESTATE] {
            for value in extractor.get_all(name).into_iter().flatten() {
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.append(HeaderName::from_static(name), value);
                }
            }
        }
        match TraceContext::extract(&headers) {
            Some(trace) => context.with_remote_span_context(remote(&trace)),
            None => context.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}
