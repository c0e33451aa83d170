//! What goes to an OpenTelemetry collector: settings here, the parts of the pipeline below.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use campanile_client::{Client, Target};
use http::{HeaderName, HeaderValue};
use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope as ProtoScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_sdk::trace::SpanLimits;

use crate::BuildError;
use crate::redact::Redaction;

mod console;
mod env;
mod exporter;
#[cfg(feature = "otlp-grpc")]
mod grpc;
mod ids;
mod metrics;
mod outbox;
mod records;
mod send;
mod spans;
mod transport;

use self::console::Console;
pub(crate) use self::exporter::{Exporter, Plan, Signal};
use self::ids::Ids;
pub use self::metrics::{Exemplar, MetricSource, MetricWriter, Point, PointValue};
pub use self::outbox::Counts;
use self::outbox::Limits;
pub(crate) use self::records::Attributes;
pub use self::send::Protocol;
use self::send::Sender;
use self::transport::Transport;

/// A collector that traces, lines of the log, and metrics are exported to, in OpenTelemetry's protocol (OTLP 1.x).
///
/// | setting | default |
/// |---|---|
/// | [`protocol`](Self::protocol) | [`Protocol::HttpProtobuf`] |
/// | [`header`](Self::header) | none |
/// | [`timeout`](Self::timeout) | 10 s for each attempt |
/// | [`retry_for`](Self::retry_for) | 30 s for each batch |
/// | [`gzip`](Self::gzip) | no |
/// | [`root_certificates`](Self::root_certificates) | Mozilla's |
/// | [`client_certificate`](Self::client_certificate) | none |
/// | [`traces`](Self::traces), [`logs`](Self::logs), [`metrics`](Self::metrics) | yes |
/// | [`metrics_every`](Self::metrics_every) | 60 s |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) | 8 MiB each for traces and lines of the log |
///
/// ```no_run
/// use campanile_telemetry::{Otlp, Telemetry};
///
/// let collector = Otlp::at("http://collector:4318").header("x-tenant", "shop");
/// let _guard = Telemetry::builder("orders").otlp(collector).install()?;
/// # Ok::<_, campanile_telemetry::InstallError>(())
/// ```
///
/// In a subscriber of the application's own, [`Telemetry::layer`](crate::Telemetry::layer) exports the spans of requests, and
/// [`Telemetry::layer_with_spans`](crate::Telemetry::layer_with_spans) those of the application, too.
///
/// # How it is sent
///
/// A thread of its own, `campanile-otlp`, with a runtime of its own sends batches: when there are 512 spans or lines, or 2 MiB, or the first
/// of them has waited for 5 s (1 s for lines). Who works never waits for it, and no part of the host's runtime is needed, at the end neither.
/// A batch that the collector can't take now is sent again after 1 s, 2 s and so on up to 30 s, or when the collector says; which answers
/// that are is OTLP's rule. What finds no room meanwhile is dropped. All is counted: see [`Telemetry::exports`](crate::Telemetry::exports).
/// A failure is told in the log, once a minute at most; that line is not exported.
#[derive(Clone)]
#[must_use = "a collector is used once a telemetry is built with it"]
pub struct Otlp {
    endpoint: String,
    options: Options,
    signals: [OfSignal; 3],
    metrics_every: Duration,
    max_waiting_bytes: usize,
}

/// What may be different for a signal.
#[derive(Clone, Default)]
struct Options {
    protocol: Option<Protocol>,
    headers: Option<Vec<(String, String)>>,
    timeout: Option<Duration>,
    is_compressed: Option<bool>,
    certificate: Option<Vec<u8>>,
    /// A certificate of ours, and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether an endpoint for gRPC without a scheme is spoken to in plain text.
    #[cfg_attr(
        not(feature = "otlp-grpc"),
        expect(dead_code, reason = "any other has one")
    )]
    is_insecure: Option<bool>,
    patience: Option<Duration>,
}

