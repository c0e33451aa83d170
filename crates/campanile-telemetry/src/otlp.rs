//! The export to an OpenTelemetry collector.

mod attempt;
mod batch_queue;
mod console;
mod env;
mod export;
mod exporter;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod ids;
mod limits;
mod metrics;
mod plan;
mod proto;
mod protocol;
mod records;
mod send;
mod settings;
mod spans;
mod transport;
mod worker;

pub use self::batch_queue::SignalStats;
pub(crate) use self::exporter::Exporter;
pub use self::metrics::{Exemplar, MetricSource, MetricWriter, Point, PointValue};
pub(crate) use self::plan::Plan;
pub use self::protocol::Protocol;
pub(crate) use self::records::Attributes;
pub use self::settings::Otlp;
