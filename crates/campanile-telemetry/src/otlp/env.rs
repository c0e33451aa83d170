//! Environment variables of OpenTelemetry:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::time::Duration;

use super::protocol::Protocol;
use super::settings::{LOGS, METRICS, NAMES, Options, Otlp, TRACES};
use crate::EnvWarning;
use crate::percent::decode;

/// Reads variables. An invalid one is ignored with a warning.
struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    warnings: &'a mut Vec<EnvWarning>,
}

/// The exporter of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exporter {
    Otlp,
    Console,
    None,
}

impl Otlp {
    /// Returns the collector of the environment, if it has one.
    ///
    /// A signal whose certificates cannot be read is not exported. With the default certificates it
    /// would trust other collectors.
    pub(crate) fn of_env(
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<EnvWarning>,
    ) -> Option<Self> {
        let mut reader = Reader { variable, warnings };
        let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let mut is_wanted = endpoint.is_some();
        let (common, has_certificates) = reader.options("");
        let mut otlp = Self::new(endpoint.clone().unwrap_or_default());
        otlp.options = common;
        for (signal, name) in NAMES.into_iter().enumerate() {
            let upper = name.to_uppercase();
            let own = &mut otlp.signals[signal];
            let (options, has_own_certificates) = reader.options(&format!("{upper}_"));
            own.options = options;
            own.url = variable(&format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"));
            let exporter = format!("OTEL_{upper}_EXPORTER");
            let has_endpoint = endpoint.is_some() || own.url.is_some();
            let exporter = reader.exporter(&exporter, signal);
            own.is_console = exporter == Some(Exporter::Console);
            let is_on = exporter.map_or(has_endpoint, |exporter| exporter != Exporter::None);
            own.is_on = is_on && has_certificates && has_own_certificates;
            is_wanted |= own.is_on;
            if !has_endpoint {
                let protocol = own.options.protocol.or(otlp.options.protocol);
                own.url = Some(match protocol.unwrap_or_default() {
                    #[cfg(feature = "otlp-grpc")]
                    Protocol::Grpc => "http://localhost:4317".to_owned(),
                    Protocol::HttpProtobuf => format!("http://localhost:4318/v1/{name}"),
                });
            }
        }
        for (signal, prefix) in [(TRACES, "OTEL_BSP"), (LOGS, "OTEL_BLRP")] {
            let own = &mut otlp.signals[signal];
            let set = |name: &str| format!("{prefix}_{name}");
            if let Some(delay) = reader.time(&set("SCHEDULE_DELAY")) {
                own.delay = delay;
            }
            if let Some(items) = reader.number(&set("MAX_QUEUE_SIZE")) {
                own.items = items;
            }
            if let Some(batch) = reader.number(&set("MAX_EXPORT_BATCH_SIZE")) {
                own.batch = batch.max(1);
            }
            own.options.patience = reader.time(&set("EXPORT_TIMEOUT"));
        }
        for (signal, prefix) in [(TRACES, "OTEL_SPAN_"), (LOGS, "OTEL_LOGRECORD_")] {
            let limits = &mut otlp.signals[signal].attributes;
            for prefix in ["OTEL_", prefix] {
                if let Some(count) = reader.number(&format!("{prefix}ATTRIBUTE_COUNT_LIMIT")) {
                    limits.count = count;
                }
                let length = format!("{prefix}ATTRIBUTE_VALUE_LENGTH_LIMIT");
                if let Some(length) = reader.number(&length) {
                    limits.length = length;
                }
            }
        }
        if let Some(every) = reader.time("OTEL_METRIC_EXPORT_INTERVAL") {
            otlp.metrics_every = every;
        }
        otlp.signals[METRICS].options.patience = reader.time("OTEL_METRIC_EXPORT_TIMEOUT");
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        if variable(temporality).is_some_and(|value| !value.eq_ignore_ascii_case("cumulative")) {
            reader.warn(
                temporality,
                "expected `cumulative`, the only temporality supported",
            );
        }
        is_wanted.then_some(otlp)
    }
}

impl Reader<'_> {
    /// Reads a list of exporters; `None` if none is supported. OTLP takes precedence over the
    /// console.
    fn exporter(&mut self, name: &str, signal: usize) -> Option<Exporter> {
        let list = (self.variable)(name)?.to_ascii_lowercase();
        let mut found = None;
        for exporter in list.split(',').map(str::trim).filter(|of| !of.is_empty()) {
            match (exporter, signal) {
                ("otlp", _) => found = Some(Exporter::Otlp),
                ("console", TRACES | METRICS) if found != Some(Exporter::Otlp) => {
                    found = Some(Exporter::Console);
                }
                ("console", TRACES | METRICS) => {}
                // The log is written to the console and metrics are served at `/metrics` anyway.
                ("none", _) | ("console", LOGS) | ("prometheus", METRICS) => {
                    found.get_or_insert(Exporter::None);
                }
                _ => self.warn(name, "expected `otlp`, `console` or `none`"),
            }
        }
        found
    }

