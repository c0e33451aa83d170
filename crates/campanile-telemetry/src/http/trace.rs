//! The OpenTelemetry span of a request.

use std::borrow::Cow;

use campanile_correlation::{Correlation, TraceContext};
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::Fact;
use crate::note::FieldValue;
use crate::otel::{self, Recording, Tracer};
use crate::recorder::FlightRecorder;

/// The span of a request, as OpenTelemetry has it.
#[derive(Debug)]
pub(super) struct Traced {
    context: Context,
    /// Whether no tracing span is the same.
    is_alone: bool,
}

/// What a request's span begins in.
pub(super) struct Outside {
    _context: Option<ContextGuard>,
    /// Whether the request begins a trace.
    is_root: bool,
}

impl Outside {
    /// Makes the parent of the request's span the current context.
    pub(super) fn enter(correlation: &Correlation, recorder: Option<&FlightRecorder>) -> Self {
        let mut parent = otel::parent_of_request(correlation);
        if let Some(recorder) = recorder
            && otel::recording().is_none()
        {
            let recording = Recording(recorder.begin());
            let context = parent.unwrap_or_else(Context::current);
            parent = Some(context.with_value(recording));
        }
        let is_root = |context: &Context| !context.span().span_context().is_valid();
        let is_root = match &parent {
            Some(context) => is_root(context),
            None => Context::map_current(is_root),
        };
        Self {
            _context: parent.map(Context::attach),
            is_root,
        }
    }
}

impl Traced {
    /// Returns the OpenTelemetry span of a tracing span, if there is one.
    pub(super) fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let is_valid = context.span().span_context().is_valid();
        is_valid.then_some(Self {
            context,
            is_alone: false,
        })
    }

    /// Begins a span where there is no tracing span.
    pub(super) fn begin<'a>(
        tracer: &Tracer,
        facts: impl IntoIterator<Item = (&'static str, Fact<'a>)>,
    ) -> Self {
        // With room for those that are known at its end.
        let mut all = Vec::with_capacity(8);
        all.extend(attributes(facts));
        let builder = SpanBuilder {
            attributes: Some(all),
            ..SpanBuilder::from_name("request").with_kind(SpanKind::Server)
        };
        let parent = Context::current();
        let span = otel::with_own_id(|| tracer.build_with_context(builder, &parent));
        Self {
            context: parent.with_span(span),
            is_alone: true,
        }
    }

    /// Returns where the span is in its trace.
    pub(super) fn place(&self, outside: &Outside) -> Option<TraceContext> {
        let span = self.context.span();
        let mut place = otel::trace_context(span.span_context())?;
        if outside.is_root {
            // It was made here.
            place.parent = place.parent.random(true);
        }
        Some(place)
    }

    /// Returns whether no tracing span is the same.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Makes the span the current one, unless the tracing span does so.
    pub(super) fn enter(&self) -> Option<ContextGuard> {
        self.is_alone.then(|| self.context.clone().attach())
    }

    /// Adds what the application has noted of the request.
    pub(super) fn note(&self, noted: &[(&'static str, FieldValue)]) {
        let span = self.context.span();
        if span.is_recording() && !noted.is_empty() {
            span.set_attributes(noted.iter().map(|(key, value)| value.attribute(key)));
        }
    }

    /// Ends the span. `is_known` says that it has the facts from the tracing span.
    pub(super) fn end<'a>(
        &self,
        name: impl FnOnce() -> Cow<'static, str>,
        is_error: bool,
        is_known: bool,
        facts: impl IntoIterator<Item = (&'static str, Fact<'a>)>,
    ) {
        let span = self.context.span();
        if span.is_recording() {
            span.update_name(name());
            if !is_known {
                span.set_attributes(attributes(facts));
            }
            if is_error {
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }
}

fn attributes<'a>(
    facts: impl IntoIterator<Item = (&'static str, Fact<'a>)>,
) -> impl Iterator<Item = KeyValue> {
    facts.into_iter().map(|(key, fact)| match fact {
        Fact::Static(text) => KeyValue::new(key, text),
        Fact::Text(text) => KeyValue::new(key, text.to_owned()),
        Fact::Number(number) => KeyValue::new(key, number),
    })
}
