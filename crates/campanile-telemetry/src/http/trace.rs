//! The OpenTelemetry span of a request.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use campanile_correlation::{Correlation, TraceContext};
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _};
use opentelemetry::{Context, ContextGuard, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::clock;
use crate::field_value::Fact;
use crate::field_value::FieldValue;
use crate::otel::{self, Recording, Tracer};
use crate::recorder::FlightRecorder;
use crate::span::SpanData;

/// The span of a request, as OpenTelemetry has it.
#[derive(Debug)]
pub(super) struct Traced {
    context: Context,
    /// When it began, if no tracing span is the same.
    alone_since: Option<SystemTime>,
}

/// What the application has noted of a request.
pub(super) type Noted = Vec<(&'static str, FieldValue)>;

/// Takes out what the application has noted of a request.
pub(super) fn noted(kept: &mut SpanData) -> Noted {
    std::mem::take(&mut kept.noted)
}

/// What a request's span begins in.
pub(super) struct Outside {
    /// `None` if it is the current context.
    parent: Option<Context>,
    attached: Option<ContextGuard>,
    /// Whether the request begins a trace.
    is_root: bool,
}

impl Outside {
    pub(super) fn of(correlation: &Correlation, recorder: Option<&FlightRecorder>) -> Self {
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
            parent,
            attached: None,
            is_root,
        }
    }

    /// Makes it the current context, which a tracing span has as its parent.
    pub(super) fn attach(&mut self) {
        if let Some(parent) = self.parent.take() {
            self.attached = Some(parent.attach());
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
            alone_since: None,
        })
    }

    /// Begins a span where there is no tracing span.
    pub(super) fn begin<'a>(
        tracer: &Tracer,
        outside: &mut Outside,
        facts: impl IntoIterator<Item = (&'static str, Fact<'a>)>,
    ) -> Self {
        // With room for those that are known at its end.
        let mut all = Vec::with_capacity(8);
        all.extend(attributes(facts));
        let begun = clock::now();
        let builder = SpanBuilder {
            attributes: Some(all),
            start_time: Some(begun),
            ..SpanBuilder::from_name("request").with_kind(SpanKind::Server)
        };
        let parent = outside.parent.take().unwrap_or_else(Context::current);
        let span = otel::with_own_id(|| tracer.build_with_context(builder, &parent));
        Self {
            context: parent.with_span(span),
            alone_since: Some(begun),
        }
    }

    /// Returns where the span is in its trace.
    pub(super) fn place(&self, outside: &Outside, current: &Correlation) -> Option<TraceContext> {
        let span = self.context.span();
        let mut place = otel::trace_context_in(span.span_context(), || current)?;
        if outside.is_root {
            // It was made here.
            place.parent = place.parent.random(true);
        }
        Some(place)
    }

    /// Returns whether no tracing span is the same.
    pub(super) fn is_alone(&self) -> bool {
        self.alone_since.is_some()
    }

    /// Makes the span the current one, unless the tracing span does so.
    pub(super) fn enter(&self) -> Option<ContextGuard> {
        self.is_alone().then(|| self.context.clone().attach())
    }

    /// Adds what the application has noted of the request.
    pub(super) fn note(&self, noted: &Noted) {
        let span = self.context.span();
        if span.is_recording() && !noted.is_empty() {
            span.set_attributes(noted.iter().map(|(key, value)| value.attribute(key)));
        }
    }

    /// Ends the span, which took `total`. `is_known` says that it has the facts from the tracing span.
    pub(super) fn end<'a>(
        &self,
        name: impl FnOnce() -> Cow<'static, str>,
        is_error: bool,
        is_known: bool,
        total: Duration,
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
        match self.alone_since.and_then(|begun| begun.checked_add(total)) {
            Some(end) => span.end_with_timestamp(end),
            None => span.end(),
        }
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