    /// Reads the options of all signals or of one, and whether their certificates are usable.
    fn options(&mut self, signal: &str) -> (Options, bool) {
        let name = |name: &str| format!("OTEL_EXPORTER_OTLP_{signal}{name}");
        let protocol = name("PROTOCOL");
        let protocol = self.parsed(&protocol, |value| match &*value.to_ascii_lowercase() {
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            #[cfg(feature = "otlp-grpc")]
            "grpc" => Ok(Protocol::Grpc),
            #[cfg(not(feature = "otlp-grpc"))]
            "grpc" => Err("`grpc` needs the feature `otlp-grpc` of campanile-telemetry"),
            _ => Err("expected `http/protobuf` or `grpc`"),
        });
        let is_compressed = self.parsed(&name("COMPRESSION"), |value| {
            match &*value.to_ascii_lowercase() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err("expected `gzip` or `none`"),
            }
        });
        let headers = self.parsed(&name("HEADERS"), |value| {
            headers(value).ok_or("expected `name=value,name=value`, percent-encoded")
        });
        let warnings = self.warnings.len();
        let certificate = self.file(&name("CERTIFICATE"));
        let client_certificate = self.file(&name("CLIENT_CERTIFICATE"));
        let client_key = self.file(&name("CLIENT_KEY"));
        let identity = match (client_certificate, client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let both = "expected a usable client key and client certificate together";
                self.warn(&name("CLIENT_CERTIFICATE"), both);
                None
            }
        };
        let has_certificates = self.warnings.len() == warnings;
        let is_insecure = self.parsed(&name("INSECURE"), |value| {
            match &*value.to_ascii_lowercase() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("expected `true` or `false`"),
            }
        });
        let options = Options {
            protocol,
            headers,
            timeout: self.time(&name("TIMEOUT")),
            is_compressed,
            certificate,
            identity,
            is_insecure,
            patience: None,
        };
        (options, has_certificates)
    }

    fn file(&mut self, name: &str) -> Option<Vec<u8>> {
        self.parsed(name, |path| {
            std::fs::read(path).map_err(|_| "failed to read the file; the signal is not exported")
        })
    }

    fn time(&mut self, name: &str) -> Option<Duration> {
        self.number(name)
            .map(|milliseconds| Duration::from_millis(milliseconds as u64))
    }

    fn number(&mut self, name: &str) -> Option<usize> {
        self.parsed(name, |value| {
            let number = value.parse::<u32>();
            number
                .map(|number| number as usize)
                .map_err(|_| "expected a whole number")
        })
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = (self.variable)(name)?;
        let parsed = parse(value.trim());
        parsed.map_err(|reason| self.warn(name, reason)).ok()
    }

    fn warn(&mut self, name: &str, reason: &str) {
        self.warnings.push(EnvWarning::new(name, reason));
    }
}

