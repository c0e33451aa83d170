use std::fmt;
use std::time::Duration;

use campanile_client::Target;

use super::limits::AttributeLimits;
use super::protocol::Protocol;

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
/// let collector = Otlp::new("http://collector:4318").header("x-tenant", "shop");
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
    pub(super) endpoint: String,
    pub(super) options: Options,
    pub(super) signals: [SignalConfig; 3],
    pub(super) metrics_every: Duration,
    pub(super) max_waiting_bytes: usize,
}

/// What may be different for a signal.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) protocol: Option<Protocol>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) timeout: Option<Duration>,
    pub(super) is_compressed: Option<bool>,
    pub(super) certificate: Option<Vec<u8>>,
    /// A certificate of ours, and its key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether an endpoint for gRPC without a scheme is spoken to in plain text.
    #[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "any other has one"))]
    pub(super) is_insecure: Option<bool>,
    pub(super) patience: Option<Duration>,
}

#[derive(Clone)]
pub(super) struct SignalConfig {
    pub(super) is_on: bool,
    /// Whether it is written where the log is, and sent to no collector.
    pub(super) is_console: bool,
    /// As it is, in place of one that follows from the endpoint.
    pub(super) url: Option<String>,
    pub(super) options: Options,
    pub(super) batch: usize,
    pub(super) items: usize,
    pub(super) delay: Duration,
    pub(super) attributes: AttributeLimits,
}

impl Otlp {
    /// Returns a collector at a URL, to which `/v1/traces` and so on are added for [`Protocol::HttpProtobuf`]. For gRPC it may be a host and a
    /// port alone, which are then spoken to over TLS.
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
        // What is collected at once is a batch already.
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
}

/// The signals, in the order of [`Otlp::signals`].
pub(super) const TRACES: usize = 0;
pub(super) const LOGS: usize = 1;
pub(super) const METRICS: usize = 2;

pub(super) const NAMES: [&str; 3] = ["traces", "logs", "metrics"];

/// The gRPC service of each signal.
#[cfg(feature = "grpc")]
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
