use campanile_correlation::{TraceContext, TraceState};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;

use super::context::{continued, continues, remote, trace_context};

/// Reads and writes `traceparent` and `tracestate` of W3C Trace Context, level 2.
///
/// The propagator of the SDK accepts malformed headers, drops the flag for random ids, and writes
/// an empty `tracestate`.
///
/// If a span of the context already continues the remote parent of the headers, the context is
/// unchanged.
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
        match TraceContext::extract(&headers).map(|trace| remote(&trace)) {
            // Inner instrumentation reads the same headers. Its spans are below those of outer
            // instrumentation.
            Some(parent) if !continues(context, &parent) => continued(context, parent),
            _ => context.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn span(id: &str) -> SpanContext {
        SpanContext::new(
            TraceId::from_hex(TRACE_ID).unwrap(),
            SpanId::from_hex(id).unwrap(),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        )
    }

    #[test]
    fn headers_name_the_parent_once_and_other_headers_another_one() {
        let propagator = StrictPropagator::new();
        let headers = |id: &str| {
            let value = format!("00-{TRACE_ID}-{id}-01");
            HashMap::from([(TRACEPARENT.to_owned(), value)])
        };
        let id = |context: &Context| context.span().span_context().span_id().to_string();
        let (request, message) = ("00f067aa0ba902b7", "00f067aa0ba902b8");

        let outside = propagator.extract_with_context(&Context::new(), &headers(request));
        assert_eq!(id(&outside), request);
        // The span of the request, as another layer sees it.
        let local = "1111111111111111";
        let inside = outside.with_remote_span_context(span(local));
        let again = propagator.extract_with_context(&inside, &headers(request));
        assert_eq!(id(&again), local);
        // A message that the request has caused.
        let other = propagator.extract_with_context(&inside, &headers(message));
        assert_eq!(id(&other), message);
        // A span that has another parent.
        let unrelated = Context::new().with_remote_span_context(span(local));
        let context = propagator.extract_with_context(&unrelated, &headers(request));
        assert_eq!(id(&context), request);
    }

    #[test]
    fn malformed_headers_change_nothing() {
        let propagator = StrictPropagator::new();
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let headers = HashMap::from([(TRACEPARENT.to_owned(), value.to_owned())]);
            let context = propagator.extract_with_context(&Context::new(), &headers);
            assert!(!context.has_active_span(), "{value:?}");
        }
    }
}