#[derive(Clone)]
struct OfSignal {
    is_on: bool,
    /// Whether it is written where the log is, and sent to no collector.
    is_console: bool,
    /// As it is, in place of one that follows from the endpoint.
    url: Option<String>,
    options: Options,
    batch: usize,
    items: usize,
    delay: Duration,
    attributes: AttributeLimits,
}

/// What a span or a line has of attributes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttributeLimits {
    /// Further attributes are left out.
    pub(crate) count: usize,
    /// How many characters a text has before it is cut.
    pub(crate) length: usize,
}

impl AttributeLimits {
    fn of_spans(self) -> SpanLimits {
        // The SDK counts a key again each time that it is set, and ours come last.
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        let count = count.saturating_mul(4).max(1_024);
        SpanLimits {
            max_attributes_per_span: count,
            ..SpanLimits::default()
        }
    }
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self {
            count: 128,
            length: usize::MAX,
        }
    }
}

/// The scope of all that the crate itself exports.
const SCOPE: &str = "campanile";

fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder(SCOPE);
    scope.with_version(env!("CARGO_PKG_VERSION")).build()
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

/// Returns attributes whose values are texts.
fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    };
    pairs.into_iter().map(pair).collect()
}

/// Returns the resource as a message.
fn proto_resource(resource: &[(String, String)]) -> Resource {
    let pairs = resource.iter().map(|(key, value)| (&**key, &**value));
    Resource {
        attributes: attributes(pairs),
        ..Resource::default()
    }
}

fn proto_scope() -> ProtoScope {
    ProtoScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ProtoScope::default()
    }
}

/// The endpoint of the exporters, which their client replaces. Without one they would read the environment.
const NOWHERE: &str = "http://collector.invalid";

/// Returns the first characters of a text.
fn first(text: &str, max_length: usize) -> &str {
    // Most are shorter even in bytes.
    if text.len() <= max_length {
        return text;
    }
    let end = text.char_indices().nth(max_length);
    end.map_or(text, |(end, _)| &text[..end])
}

/// The signals, in the order of [`Otlp::signals`].
const TRACES: usize = 0;
const LOGS: usize = 1;
const METRICS: usize = 2;

const NAMES: [&str; 3] = ["traces", "logs", "metrics"];

/// What gRPC calls their services.
#[cfg(feature = "otlp-grpc")]
const SERVICES: [&str; 3] = [
    "trace.v1.TraceService",
    "logs.v1.LogsService",
    "metrics.v1.MetricsService",
];

impl Otlp {
    /// Returns a collector at a URL, to which `/v1/traces` and so on are added for [`Protocol::HttpProtobuf`]. For gRPC it may be a host and a
    /// port alone, which are then spoken to over TLS.
    pub fn at(endpoint: impl Into<String>) -> Self {
        let signal = |delay| OfSignal {
            is_on: true,
            is_console: false,
            url: None,
            options: Options::default(),
            batch: 512,
            items: usize::MAX,
            delay: Duration::from_secs(delay),
            attributes: AttributeLimits::default(),
        };
        // What is collected at once is a batch already.
        let metrics = OfSignal {
            batch: 1,
            ..signal(0)
        };
        Self {
            endpoint: endpoint.into(),
            options: Options::default(),
            signals: [signal(5), signal(1), metrics],
            metrics_every: Duration::from_secs(60),
            max_waiting_bytes: 8 << 20,
        }
    }

