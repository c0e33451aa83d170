use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{self, SpanContext, Status};

/// A span of a tracer. That of the exporter is in no box, since the context that takes it up makes one.
#[derive(Debug)]
#[cfg_attr(
    feature = "otlp",
    expect(clippy::large_enum_variant, reason = "it is boxed once it is made")
)]
pub(crate) enum Span {
    #[cfg(feature = "otlp")]
    Exporter(opentelemetry_sdk::trace::Span),
    Application(BoxedSpan),
}

macro_rules! of_any {
    ($span:expr, $inner:ident => $call:expr) => {
        match $span {
            #[cfg(feature = "otlp")]
            Span::Exporter($inner) => $call,
            Span::Application($inner) => $call,
        }
    };
}

impl trace::Span for Span {
    fn add_event_with_timestamp<T>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) where
        T: Into<Cow<'static, str>>,
    {
        of_any!(self, span => span.add_event_with_timestamp(name, timestamp, attributes));
    }

    fn span_context(&self) -> &SpanContext {
        of_any!(self, span => span.span_context())
    }

    fn is_recording(&self) -> bool {
        of_any!(self, span => span.is_recording())
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        of_any!(self, span => span.set_attribute(attribute));
    }

    fn set_status(&mut self, status: Status) {
        of_any!(self, span => span.set_status(status));
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        of_any!(self, span => span.update_name(new_name));
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        of_any!(self, span => span.add_link(span_context, attributes));
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        of_any!(self, span => span.end_with_timestamp(timestamp));
    }
}
