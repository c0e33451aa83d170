//! The crates of OpenTelemetry that this crate is built with.
//!
//! An application and its libraries need the same minor version of `opentelemetry` for their spans to be in one trace. This module and
//! [`TelemetryBuilder::tracer_provider`](crate::TelemetryBuilder::tracer_provider) follow the versions of these crates: a new minor version
//! of them is a minor version of ours.
//!
//! ```
//! use campanile_telemetry::otel::opentelemetry::Context;
//! use campanile_telemetry::otel::opentelemetry::trace::TraceContextExt;
//!
//! // In a handler: the trace of the request.
//! let trace_id = Context::current().span().span_context().trace_id();
//! # let _ = trace_id;
//! ```

use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace;
use opentelemetry::{Context, InstrumentationScope};
#[cfg(feature = "otlp")]
use opentelemetry_sdk::trace::SdkTracer;

pub use opentelemetry;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use opentelemetry_sdk;
pub use tracing_opentelemetry;

use crate::key_cache::CORRELATION_ID;
#[cfg(feature = "otlp")]
use crate::key_cache::OWN_ID;

use self::span::Span;

mod context;
mod propagator;
mod span;

pub(crate) use self::context::{
    Recording, current, parent_of_request, place, recording, trace_context, trace_context_in,
    with_own_id,
};
#[cfg(feature = "otlp")]
pub(crate) use self::context::{has_own_id, is_decided};
pub(crate) use self::propagator::StrictPropagator;

/// Returns the propagator that [`Telemetry::install`](crate::Telemetry::install) sets, for an application that has a subscriber of its own.
///
/// It reads and writes `traceparent` and `tracestate` as W3C Trace Context, level 2, says: malformed headers are ignored, and the flag of
/// random ids is kept. An instrumentation layer inside of another one reads the same headers: its spans are then below the other's.
///
/// ```
/// use campanile_telemetry::otel::{opentelemetry::global, propagator};
///
/// global::set_text_map_propagator(propagator());
/// ```
#[must_use]
pub fn propagator() -> impl TextMapPropagator + Send + Sync + 'static {
    StrictPropagator::new()
}

/// Makes spans: the exporter's tracer, or that of the application's provider.
#[derive(Clone)]
pub(crate) struct Tracer(Arc<Kind>);

enum Kind {
    /// Its spans go to the exporter.
    #[cfg(feature = "otlp")]
    Exporter(SdkTracer),
    /// Its spans go to the application's provider.
    Application(BoxedTracer),
}

impl Tracer {
    /// Returns the exporter's tracer.
    #[cfg(feature = "otlp")]
    pub(crate) fn of_exporter(tracer: SdkTracer) -> Self {
        Self(Arc::new(Kind::Exporter(tracer)))
    }

    /// Returns the tracer of the application's provider.
    pub(crate) fn of_application(
        provider: &impl ObjectSafeTracerProvider,
        scope: InstrumentationScope,
    ) -> Self {
        let tracer = BoxedTracer::new(provider.boxed_tracer(scope));
        Self(Arc::new(Kind::Application(tracer)))
    }

    /// Returns whether its spans go to the exporter, and not to the application's provider.
    #[cfg(feature = "otlp")]
    pub(crate) fn is_exported(&self) -> bool {
        matches!(*self.0, Kind::Exporter(_))
    }

    /// Returns the attribute that has the correlation id of a request.
    pub(crate) fn id_key(&self) -> &'static str {
        match *self.0 {
            #[cfg(feature = "otlp")]
            Kind::Exporter(_) => OWN_ID,
            Kind::Application(_) => CORRELATION_ID,
        }
    }
}

impl trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, builder: trace::SpanBuilder, parent: &Context) -> Span {
        match &*self.0 {
            #[cfg(feature = "otlp")]
            Kind::Exporter(tracer) => Span::Exporter(tracer.build_with_context(builder, parent)),
            Kind::Application(tracer) => {
                Span::Application(tracer.build_with_context(builder, parent))
            }
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}
