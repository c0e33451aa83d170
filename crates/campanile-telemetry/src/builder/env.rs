use super::TelemetryBuilder;
use crate::EnvWarning;
use crate::filter::directives;
use crate::percent::decode;

impl TelemetryBuilder {
    /// Reads the environment, in place of what was set before. What is not there, or empty, changes nothing.
    ///
    /// | variable | sets |
    /// |---|---|
    /// | `RUST_LOG` | the [filter](Self::filter) |
    /// | `OTEL_SERVICE_NAME`, or `service.name` of `OTEL_RESOURCE_ATTRIBUTES` | the service's name |
    /// | `OTEL_RESOURCE_ATTRIBUTES` | the version, environment and instance on every line, by `service.version`, `deployment.environment.name` (or `deployment.environment`) and `service.instance.id`; others with [`line_attributes`](Self::line_attributes). All go to the collector |
    ///
    /// With feature `otlp`, in addition:
    ///
    /// | variable | default | sets |
    /// |---|---|---|
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | none, and then nothing is exported | the collector |
    /// | `OTEL_EXPORTER_OTLP_{TRACES,LOGS,METRICS}_ENDPOINT` | `/v1/traces` and so on there | the URL for one signal, as it is |
    /// | `OTEL_{TRACES,LOGS,METRICS}_EXPORTER` | `otlp` with an endpoint, or else `none` | where a signal goes: `otlp`, `console` (traces and metrics as lines of JSON, where the log is written), or `none` |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf` | or `grpc`, with feature `otlp-grpc` |
    /// | `OTEL_EXPORTER_OTLP_HEADERS` | none | `name=value,…`, with values as in a URL |
    /// | `OTEL_EXPORTER_OTLP_TIMEOUT` | `10000` | milliseconds of an attempt |
    /// | `OTEL_EXPORTER_OTLP_COMPRESSION` | `none` | or `gzip` |
    /// | `OTEL_EXPORTER_OTLP_CERTIFICATE` | Mozilla's list | a file in PEM with the authorities that are trusted |
    /// | `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_KEY` | none | files in PEM with a certificate of ours and its key |
    /// | `OTEL_EXPORTER_OTLP_INSECURE` | `false` | `true`: an endpoint for gRPC without a scheme is spoken to in plain text |
    /// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | `parentbased_always_on` | the sampler |
    /// | `OTEL_BSP_*`, `OTEL_BLRP_*`: `SCHEDULE_DELAY`, `MAX_EXPORT_BATCH_SIZE`, `MAX_QUEUE_SIZE`, `EXPORT_TIMEOUT` | `5000` (`1000` for lines), `512`, as many as 8 MiB hold, `30000` | batches of spans, and of lines |
    /// | `OTEL_ATTRIBUTE_COUNT_LIMIT`, `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, and the same of `OTEL_SPAN_` and `OTEL_LOGRECORD_` | `128`, no limit | how many attributes a span and a line have, and how many characters a text |
    /// | `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT` | `60000`, `30000` | milliseconds |
    /// | `OTEL_SDK_DISABLED` | `false` | `true`: nothing is exported, whatever the code says |
    ///
    /// Those of `OTEL_EXPORTER_OTLP_` can be for one signal too, as the endpoint's. Other variables of OpenTelemetry are not read.
    ///
    /// A variable that is not usable is ignored, with a line in the log and in [`Telemetry::env_warnings`]. If a certificate or key
    /// can't be read, its signal is not exported.
    ///
    /// [`Telemetry::env_warnings`]: crate::Telemetry::env_warnings
    pub fn from_env(self) -> Self {
        self.from(&|name| std::env::var(name).ok())
    }

