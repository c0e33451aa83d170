//! Logs as flat JSON or text in which every line has the ids of its request, and the span and access line of every request.
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
//! # A line
//!
//! A line in JSON is an object without nesting in which each key is there once: `timestamp` (RFC
//! 3339, UTC), `level`, `target`, `message`, `service`, `trace_id`, `span_id` and `correlation_id`
//! where there are any, `module`, `function` (the name of the innermost span) and `line`; then the
//! fields of the event, and those of its spans, from the innermost outwards, where the innermost
//! goes before. In a call to another service, the line describes that call and has no `http`,
//! `url`, `server`, `rpc`, `db` and `error` fields of the request around it if the call has some
//! itself. A field whose key is one of a line's own gets an underscore at its end: nothing that is
//! logged can take the place of, say, `level`. Lines that these crates log themselves have no
//! `module`, `function` and `line`. [`LogSchema`] says how the keys of other schemas are made.
//!
//! In no format does a control character, a line break or a mark of direction of a value reach the log: they are escaped as in JSON. A value
//! has 16 KiB at most before it is escaped, and is cut with `…` at its end. Once the fields of a line have 256 KiB, further ones are left out,
//! and `fields_left_out` has their number. An error is shown with its causes. Integers past 2^53 are texts, and numbers that JSON doesn't have `null`.
//!
//! # Records of the `log` crate
//!
//! [`Telemetry::install`] also sets a logger for the `log` crate, unless the process has one. Its records are lines like others, with their
//! own target, module and line and the ids of their request, and the filter and the limit for each place apply to them.
//!
//! # Where it is written
//!
//! A thread of its own, `campanile-log`, writes lines; a thread that logs never waits for it. At most 8 MiB are queued. Lines that find no
//! room and lines that can't be written are counted, and the log says how many there were once it can be written again. Lines above a
//! [limit](TelemetryBuilder::rate_limit) are counted.
//!
//! A batch of lines is one write, of up to 8 MiB. On a pipe that several processes share, batches above 4 KiB may be mixed. After a fork the
//! child has no such thread and must not log: build a telemetry in the child.
//!
//! A process that is killed loses the lines that are queued: those of the last 5 ms, or more if the writer is slow. A process that ends drops
//! the guard, which writes the rest. A panic with `panic = "abort"` and `std::process::exit` drop no guard: call [`Telemetry::flush`] in the
//! panic hook, or before the exit.
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
//! [`HttpSpans`] gives each request a span with a place in a trace; the correlation id comes from `campanile-correlation`'s layer around
//! it. A line has the correlation id of the nearest request whose span it is in. If there is none, it has the id that its task carries at
//! that time ([`CorrelationId::current`](campanile_correlation::CorrelationId::current)). Spans that are exported have places in traces:
//! they give a line its `trace_id` and `span_id`, and never its correlation id.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod telemetry;

#[cfg(feature = "otel")]
#[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
pub mod otel;

mod capture;
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
mod writer;

pub use self::builder::TelemetryBuilder;
pub use self::capture::{Capture, LogCounts, LogRecord};
pub use self::client::{ClientSpanExchange, HttpClientSpans, client_span};
pub use self::env_warning::EnvWarning;
pub use self::error::{BuildError, InstallError, Problem};
pub use self::field_value::FieldValue;
pub use self::filter::{InvalidDirectives, LogFilter};
pub use self::http::{HttpSpans, RequestLines, Spanned};
use self::key_cache as keys;
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
