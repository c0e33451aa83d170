//! Structured logs, request spans and OTLP export for services that use `tracing`.
//!
//! ```no_run
//! use campanile_telemetry::Telemetry;
//!
//! let _guard = Telemetry::builder("orders").filter("info,orders=debug").install()?;
//! tracing::info!(items = 3, "accepted");
//! // {"timestamp":"2026-11-21T19:00:00.123456Z","level":"INFO","target":"orders","message":"accepted","service":"orders",…,"items":3}
//! # Ok::<_, campanile_telemetry::InstallError>(())
//! ```
//!
//! Start with these types:
//!
//! | type | purpose |
//! |---|---|
//! | [`Telemetry`], [`TelemetryBuilder`] | the log and its settings |
//! | [`HttpSpans`] | a span and a log line for each request |
//! | [`HttpClientSpans`] | a span for each outgoing request |
//! | [`LogFilter`] | changes the log at run time |
//! | [`Capture`] | the last lines, searchable |
//! | [`FlightRecorder`] | verbose events of requests that fail or are slow |
//! | `Otlp` | exports traces, logs and metrics, with feature `otlp` |
//!
//! # Log lines
//!
//! A JSON line is a flat object in which each key occurs once. Its standard keys are:
//!
//! - `timestamp` (RFC 3339, UTC), `level`, `target`, `message` and `service`,
//! - `trace_id`, `span_id` and `correlation_id`, if they are known,
//! - `module`, `function` (the name of the innermost span) and `line`; lines of this library have
//!   none.
//!
//! The fields of the event follow, and then those of its spans from the innermost outwards. If a
//! key occurs twice, the innermost value counts. A field that has a standard key gets a trailing
//! underscore, so an event cannot replace, for example, `level`. [`LogSchema`] selects the keys of
//! other schemas.
//!
//! A line of a call to another service describes that call. It has no `http`, `url`, `server`,
//! `rpc`, `db` and `error` fields of the request around the call if the call has such fields
//! itself.
//!
//! Control characters, line breaks and bidirectional marks in values are always escaped. A value is
//! limited to 16 KiB before escaping, and a truncated value ends with `…`. The fields of a line are
//! limited to 256 KiB. Further fields are left out, and `fields_left_out` has their number. An
//! error is written with its causes. Integers above 2^53 are strings, and numbers that JSON lacks
//! are `null`.
//!
//! # Records of the `log` crate
//!
//! [`Telemetry::install`] also installs a logger for the `log` crate, unless the process has one.
//! Its records have their own target, module and line, and the ids of their request. The filter and
//! the rate limit apply to them.
//!
//! # Writing
//!
//! A background thread (`campanile-log`) writes the log, so logging never blocks. The queue holds 8
//! MiB. If it is full, lines are dropped and counted, and the next line reports the count. Lines
//! that cannot be written are counted and reported in the same way. Lines above the [rate
//! limit](TelemetryBuilder::rate_limit) are counted.
//!
//! Each batch of lines is one write of at most 8 MiB. On a pipe that several processes share,
//! batches above 4 KiB may be interleaved. After a fork the child process has no writer thread:
//! build a new telemetry there.
//!
//! A killed process loses the queued lines: those of the last 5 ms, or more if the writer is slow.
//! The drop of the guard writes the queue. A panic with `panic = "abort"` and `std::process::exit`
//! drop no guard. In that case call [`Telemetry::flush`] in the panic hook, or before the exit:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use campanile_telemetry::Telemetry;
//!
//! let guard = Telemetry::builder("orders").install()?;
//! let telemetry = guard.telemetry().clone();
//! let default = std::panic::take_hook();
//! std::panic::set_hook(Box::new(move |panic| {
//!     tracing::error!(%panic, "panicked");
//!     let _ = telemetry.flush(Duration::from_secs(1));
//!     default(panic);
//! }));
//! # Ok::<_, campanile_telemetry::InstallError>(())
//! ```
//!
//! # Ids
//!
//! [`HttpSpans`] gives each request a span in a trace. The layer of `campanile-correlation` around
//! it sets the correlation id. A line has the correlation id of the nearest request whose span it
//! is in. Outside of such spans it has the current id of its task
//! ([`CorrelationId::current`](campanile_correlation::CorrelationId::current)). Exported spans give
//! a line its `trace_id` and `span_id`, but never its correlation id.
//!
//! # Environment
//!
//! [`TelemetryBuilder::install`] reads `RUST_LOG`. [`TelemetryBuilder::from_env`] also reads the
//! `OTEL_*` variables. Settings of the code take precedence.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `otel` | no | OpenTelemetry spans for requests, joined with those of other libraries |
//! | `otlp` | no | the export of traces, logs and metrics over HTTP |
//! | `grpc` | no | the export over gRPC |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod capture;
mod causes;
mod client;
mod clock;
mod emit;
mod env_warning;
mod error;
mod escape;
mod event;
mod field_value;
mod fields;
mod file;
mod filter;
mod http;
mod key_cache;
mod layer;
mod limit;
mod line;
mod note;
mod number;
mod origin;
#[cfg(feature = "otel")]
#[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
pub mod otel;
#[cfg(feature = "otlp")]
mod otlp;
mod output;
mod percent;
mod queue;
mod recorder;
mod redact;
mod rolling_file;
#[cfg(feature = "otlp")]
mod sampler;
mod schema;
mod scrub;
mod sensitive;
mod span;
mod telemetry;
mod writer;

pub use self::builder::TelemetryBuilder;
pub use self::capture::{Capture, LogCounts, LogRecord};
pub use self::client::{ClientSpanExchange, HttpClientSpans, client_span};
pub use self::env_warning::EnvWarning;
pub use self::error::{BuildError, InstallError, Problem};
pub use self::field_value::FieldValue;
pub use self::filter::{InvalidDirectives, LogFilter};
pub use self::http::{HttpSpans, RequestLines, SpanExchange};
pub use self::line::Format;
pub use self::note::note;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use self::otlp::{
    Exemplar, MetricSource, MetricWriter, Otlp, Point, PointValue, Protocol, SignalStats,
};
pub use self::output::Output;
pub use self::queue::LogStats;
pub use self::recorder::FlightRecorder;
pub use self::rolling_file::RollingFile;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use self::sampler::Sampler;
pub use self::schema::LogSchema;
pub use self::sensitive::Sensitive;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use self::telemetry::ExportStats;
pub use self::telemetry::{Telemetry, TelemetryGuard, Unflushed};
pub use self::writer::Writer;