    /// Sets how the collector is spoken to.
    ///
    /// Defaults to [`Protocol::HttpProtobuf`].
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.options.protocol = Some(protocol);
        self
    }

    /// Adds a header to all requests, such as a token. Its value is never shown.
    ///
    /// Defaults to none.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let headers = self.options.headers.get_or_insert_default();
        headers.push((name.into(), value.into()));
        self
    }

    /// Sets how long an attempt may take; at most a year.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sets for how long a batch is sent again, a day at most; what has not arrived by then has failed.
    ///
    /// Defaults to 30 s.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.options.patience = Some(time);
        self
    }

    /// Compresses what is sent.
    ///
    /// Defaults to not doing so.
    pub fn gzip(mut self) -> Self {
        self.options.is_compressed = Some(true);
        self
    }

    /// Trusts these authorities, in PEM, in place of the usual ones.
    ///
    /// Defaults to Mozilla's list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.options.certificate = Some(pem.into());
        self
    }

    /// Shows a certificate to a collector that asks for one: the chain in PEM, its own first, and the key that belongs to it.
    ///
    /// Defaults to none.
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.options.identity = Some((chain.into(), key.into()));
        self
    }

    /// Sets whether traces are exported.
    ///
    /// Defaults to true.
    pub fn traces(self, are_exported: bool) -> Self {
        self.switch(TRACES, are_exported)
    }

    /// Sets whether lines of the log are exported.
    ///
    /// Defaults to true.
    pub fn logs(self, are_exported: bool) -> Self {
        self.switch(LOGS, are_exported)
    }

    /// Sets whether metrics are exported, of which there are any only with a [source](crate::TelemetryBuilder::metric_source).
    ///
    /// Defaults to true.
    pub fn metrics(self, are_exported: bool) -> Self {
        self.switch(METRICS, are_exported)
    }

    fn switch(mut self, signal: usize, is_on: bool) -> Self {
        self.signals[signal].is_on = is_on;
        self
    }

    /// Sets how far two exports of the metrics are apart: from 10 ms to a day.
    ///
    /// Defaults to 60 s.
    pub fn metrics_every(mut self, interval: Duration) -> Self {
        self.metrics_every = interval;
        self
    }

    /// Sets how many bytes of spans may wait, and how many of lines; at least 1 MiB.
    ///
    /// Defaults to 8 MiB.
    pub fn max_waiting_bytes(mut self, max: usize) -> Self {
        self.max_waiting_bytes = max;
        self
    }

    /// Returns what is exported.
    pub(crate) fn plan(
        self,
        resource: Vec<(String, String)>,
        redaction: Redaction,
        sampler: crate::Sampler,
        source: Option<Arc<dyn MetricSource>>,
        report: Arc<dyn Fn(&str) + Send + Sync>,
        console: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Plan, BuildError> {
        if !sampler.is_valid() {
            return Err(problem("the sampler", "give a share from 0 to 1"));
        }
        if self.max_waiting_bytes < 1 << 20 {
            return Err(problem("max_waiting_bytes", "give at least 1048576"));
        }
        if self.metrics_every < LEAST_INTERVAL {
            return Err(problem("metrics_every", "give at least 10 ms"));
        }
        let signal = |signal: usize| {
            self.signals[signal]
                .is_on
                .then(|| self.signal(signal, console))
                .transpose()
        };
        let metrics = match source {
            Some(source) => {
                signal(METRICS)?.map(|signal| (signal, source, self.metrics_every.min(DAY)))
            }
            None => None,
        };
        Ok(Plan {
            sampler,
            attributes: [TRACES, LOGS].map(|signal| self.signals[signal].attributes),
            traces: signal(TRACES)?,
            logs: signal(LOGS)?,
            metrics,
            resource,
            redaction,
            report,
        })
    }

    fn signal(
        &self,
        signal: usize,
        console: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Signal, BuildError> {
        let transport = match self.signals[signal].is_console {
            true => Transport::console(Console {
                signal,
                write: Arc::clone(console),
            }),
            false => Transport::new(self.sender(signal)?),
        };
        let own = &self.signals[signal];
        Ok(Signal {
            name: ["spans", "lines of the log", "points of metrics"][signal],
            transport,
            limits: Limits {
                batch: own.batch,
                items: own.items,
                bytes: if signal == METRICS {
                    MAX_METRICS
                } else {
                    self.max_waiting_bytes
                },
                delay: own.delay.min(DAY),
            },
        })
    }

    fn sender(&self, signal: usize) -> Result<Sender, BuildError> {
        let own = &self.signals[signal];
        let common = &self.options;
        let protocol = own.options.protocol.or(common.protocol).unwrap_or_default();
        let is_compressed = own.options.is_compressed.or(common.is_compressed);
        let is_compressed = is_compressed.unwrap_or(false);
        let base = || self.endpoint.trim_end_matches('/');
        let url = match (&own.url, protocol) {
            (Some(url), Protocol::HttpProtobuf) => url.clone(),
            (None, Protocol::HttpProtobuf) => format!("{}/v1/{}", base(), NAMES[signal]),
            #[cfg(feature = "otlp-grpc")]
            (url, Protocol::Grpc) => {
                let base = url
                    .as_deref()
                    .map_or_else(base, |url| url.trim_end_matches('/'));
                let is_insecure = own.options.is_insecure.or(common.is_insecure);
                let scheme = match (base.contains("://"), is_insecure) {
                    (true, _) => "",
                    (false, Some(true)) => "http://",
                    (false, _) => "https://",
                };
                let service = SERVICES[signal];
                format!("{scheme}{base}/opentelemetry.proto.collector.{service}/Export")
            }
        };
        let target = Target::parse(&url);
        let setting = match own.url {
            Some(_) => format!("the endpoint of {}", NAMES[signal]),
            None => "the endpoint".to_owned(),
        };
        let target = target.map_err(|error| problem(&setting, &error.to_string()))?;
        let mut headers = protocol.headers(is_compressed);
        let given = own.options.headers.as_ref().or(common.headers.as_ref());
        for (name, value) in given.into_iter().flatten() {
            let name_of = HeaderName::try_from(name.as_str());
            let mut value = HeaderValue::try_from(value.as_str());
            if let Ok(value) = &mut value {
                value.set_sensitive(true);
            }
            // What is no name may be a value that was given as one.
            let Ok(name) = name_of else {
                let text = "the name of one is not one of HTTP: give `name=value`, with what is special in the value as in a URL";
                return Err(problem("the headers", text));
            };
            let Ok(value) = value else {
                let text = "its value is not one of HTTP";
                return Err(problem(&format!("the header {name:?}"), text));
            };
            headers.insert(name, value);
        }
        let timeout = own.options.timeout.or(common.timeout);
        let client = Client::builder()
            .timeout(timeout.unwrap_or(Duration::from_secs(10)))
            .keep_alive(Duration::from_secs(30));
        #[cfg(feature = "otlp-grpc")]
        let client = if protocol == Protocol::Grpc {
            client.http2()
        } else {
            client
        };
        let certificate = own
            .options
            .certificate
            .as_ref()
            .or(common.certificate.as_ref());
        let client = match certificate {
            None => client,
            Some(pem) => client
                .root_certificates(pem)
                .map_err(|error| problem("the certificate", &error.to_string()))?,
        };
        let identity = own.options.identity.as_ref().or(common.identity.as_ref());
        let client = match identity {
            None => client,
            Some((chain, key)) => client
                .client_certificate(chain, key)
                .map_err(|error| problem("the certificate of the client", &error.to_string()))?,
        };
        let patience = own.options.patience.or(common.patience);
        Ok(Sender {
            client: client.build(),
            target,
            headers,
            protocol,
            is_compressed,
            patience: patience.unwrap_or(Duration::from_secs(30)).min(DAY),
        })
    }
}

/// The most bytes of metrics that wait.
const MAX_METRICS: usize = 64 << 20;

const LEAST_INTERVAL: Duration = Duration::from_millis(10);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn problem(setting: &str, problem: &str) -> BuildError {
    BuildError::Otlp {
        setting: setting.to_owned(),
        problem: problem.to_owned(),
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = Target::parse(&self.endpoint).map(|target| target.to_string());
        f.debug_struct("Otlp")
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}