    pub(super) fn from(mut self, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        if let Some(filter) = variable("RUST_LOG") {
            match directives::parse(&filter) {
                Ok(_) => self.filter = filter,
                Err(error) => {
                    let reason = format!("invalid directives: {error}");
                    self.env_warnings.push(EnvWarning::new("RUST_LOG", reason));
                }
            }
        }
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let (mut environment, mut older) = (None, None);
        for (key, value) in pairs {
            let (key, value) = (key.trim(), value.trim());
            let value = decode(value).unwrap_or_else(|| value.to_owned());
            if value.is_empty() || key.is_empty() {
                continue;
            }
            match key {
                "service.name" => self.rename("OTEL_RESOURCE_ATTRIBUTES", value),
                "service.version" => self.version = Some(value),
                "deployment.environment.name" => environment = Some(value),
                // The older key, which charts and operators still set.
                "deployment.environment" => older = Some(value),
                "service.instance.id" => self.instance = Some(value),
                _ => self.resource.push((key.to_owned(), value)),
            }
        }
        self.environment = environment.or(older).or(self.environment);
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            self.rename("OTEL_SERVICE_NAME", name);
        }
        #[cfg(feature = "otlp")]
        self.exports.read(&variable, &mut self.env_warnings);
        self
    }

    fn rename(&mut self, variable: &str, name: String) {
        if super::is_service_name(&name) {
            self.service = name;
        } else {
            let reason =
                "invalid service name: expected 1 to 255 characters without control characters";
            self.env_warnings.push(EnvWarning::new(variable, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{FieldNames, Telemetry, Writer};

    #[test]
    fn a_filter_that_is_not_valid_is_ignored() {
        let builder = Telemetry::builder("a").filter("warn");
        let builder = builder.from(&|name| (name == "RUST_LOG").then(|| "info,x=y=z".to_owned()));
        assert_eq!(builder.filter, "warn");
        let telemetry = builder.build().unwrap();
        assert_eq!(telemetry.env_warnings()[0].variable(), "RUST_LOG");
    }

    #[test]
    fn a_service_name_that_is_not_valid_is_ignored() {
        for name in ["two\nlines".to_owned(), "o".repeat(256)] {
            for (variable, value) in [
                ("OTEL_SERVICE_NAME", name.clone()),
                ("OTEL_RESOURCE_ATTRIBUTES", format!("service.name={name}")),
            ] {
                let read = |name: &str| (name == variable).then(|| value.clone());
                let builder = Telemetry::builder("a").from(&read);
                assert_eq!(builder.service, "a");
                let telemetry = builder.build().unwrap();
                assert_eq!(telemetry.env_warnings()[0].variable(), variable);
            }
        }
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn an_endpoint_of_the_environment_that_is_no_url_exports_nothing() {
        let read = |name: &str| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "s3cret collector".to_owned())
        };
        for variable in [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        ] {
            let read = |name: &str| (name == variable).then(|| "s3cret:4318".to_owned());
            let telemetry = Telemetry::builder("a").from(&read).build().unwrap();
            assert!(telemetry.exports().is_none());
            let [warning] = telemetry.env_warnings() else {
                panic!("{:?}", telemetry.env_warnings())
            };
            assert_eq!(warning.variable(), variable);
            let text = warning.to_string();
            assert!(!text.contains("s3cret"), "{text}");
            assert!(text.contains("http://example.com:4318"), "{text}");
        }
        // What the code says is an error.
        let otlp = crate::Otlp::at("s3cret collector");
        Telemetry::builder("a")
            .from(&read)
            .otlp(otlp)
            .build()
            .unwrap_err();
    }

    #[test]
    fn both_keys_of_the_environment_are_known() {
        let read = |attributes: &'static str| {
            let builder = Telemetry::builder("a").environment("test");
            let read =
                |name: &str| (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| attributes.to_owned());
            builder.from(&read).environment.unwrap()
        };
        assert_eq!(read("deployment.environment=prod"), "prod");
        let both = "deployment.environment.name=new,deployment.environment=old";
        assert_eq!(read(both), "new");
        assert_eq!(read("a=b"), "test");
    }

    #[test]
    fn lines_have_the_attributes_that_are_asked_for() {
        let attributes =
            "k8s.pod.name=a%2C1,level=x,fields_left_out=y,cloud.region=z,other=no,level=last";
        let read = |name: &str| (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| attributes.to_owned());
        let keys = ["k8s.pod.name", "level", "fields_left_out", "none"];
        for names in [FieldNames::Campanile, FieldNames::Ecs] {
            let builder = Telemetry::builder("a").names(names).capture(10, 1 << 20);
            let builder = builder.writer(Writer::new(std::io::sink())).from(&read);
            let telemetry = builder.line_attributes(keys).build().unwrap();
            telemetry.in_scope(|| {
                let _span = tracing::info_span!("span", k8s.pod.name = "span's").entered();
                tracing::info!(
                    k8s.pod.name = "event's",
                    level_ = 7,
                    cloud.region = "mine",
                    "m"
                );
            });
            let lines = telemetry.capture().unwrap().search(1, |_| true);
            let line: serde_json::Value = serde_json::from_str(&lines[0].line).unwrap();
            assert_eq!(line["k8s.pod.name"], "a,1", "{line}");
            assert_eq!(line["k8s.pod.name_"], "event's", "{line}");
            let (attribute, event) = match names {
                FieldNames::Ecs => ("level", "level_"),
                _ => ("level_", "level__"),
            };
            assert_eq!(line[attribute], "last", "{line}");
            assert_eq!(line[event], 7, "{line}");
            assert_eq!(line["fields_left_out_"], "y", "{line}");
            assert_eq!(line["cloud.region"], "mine", "{line}");
            assert_eq!(line["other"], serde_json::Value::Null, "{line}");
            for key in ["k8s.pod.name", "level", "level_"] {
                assert!(lines[0].line.matches(&format!("\"{key}\":")).count() <= 1);
            }
        }
    }

    #[test]
    fn the_environment_goes_before_what_was_set() {
        let read = |variables: &[(&str, &str)]| {
            let builder = Telemetry::builder("a").version("1").filter("warn");
            let builder = builder.from(&|name| {
                let found = variables.iter().find(|(of, _)| *of == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            (
                builder.filter,
                builder.version,
                builder.environment,
                builder.instance,
            )
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read(&[]), ("warn".into(), text("1"), None, None));
        assert_eq!(
            read(&[("RUST_LOG", " ")]),
            ("warn".into(), text("1"), None, None)
        );
        let attributes =
            "service.version=2, deployment.environment.name = test ,x=y,service.instance.id=i,odd";
        let variables = [
            ("RUST_LOG", "debug"),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ];
        let expected = ("debug".into(), text("2"), text("test"), text("i"));
        assert_eq!(read(&variables), expected);
    }
}
