//! Log records as messages of `opentelemetry-proto`: `opentelemetry/proto/logs/v1/logs.proto`.
//!
//! The records of the SDK would be copied three times, and do not count dropped attributes.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tracing::Level;

use super::batch_queue::BatchQueue;
use super::export::Export;
use super::limits::{AttributeLimits, first};
use super::proto::{nanoseconds, proto_resource, proto_scope};
use super::send::Sent;
use super::transport::Transport;
use crate::escape::{inner, unescaped};
use crate::event::LogEvent;
use crate::key_cache::CORRELATION_ID;

/// Queues log events for the exporter.
#[derive(Debug)]
pub(crate) struct Records {
    outbox: Arc<BatchQueue<LogRecord>>,
    limits: AttributeLimits,
}

/// The attributes of a log record, which are added one by one.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    list: Vec<KeyValue>,
    left_out: u32,
    bytes: usize,
}

impl Attributes {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        (self.left_out, self.bytes) = (0, 0);
    }
}

impl Records {
    pub(super) fn new(outbox: Arc<BatchQueue<LogRecord>>, limits: AttributeLimits) -> Self {
        Self { outbox, limits }
    }

    pub(super) fn outbox(&self) -> &BatchQueue<LogRecord> {
        &self.outbox
    }

    /// Adds a field of a line. Its value is JSON.
    pub(crate) fn add(&self, attributes: &mut Attributes, key: &'static str, value: &str) {
        let Some(any) = any_value(value, self.limits.length) else {
            return;
        };
        if attributes.list.len() >= self.limits.count {
            attributes.left_out += 1;
            return;
        }
        attributes.bytes += key.len() + value.len() + size_of::<KeyValue>();
        attributes.list.push(match is_own(key) {
            true => pair(format!("{key}_"), any),
            false => pair(key.to_owned(), any),
        });
    }

    /// Queues a log event.
    pub(crate) fn push(&self, event: &LogEvent<'_>, attributes: &mut Attributes) {
        let LogEvent {
            origin,
            message,
            ids,
            at,
            ..
        } = *event;
        let (severity, text) = match *origin.level() {
            Level::ERROR => (SeverityNumber::Error, "ERROR"),
            Level::WARN => (SeverityNumber::Warn, "WARN"),
            Level::INFO => (SeverityNumber::Info, "INFO"),
            Level::DEBUG => (SeverityNumber::Debug, "DEBUG"),
            Level::TRACE => (SeverityNumber::Trace, "TRACE"),
        };
        let mut list = std::mem::take(&mut attributes.list);
        // The next event may have as many.
        attributes.list.reserve(list.len() + OWN.len());
        list.push(text_pair(TARGET, origin.target()));
        if let Some(id) = &ids.correlation {
            list.push(text_pair(CORRELATION_ID, id.as_str()));
        }
        if let Some(line) = origin.line() {
            list.push(pair(LINE.to_owned(), Value::IntValue(line.into())));
        }
        let bytes = size_of::<LogRecord>()
            + message.len()
            + attributes.bytes
            + OWN.len() * (size_of::<KeyValue>() + 64);
        let place = ids.trace.as_ref();
        let at = nanoseconds(at);
        let record = LogRecord {
            time_unix_nano: at,
            observed_time_unix_nano: at,
            severity_number: severity.into(),
            severity_text: text.to_owned(),
            body: Some(AnyValue {
                value: Some(Value::StringValue(unescaped(message).into_owned())),
            }),
            attributes: list,
            dropped_attributes_count: attributes.left_out,
            flags: place.map_or(0, flags),
            trace_id: place.map_or_else(Vec::new, |place| {
                place.trace_id().get().to_be_bytes().to_vec()
            }),
            span_id: place.map_or_else(Vec::new, |place| {
                place.parent_id().get().to_be_bytes().to_vec()
            }),
            ..LogRecord::default()
        };
        self.outbox.push(record, 1, bytes);
    }
}

const TARGET: &str = "target";
const LINE: &str = "code.line.number";

/// The attributes that every record has.
const OWN: [&str; 3] = [TARGET, CORRELATION_ID, LINE];

fn is_own(key: &str) -> bool {
    OWN.contains(&key)
}

fn pair(key: String, value: Value) -> KeyValue {
    KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text_pair(key: &str, value: &str) -> KeyValue {
    pair(key.to_owned(), Value::StringValue(value.to_owned()))
}

fn flags(place: &campanile_correlation::TraceParent) -> u32 {
    u32::from(place.is_sampled()) | u32::from(place.is_random()) << 1
}

/// Returns the OTLP value of a JSON value. `null` has none.
fn any_value(json: &str, max_length: usize) -> Option<Value> {
    Some(match json.as_bytes().first()? {
        b'n' => return None,
        b'"' => {
            let text = unescaped(inner(json));
            Value::StringValue(first(&text, max_length).to_owned())
        }
        b't' => Value::BoolValue(true),
        b'f' => Value::BoolValue(false),
        _ => match (json.parse::<i64>(), json.parse::<f64>()) {
            (Ok(integer), _) => Value::IntValue(integer),
            (_, Ok(float)) => Value::DoubleValue(float),
            _ => Value::StringValue(json.to_owned()),
        },
    })
}

/// Sends batches of records.
pub(super) struct ExportRecords {
    transport: Transport,
    resource: Resource,
    scope: InstrumentationScope,
}

impl ExportRecords {
    pub(super) fn new(transport: Transport, resource: &[(String, String)]) -> Self {
        Self {
            transport,
            resource: proto_resource(resource),
            scope: proto_scope(),
        }
    }
}

impl Export for ExportRecords {
    type Item = LogRecord;

    async fn export(&mut self, log_records: Vec<LogRecord>) -> Sent {
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(self.scope.clone()),
                    log_records,
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        self.transport.send(request.encode_to_vec().into()).await
    }

    fn transport(&self) -> &Transport {
        &self.transport
    }
}
