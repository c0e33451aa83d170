use std::fmt;
use std::time::Duration;

use campanile_client::Target;

use super::limits::AttributeLimits;
use super::protocol::Protocol;

/// An OpenTelemetry collector that receives traces, logs and metrics over OTLP 1.x.
///
/// | setting | default |
/// |---|---|
/// | [`protocol`](Self::protocol) | [`Protocol::HttpProtobuf`] |
/// | [`header`](Self::header) | none |
/// | [`timeout`](Self::timeout) | 10 s for each attempt |
/// | [`retry_for`](Self::retry_for) | 30 s for each batch |
/// | [`gzip`](Self::gzip) | off |
/// | [`root_certificates`](Self::root_certificates) | Mozilla's list |
/// | [`client_certificate`](Self::client_certificate) | none |
/// | [`traces`](Self::traces), [`logs`](Self::logs), [`metrics`](Self::metrics) | `true` |
/// | [`metrics_every`](Self::metrics_every) | 60 s |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) | 8 MiB each for spans and log records |
///
/// ```no_run
/// use campanile_telemetry::{Otlp, Telemetry};
///
/// let collector = Otlp::new("http://collector:4318").header("x-tenant", "shop");
/// let _guard = Telemetry::builder("orders").otlp(collector).install()?;
/// # Ok::<_, campanile_telemetry::InstallError>(())
/// ```
///
/// In a subscriber of the application, [`Telemetry::layer`](crate::Telemetry::layer) exports the
/// spans of requests. [`Telemetry::layer_with_spans`](crate::Telemetry::layer_with_spans) also
/// exports the spans of the application.
///
/// # Delivery
///
/// A background thread (`campanile-otlp`) with a runtime sends batches, so the export never blocks
/// the application and needs no part of its runtime. A batch is sent when it has 512 spans or log
/// records, or 2 MiB, or when its oldest item is 5 s old (1 s for log records).
///
/// If the collector cannot accept a batch now, it is sent again after 1 s, 2 s and so on up to 30
/// s, or when the collector asks for it. OTLP defines which responses are retryable. If a queue is
/// full, new items are dropped. All items are counted: see
/// [`Telemetry::exports`](crate::Telemetry::exports). A failure is logged at most once a minute;
/// that line is not exported.
#[derive(Clone)]
#[must_use = "a collector is used once a telemetry is built with it"]
pub struct Otlp {
    pub(super) endpoint: String,
    pub(super) options: Options,
    pub(super) signals: [SignalConfig; 3],
    pub(super) metrics_every: Duration,
    pub(super) max_waiting_bytes: usize,
}

/// The options that a signal may override.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) protocol: Option<Protocol>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) timeout: Option<Duration>,
    pub(super) is_compressed: Option<bool>,
    pub(super) certificate: Option<Vec<u8>>,
    /// The client certificate and its key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether a gRPC endpoint without a scheme is plain text.
    #[cfg_attr(
        not(feature = "otlp-grpc"),
        expect(dead_code, reason = "other endpoints have a scheme")
    )]
    pub(super) is_insecure: Option<bool>,
    pub(super) patience: Option<Duration>,
}

#[derive(Clone)]
pub(super) struct SignalConfig {
    pub(super) is_on: bool,
    /// Whether the signal is written to the log and not to the collector.
    pub(super) is_console: bool,
    /// The URL of the signal. Defaults to a path below the endpoint.
    pub(super) url: Option<String>,
    pub(super) options: Options,
    pub(super) batch: usize,
    pub(super) items: usize,
    pub(super) delay: Duration,
    pub(super) attributes: AttributeLimits,
}

impl Otlp {
    /// Creates a collector with a URL. For [`Protocol::HttpProtobuf`] `/v1/traces` and so on are
    /// appended. For gRPC a host and a port are enough, and mean TLS.
    pub fn new(endpoint: impl Into<String>) -> Self {
        let signal = |delay| SignalConfig {
            is_on: true,
            is_console: false,
            url: None,
            options: Options::default(),
            batch: 512,
            items: usize::MAX,
            delay: Duration::from_secs(delay),
            attributes: AttributeLimits::default(),
        };
        // One collection is one batch.
        let metrics = SignalConfig {
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

    /// Sets the protocol.
    ///
    /// Defaults to [`Protocol::HttpProtobuf`].
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.options.protocol = Some(protocol);
        self
    }

    /// Adds a header to all requests, such as a token. The value is never shown.
    ///
    /// Defaults to none.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let headers = self.options.headers.get_or_insert_default();
        headers.push((name.into(), value.into()));
        self
    }

    /// Sets the timeout of an attempt. The limit is one year.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sets the time for which a batch is retried. Afterwards its items have failed. The limit is
    /// one day.
    ///
    /// Defaults to 30 s.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.options.patience = Some(time);
        self
    }

    /// Compresses requests with gzip.
    ///
    /// Defaults to no compression.
    pub fn gzip(mut self) -> Self {
        self.options.is_compressed = Some(true);
        self
    }

    /// Sets the trusted certificate authorities, in PEM.
    ///
    /// Defaults to Mozilla's list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.options.certificate = Some(pem.into());
        self
    }

    /// Sets the client certificate: the chain in PEM, leaf first, and its private key in PEM.
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

    /// Sets whether log records are exported.
    ///
    /// Defaults to true.
    pub fn logs(self, are_exported: bool) -> Self {
        self.switch(LOGS, are_exported)
    }

    /// Sets whether metrics are exported. They need a
    /// [source](crate::TelemetryBuilder::metric_source).
    ///
    /// Defaults to true.
    pub fn metrics(self, are_exported: bool) -> Self {
        self.switch(METRICS, are_exported)
    }

    fn switch(mut self, signal: usize, is_on: bool) -> Self {
        self.signals[signal].is_on = is_on;
        self
    }

    /// Sets the interval of metric exports, from 10 ms to one day.
    ///
    /// Defaults to 60 s.
    pub fn metrics_every(mut self, interval: Duration) -> Self {
        self.metrics_every = interval;
        self
    }

    /// Sets the size of the queue in bytes, for spans and for log records each. The minimum is 1
    /// MiB.
    ///
    /// Defaults to 8 MiB.
    pub fn max_waiting_bytes(mut self, max: usize) -> Self {
        self.max_waiting_bytes = max;
        self
    }
}

/// The signals, in the order of [`Otlp::signals`].
pub(super) const TRACES: usize = 0;
pub(super) const LOGS: usize = 1;
pub(super) const METRICS: usize = 2;

pub(super) const NAMES: [&str; 3] = ["traces", "logs", "metrics"];

/// The gRPC service of each signal.
#[cfg(feature = "otlp-grpc")]
pub(super) const SERVICES: [&str; 3] = [
    "trace.v1.TraceService",
    "logs.v1.LogsService",
    "metrics.v1.MetricsService",
];

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = Target::parse(&self.endpoint).map(|target| target.to_string());
        f.debug_struct("Otlp")
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}
