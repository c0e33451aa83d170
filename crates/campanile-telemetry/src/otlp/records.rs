//! Lines of the log: as records of the SDK, and to the exporter of `opentelemetry_otlp`.

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use opentelemetry::{InstrumentationScope, Key};
use opentelemetry_otlp::{LogExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{
    LogBatch, LogExporter as _, SdkLogRecord, SdkLogger, SdkLoggerProvider,
};
use tracing::Level;

use super::exporter::Export;
use super::outbox::Outbox;
use super::send::Sent;
use super::transport::Transport;
use super::{AttributeLimits, NOWHERE, scope};
use crate::escape::{inner, unescaped};
use crate::keys::CORRELATION_ID;
use crate::say::Said;

/// Takes lines into the queue of the exporter.
#[derive(Debug)]
pub(crate) struct Records {
    outbox: std::sync::Arc<Outbox<SdkLogRecord>>,
    limits: AttributeLimits,
    /// Makes the records.
    logger: SdkLogger,
}

/// The attributes of a line, which are known one after the other.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    list: Vec<(Key, AnyValue)>,
    bytes: usize,
}

impl Attributes {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }
}

impl Records {
    pub(super) fn new(
        outbox: std::sync::Arc<Outbox<SdkLogRecord>>,
        limits: AttributeLimits,
    ) -> Self {
        Self {
            outbox,
            limits,
            logger: SdkLoggerProvider::builder()
                .with_resource(Resource::builder_empty().build())
                .build()
                .logger(super::SCOPE),
        }
    }

    pub(super) fn outbox(&self) -> &Outbox<SdkLogRecord> {
        &self.outbox
    }

    /// Adds a field of a line. Its value is JSON.
    pub(crate) fn add(&self, attributes: &mut Attributes, key: &'static str, value: &str) {
        if attributes.list.len() >= self.limits.count {
            return;
        }
        let Some(value) = any_value(value, self.limits.length) else {
            return;
        };
        if let AnyValue::String(text) = &value {
            attributes.bytes += text.as_str().len();
        }
        let key = match is_own(key) {
            true => Key::new(format!("{key}_")),
            false => Key::from_static_str(key),
        };
        attributes.list.push((key, value));
    }

    /// Takes up a line.
    pub(crate) fn push(&self, said: &Said<'_>, attributes: &mut Attributes) {
        let Said {
            origin,
            message,
            ids,
            at,
            ..
        } = *said;
        let (severity, text) = match *origin.level() {
            Level::ERROR => (Severity::Error, "ERROR"),
            Level::WARN => (Severity::Warn, "WARN"),
            Level::INFO => (Severity::Info, "INFO"),
            Level::DEBUG => (Severity::Debug, "DEBUG"),
            Level::TRACE => (Severity::Trace, "TRACE"),
        };
        let mut record = self.logger.create_log_record();
        record.set_timestamp(at);
        record.set_observed_timestamp(at);
        record.set_severity_number(severity);
        record.set_severity_text(text);
        record.set_body(AnyValue::String(unescaped(message).into_owned().into()));
        let mut bytes = size_of::<SdkLogRecord>() + message.len() + attributes.bytes;
        bytes += attributes.list.len() * size_of::<(Key, AnyValue)>();
        record.add_attributes(attributes.list.drain(..));
        let mut add = |key, value: String| {
            bytes += value.len() + size_of::<(Key, AnyValue)>();
            record.add_attribute(Key::from_static_str(key), AnyValue::String(value.into()));
        };
        add(TARGET, origin.target().to_owned());
        if let Some(id) = &ids.correlation {
            add(CORRELATION_ID, id.as_str().to_owned());
        }
        if let Some(line) = origin.line() {
            record.add_attribute(Key::from_static_str(LINE), i64::from(line));
        }
        if let Some(place) = &ids.trace {
            record.set_trace_context(
                TraceId::from(place.trace_id().get()),
                SpanId::from(place.parent_id().get()),
                Some(TraceFlags::new(flags(place))),
            );
        }
        self.outbox.push(record, 1, bytes);
    }
}

const TARGET: &str = "target";
const LINE: &str = "code.line.number";

/// Returns whether a key is one that each record has for something else.
fn is_own(key: &str) -> bool {
    [TARGET, CORRELATION_ID, LINE].contains(&key)
}

fn flags(place: &campanile_correlation::TraceParent) -> u8 {
    u8::from(place.is_sampled()) | u8::from(place.is_random()) << 1
}

/// Returns the value of a JSON text of ours. JSON has no NaN, and so has a record none.
fn any_value(json: &str, max_length: usize) -> Option<AnyValue> {
    Some(match json.as_bytes().first()? {
        b'n' => return None,
        b'"' => {
            let text = unescaped(inner(json));
            AnyValue::String(super::first(&text, max_length).to_owned().into())
        }
        b't' => AnyValue::Boolean(true),
        b'f' => AnyValue::Boolean(false),
        _ => match (json.parse::<i64>(), json.parse::<f64>()) {
            (Ok(integer), _) => AnyValue::Int(integer),
            (_, Ok(float)) => AnyValue::Double(float),
            _ => AnyValue::String(json.to_owned().into()),
        },
    })
}

/// Sends batches of records.
pub(super) struct ExportRecords {
    exporter: LogExporter,
    transport: Transport,
    scope: InstrumentationScope,
}

impl ExportRecords {
    pub(super) fn new(transport: Transport, resource: &Resource) -> Result<Self, String> {
        let mut exporter = LogExporter::builder()
            .with_http()
            .with_http_client(transport.clone())
            .with_endpoint(NOWHERE)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
            .with_timeout(super::DAY)
            .build()
            .map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        Ok(Self {
            exporter,
            transport,
            scope: scope(),
        })
    }
}

impl Export for ExportRecords {
    type Item = SdkLogRecord;

    async fn export(&mut self, records: Vec<SdkLogRecord>) -> Sent {
        let records: Vec<_> = records.iter().map(|record| (record, &self.scope)).collect();
        let result = self.exporter.export(LogBatch::new(&records)).await;
        self.transport.sent(result)
    }

    fn transport(&self) -> &Transport {
        &self.transport
    }
}
