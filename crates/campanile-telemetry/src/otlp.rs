//! The export to an OpenTelemetry collector.

mod attempt;
mod console;
mod env;
mod export;
mod exporter;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod ids;
mod limits;
mod metrics;
mod outbox;
mod plan;
mod proto;
mod protocol;
mod records;
mod send;
mod settings;
mod spans;
mod transport;
mod worker;

pub(crate) use self::exporter::Exporter;
use self::limits::{AttributeLimits, first};
pub use self::metrics::{Exemplar, MetricSource, MetricWriter, Point, PointValue};
pub use self::outbox::SignalStats;
pub(crate) use self::plan::Plan;
use self::proto::NOWHERE;
#[cfg(test)]
use self::proto::scope;
pub use self::protocol::Protocol;
pub(crate) use self::records::Attributes;
use self::settings::DAY;
pub use self::settings::Otlp;
