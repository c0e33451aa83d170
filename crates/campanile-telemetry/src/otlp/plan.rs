//! The validated settings that an exporter starts with.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use campanile_client::{Client, Target};
use http::{HeaderName, HeaderValue};

use super::batch_queue::Limits;
use super::console::Console;
use super::limits::AttributeLimits;
use super::metrics::MetricSource;
use super::protocol::Protocol;
use super::send::Sender;
#[cfg(feature = "otlp-grpc")]
use super::settings::SERVICES;
use super::settings::{DAY, LOGS, METRICS, NAMES, Otlp, TRACES};
use super::transport::Transport;
use crate::Problem;
use crate::redact::Redaction;
use crate::sampler::Sampler;

/// The validated settings of one signal.
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) limits: Limits,
}

/// The validated settings of an exporter.
pub(crate) struct Plan {
    pub(crate) sampler: Sampler,
    /// The limits of spans, and of log records.
    pub(crate) attributes: [AttributeLimits; 2],
    pub(crate) traces: Option<Signal>,
    pub(crate) logs: Option<Signal>,
    pub(crate) metrics: Option<(Signal, Arc<dyn MetricSource>, Duration)>,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) redaction: Redaction,
    /// Writes a line to the log that is not exported.
    pub(crate) report: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Otlp {
    /// Validates the settings.
    pub(crate) fn plan(
        self,
        resource: Vec<(String, String)>,
        redaction: Redaction,
        sampler: Sampler,
        source: Option<Arc<dyn MetricSource>>,
        report: Arc<dyn Fn(&str) + Send + Sync>,
        console: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Plan, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.max_waiting_bytes < 1 << 20 {
            let setting = "max_waiting_bytes of the collector";
            problems.push(problem(setting, "expected at least 1048576"));
        }
        if self.metrics_every < MIN_INTERVAL {
            problems.push(problem("metrics_every", "expected at least 10 ms"));
        }
        let mut signal = |signal: usize, is_used: bool| {
            let is_on = is_used && self.signals[signal].is_on;
            let planned = is_on.then(|| self.signal(signal, console))?;
            planned.map_err(|problem| problems.push(problem)).ok()
        };
        let [traces, logs, metrics] = [
            signal(TRACES, true),
            signal(LOGS, true),
            signal(METRICS, source.is_some()),
        ];
        if !problems.is_empty() {
            // Settings for all signals are reported once.
            problems.dedup();
            return Err(problems);
        }
        let interval = self.metrics_every.min(DAY);
        Ok(Plan {
            sampler,
            attributes: [TRACES, LOGS].map(|signal| self.signals[signal].attributes),
            traces,
            logs,
            metrics: metrics
                .zip(source)
                .map(|(signal, source)| (signal, source, interval)),
            resource,
            redaction,
            report,
        })
    }

    pub(super) fn signal(
        &self,
        signal: usize,
        console: &Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Signal, Problem> {
        let transport = match self.signals[signal].is_console {
            true => Transport::console(Console {
                signal,
                write: Arc::clone(console),
            }),
            false => Transport::new(self.sender(signal)?),
        };
        let own = &self.signals[signal];
        Ok(Signal {
            name: ["spans", "log records", "metric points"][signal],
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

    fn sender(&self, signal: usize) -> Result<Sender, Problem> {
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
            Some(_) => format!("OTLP endpoint of {}", NAMES[signal]),
            None => "OTLP endpoint".to_owned(),
        };
        let target = target.map_err(|error| problem(&setting, error))?;
        let mut headers = protocol.headers(is_compressed);
        let given = own.options.headers.as_ref().or(common.headers.as_ref());
        for (name, value) in given.into_iter().flatten() {
            let name_of = HeaderName::try_from(name.as_str());
            let mut value = HeaderValue::try_from(value.as_str());
            if let Ok(value) = &mut value {
                value.set_sensitive(true);
            }
            // An invalid name is not shown, since it may be a value in the wrong place.
            let Ok(name) = name_of else {
                let expected =
                    "expected `name=value` with an HTTP header name and a percent-encoded value";
                return Err(problem("OTLP headers", expected));
            };
            let Ok(value) = value else {
                let setting = format!("OTLP header {name:?}");
                return Err(problem(&setting, "expected an HTTP header value"));
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
                .map_err(|error| problem("OTLP root certificates", error))?,
        };
        let identity = own.options.identity.as_ref().or(common.identity.as_ref());
        let client = match identity {
            None => client,
            Some((chain, key)) => client
                .client_certificate(chain, key)
                .map_err(|error| problem("OTLP client certificate", error))?,
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

/// The limit of queued bytes of metrics.
const MAX_METRICS: usize = 64 << 20;

/// The minimum of `metrics_every`.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

fn problem(setting: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Problem {
    Problem::Otlp {
        setting: setting.to_owned(),
        source: source.into().into(),
    }
}