/// Reads `name=value,name=value` with percent-encoded values, as in W3C Baggage.
fn headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), decode(value.trim())?))
    };
    pairs.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Otlp>, Vec<EnvWarning>) {
        let mut warnings = Vec::new();
        let variable = |name: &str| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        (Otlp::of_env(&variable, &mut warnings), warnings)
    }

    fn of(variables: &[(&str, &str)]) -> Option<Otlp> {
        read(variables).0
    }

    fn nowhere() -> std::sync::Arc<dyn Fn(&str) + Send + Sync> {
        std::sync::Arc::new(|_: &str| ())
    }

    #[test]
    fn there_is_a_collector_only_if_one_is_wanted() {
        assert!(of(&[]).is_none());
        assert!(of(&[("OTEL_TRACES_EXPORTER", "none")]).is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/");
        assert!(of(&[("OTEL_METRICS_EXPORTER", "prometheus")]).is_none());
        assert!(of(&[("OTEL_TRACES_EXPORTER", "zipkin")]).is_none());
        let on = |otlp: Option<Otlp>| otlp.unwrap().signals.map(|signal| signal.is_on);
        assert_eq!(on(of(&[endpoint])), [true; 3]);
        let none = ("OTEL_LOGS_EXPORTER", "none");
        assert_eq!(on(of(&[endpoint, none])), [true, false, true]);
        assert_eq!(
            on(of(&[("OTEL_TRACES_EXPORTER", "otlp")])),
            [true, false, false]
        );
        for (list, expected) in [("otlp,console", true), ("console", true), ("None", false)] {
            let exporter = ("OTEL_TRACES_EXPORTER", list);
            assert_eq!(
                on(of(&[endpoint, exporter])),
                [expected, true, true],
                "{list}"
            );
        }
        let console = of(&[("OTEL_TRACES_EXPORTER", "console")]).unwrap();
        assert!(console.signals[TRACES].is_console);
        let traces = console.signal(TRACES, &nowhere()).unwrap().transport;
        assert_eq!(traces.to_string(), "the console");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1/x");
        assert_eq!(on(of(&[own])), [false, false, true]);
    }

    #[test]
    fn what_is_for_a_signal_goes_before_what_is_for_all() {
        let otlp = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/base/"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l:2/verbatim"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a,x=1"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "y=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "500"),
        ])
        .unwrap();
        let traces = otlp.signal(TRACES, &nowhere()).unwrap();
        // Neither the path nor a header shows.
        assert_eq!(traces.transport.sender().target.to_string(), "http://c:1/…");
        assert_eq!(
            traces.transport.sender().headers["authorization"],
            "Bearer a"
        );
        assert!(!format!("{:?} {otlp:?}", traces.transport.sender().headers).contains("Bearer"));
        assert_eq!(
            traces.transport.sender().headers["content-encoding"],
            "gzip"
        );
        assert_eq!(
            traces.transport.sender().patience,
            Duration::from_millis(500)
        );
        let limits = traces.limits;
        assert_eq!(
            (limits.batch, limits.items, limits.delay),
            (32, 64, Duration::from_millis(250))
        );
        let logs = otlp.signal(LOGS, &nowhere()).unwrap();
        assert_eq!(logs.transport.sender().target.to_string(), "http://l:2/…");
        assert_eq!(logs.transport.sender().headers["y"], "2");
        assert!(!logs.transport.sender().headers.contains_key("x"));
    }

    #[test]
    fn limits_of_one_signal_go_before_those_of_all() {
        let otlp = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "20"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "30"),
            ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "40"),
        ]);
        let signals = otlp.unwrap().signals;
        let limits = |signal: usize| {
            (
                signals[signal].attributes.count,
                signals[signal].attributes.length,
            )
        };
        assert_eq!([limits(TRACES), limits(LOGS)], [(30, 20), (10, 40)]);
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn an_endpoint_of_grpc_may_be_a_host_and_a_port() {
        let target = |insecure: &str| {
            let otlp = of(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", insecure),
            ]);
            otlp.unwrap()
                .signal(TRACES, &nowhere())
                .unwrap()
                .transport
                .sender()
                .target
                .to_string()
        };
        assert_eq!(target("true"), "http://collector:4317/…");
        assert_eq!(target("false"), "https://collector:4317/…");
    }

    /// Operators set these variables for a whole cluster: an invalid one stops no service.
    #[test]
    fn an_unusable_variable_is_ignored_with_a_warning() {
        #[track_caller]
        fn check(name: &str, value: &str) -> Otlp {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
            let (otlp, warnings) = read(&[endpoint, (name, value)]);
            assert_eq!(warnings[0].variable(), name, "{warnings:?}");
            assert!(!warnings[0].to_string().contains(value), "{warnings:?}");
            otlp.unwrap()
        }
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "spdy"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "novalue"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "br"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRICS_EXPORTER", "statsd"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ] {
            let otlp = check(name, value);
            otlp.signal(TRACES, &nowhere()).unwrap();
            assert_eq!(otlp.signals.map(|signal| signal.is_on), [true; 3], "{name}");
        }
    }

    #[test]
    fn a_signal_whose_certificates_are_not_usable_is_not_exported() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1");
        for (name, expected) in [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", None),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", None),
            (
                "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
                Some([true, false, true]),
            ),
        ] {
            let (otlp, warnings) = read(&[endpoint, (name, "/nowhere/ca.pem")]);
            let on = otlp.unwrap().signals.map(|signal| signal.is_on);
            assert_eq!(on, expected.unwrap_or([false; 3]), "{name}");
            assert_eq!(warnings[0].variable(), name);
        }
    }
}
