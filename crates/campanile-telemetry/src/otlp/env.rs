//! The variables of OpenTelemetry's SDKs: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::time::Duration;

use super::{LOGS, METRICS, NAMES, Options, Otlp, Protocol, TRACES};
use crate::builder::decoded;

/// Reads variables, and notes the first that is not valid.
struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    problem: Option<(String, String)>,
}

impl Otlp {
    /// Returns the collector that the environment names, if it names one.
    pub(crate) fn of_env(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let mut reader = Reader {
            variable,
            problem: None,
        };
        let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let mut is_asked_for = endpoint.is_some();
        let common = reader.options("");
        let mut otlp = Self::at(endpoint.clone().unwrap_or_default());
        otlp.options = common;
        for (signal, name) in NAMES.into_iter().enumerate() {
            let upper = name.to_uppercase();
            let own = &mut otlp.signals[signal];
            own.options = reader.options(&format!("{upper}_"));
            own.url = variable(&format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"));
            let exporter = format!("OTEL_{upper}_EXPORTER");
            let has_endpoint = endpoint.is_some() || own.url.is_some();
            let value = variable(&exporter);
            own.is_on = match (value.as_deref().map(str::trim), signal) {
                (None, _) => has_endpoint,
                (Some("otlp"), _) => true,
                // The log is on the console, and the metrics are on a page, anyway.
                (Some("none"), _) | (Some("console"), LOGS) | (Some("prometheus"), METRICS) => {
                    false
                }
                (Some(_), _) => {
                    reader.note(&exporter, "give `otlp` or `none`");
                    is_asked_for = true;
                    false
                }
            };
            is_asked_for |= own.is_on;
            if !has_endpoint {
                let protocol = own.options.protocol.or(otlp.options.protocol);
                own.url = Some(match protocol.unwrap_or_default() {
                    #[cfg(feature = "grpc")]
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
            reader.note(temporality, "metrics are exported as `cumulative` alone");
        }
        otlp.problem = reader.problem;
        is_asked_for.then_some(otlp)
    }
}

impl Reader<'_> {
    /// Reads what there is for all signals, or for one.
    fn options(&mut self, signal: &str) -> Options {
        let name = |name: &str| format!("OTEL_EXPORTER_OTLP_{signal}{name}");
        let protocol = name("PROTOCOL");
        let protocol = self.parsed(&protocol, |value| match value {
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            #[cfg(feature = "grpc")]
            "grpc" => Ok(Protocol::Grpc),
            #[cfg(not(feature = "grpc"))]
            "grpc" => Err("it needs the feature `grpc` of campanile-telemetry"),
            _ => Err("give `http/protobuf` or `grpc`"),
        });
        let is_compressed = self.parsed(&name("COMPRESSION"), |value| match value {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err("give `gzip` or `none`"),
        });
        let headers = self.parsed(&name("HEADERS"), |value| {
            headers(value).ok_or("give `name=value,name=value`, with what is special as in a URL")
        });
        let certificate = self.file(&name("CERTIFICATE"));
        let client_certificate = self.file(&name("CLIENT_CERTIFICATE"));
        let client_key = self.file(&name("CLIENT_KEY"));
        let identity = match (client_certificate, client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let both = "give OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither";
                self.note(&name("CLIENT_CERTIFICATE"), both);
                None
            }
        };
        let is_insecure = self.parsed(&name("INSECURE"), |value| {
            match &*value.to_ascii_lowercase() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("give `true` or `false`"),
            }
        });
        Options {
            protocol,
            headers,
            timeout: self.time(&name("TIMEOUT")),
            is_compressed,
            certificate,
            identity,
            is_insecure,
            patience: None,
        }
    }

    fn file(&mut self, name: &str) -> Option<Vec<u8>> {
        self.parsed(name, |path| {
            std::fs::read(path).map_err(|_| "the file can't be read")
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
                .map_err(|_| "give a whole number")
        })
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = (self.variable)(name)?;
        let parsed = parse(value.trim());
        parsed.map_err(|problem| self.note(name, problem)).ok()
    }

    fn note(&mut self, name: &str, problem: &str) {
        self.problem
            .get_or_insert_with(|| (name.to_owned(), problem.to_owned()));
    }
}

/// Reads `name=value,name=value`, whose values are percent-encoded, as W3C Baggage has it.
fn headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), decoded(value.trim())?))
    };
    pairs.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Otlp> {
        Otlp::of_env(&|name| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn there_is_a_collector_only_if_one_is_asked_for() {
        assert!(of(&[]).is_none());
        assert!(of(&[("OTEL_TRACES_EXPORTER", "none")]).is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/");
        assert!(of(&[("OTEL_METRICS_EXPORTER", "prometheus")]).is_none());
        let zipkin = of(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
        assert!(zipkin.unwrap().problem.is_some());
        let on = |otlp: Option<Otlp>| otlp.unwrap().signals.map(|signal| signal.is_on);
        assert_eq!(on(of(&[endpoint])), [true; 3]);
        let none = ("OTEL_LOGS_EXPORTER", "none");
        assert_eq!(on(of(&[endpoint, none])), [true, false, true]);
        assert_eq!(
            on(of(&[("OTEL_TRACES_EXPORTER", "otlp")])),
            [true, false, false]
        );
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
        let traces = otlp.signal(TRACES).unwrap();
        // Neither the path nor a header shows.
        assert_eq!(traces.sender.target.to_string(), "http://c:1/…");
        assert_eq!(traces.sender.headers["authorization"], "Bearer a");
        assert!(!format!("{:?} {otlp:?}", traces.sender.headers).contains("Bearer"));
        assert_eq!(traces.sender.headers["content-encoding"], "gzip");
        assert_eq!(traces.sender.patience, Duration::from_millis(500));
        let limits = traces.limits;
        assert_eq!(
            (limits.batch, limits.items, limits.delay),
            (32, 64, Duration::from_millis(250))
        );
        let logs = otlp.signal(LOGS).unwrap();
        assert_eq!(logs.sender.target.to_string(), "http://l:2/…");
        assert_eq!(logs.sender.headers["y"], "2");
        assert!(!logs.sender.headers.contains_key("x"));
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

    #[cfg(feature = "grpc")]
    #[test]
    fn an_endpoint_of_grpc_may_be_a_host_and_a_port() {
        let target = |insecure: &str| {
            let otlp = of(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", insecure),
            ]);
            otlp.unwrap()
                .signal(TRACES)
                .unwrap()
                .sender
                .target
                .to_string()
        };
        assert_eq!(target("true"), "http://collector:4317/…");
        assert_eq!(target("false"), "https://collector:4317/…");
    }

    #[test]
    fn what_is_not_valid_is_named() {
        #[track_caller]
        fn check(name: &str, value: &str) {
            let otlp = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), (name, value)]);
            let (setting, _) = otlp.unwrap().problem.unwrap();
            assert_eq!(setting, name);
        }
        check("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
        check("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "x");
        check("OTEL_EXPORTER_OTLP_TIMEOUT", "-1");
        check("OTEL_EXPORTER_OTLP_HEADERS", "novalue");
        check("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz");
        check("OTEL_EXPORTER_OTLP_COMPRESSION", "br");
        check("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem");
        check("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/key.pem");
        check("OTEL_EXPORTER_OTLP_INSECURE", "1");
        check("OTEL_BSP_SCHEDULE_DELAY", "soon");
        check("OTEL_TRACES_EXPORTER", "zipkin");
        check("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta");
    }
}
