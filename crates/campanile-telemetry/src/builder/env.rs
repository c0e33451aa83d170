#[cfg(feature = "otlp")]
use super::exports::Exports;
use crate::EnvWarning;
use crate::filter::directives;
use crate::percent::decode;

/// The settings that the environment has.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) filter: Option<String>,
    /// Whether the variable of the filter was read.
    pub(super) has_read_filter: bool,
    pub(super) service: Option<String>,
    pub(super) version: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) instance: Option<String>,
    /// Other resource attributes. A later value of a key replaces an earlier one.
    pub(super) resource: Vec<(String, String)>,
    #[cfg(feature = "otlp")]
    pub(super) exports: Exports,
    /// The variables that were ignored.
    pub(super) warnings: Vec<EnvWarning>,
}

impl Environment {
    /// Reads the variables of the process. Empty variables count as unset.
    pub(super) fn read() -> Self {
        Self::from(&|name| std::env::var(name).ok())
    }

    pub(super) fn from(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut env = Self::default();
        env.read_filter(variable);
        let variable = |name: &str| non_blank(variable, name);
        env.read_attributes(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            env.set_service("OTEL_SERVICE_NAME", name);
        }
        #[cfg(feature = "otlp")]
        {
            env.exports = Exports::read(&variable, &mut env.warnings);
        }
        env
    }

    /// Reads `RUST_LOG`.
    pub(super) fn read_filter(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        self.has_read_filter = true;
        let Some(filter) = non_blank(variable, "RUST_LOG") else {
            return;
        };
        match directives::parse(&filter) {
            Ok(_) => self.filter = Some(filter),
            Err(error) => {
                let reason = format!("invalid directives: {error}");
                self.warnings.push(EnvWarning::new("RUST_LOG", reason));
            }
        }
    }

    fn read_attributes(&mut self, attributes: &str) {
        let pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let (mut environment, mut old_environment) = (None, None);
        for (key, value) in pairs {
            let (key, value) = (key.trim(), value.trim());
            let value = decode(value).unwrap_or_else(|| value.to_owned());
            if value.is_empty() || key.is_empty() {
                continue;
            }
            match key {
                "service.name" => self.set_service("OTEL_RESOURCE_ATTRIBUTES", value),
                "service.version" => self.version = Some(value),
                "deployment.environment.name" => environment = Some(value),
                // The older key, which charts and operators still set.
                "deployment.environment" => old_environment = Some(value),
                "service.instance.id" => self.instance = Some(value),
                _ => self.resource.push((key.to_owned(), value)),
            }
        }
        self.environment = environment.or(old_environment);
    }

    fn set_service(&mut self, variable: &str, name: String) {
        if is_service_name(&name) {
            self.service = Some(name);
        } else {
            let reason =
                "invalid service name: expected 1 to 255 characters, no control characters";
            self.warnings.push(EnvWarning::new(variable, reason));
        }
    }
}

fn non_blank(variable: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.trim().is_empty())
}

pub(super) fn is_service_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= 255 && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capture, LogSchema, Telemetry, TelemetryBuilder, Writer};

    /// Returns a builder that has read these variables.
    fn reading(
        mut builder: TelemetryBuilder,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> TelemetryBuilder {
        builder.env = Environment::from(variable);
        builder
    }

    #[test]
    fn a_filter_that_is_not_valid_is_ignored() {
        let builder = reading(Telemetry::builder("a"), &|name| {
            (name == "RUST_LOG").then(|| "info,x=y=z".to_owned())
        });
        let telemetry = builder.build().unwrap();
        assert_eq!(telemetry.filter().directives(), "info");
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
                let mut builder = reading(Telemetry::builder("a"), &read);
                builder.apply_env();
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
            let telemetry = reading(Telemetry::builder("a"), &read).build().unwrap();
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
        let otlp = crate::Otlp::new("s3cret collector");
        let builder = reading(Telemetry::builder("a").otlp(otlp), &read);
        let error = builder.build().unwrap_err();
        let [crate::Problem::Otlp { setting, .. }] = error.problems() else {
            panic!("{error}");
        };
        assert_eq!(setting, "OTLP endpoint");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn both_keys_of_the_environment_are_known() {
        let read = |attributes: &'static str| {
            let read =
                |name: &str| (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| attributes.to_owned());
            Environment::from(&read).environment
        };
        assert_eq!(read("deployment.environment=prod").as_deref(), Some("prod"));
        let both = "deployment.environment.name=new,deployment.environment=old";
        assert_eq!(read(both).as_deref(), Some("new"));
        assert_eq!(read("a=b"), None);
    }

    #[test]
    fn lines_have_the_attributes_that_are_asked_for() {
        let attributes =
            "k8s.pod.name=a%2C1,level=x,fields_left_out=y,cloud.region=z,other=no,level=last";
        let read = |name: &str| (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| attributes.to_owned());
        let keys = ["k8s.pod.name", "level", "fields_left_out", "none"];
        for names in [LogSchema::Campanile, LogSchema::Ecs] {
            let builder = Telemetry::builder("a")
                .schema(names)
                .capture(Capture::new().max_lines(10));
            let builder = builder.writer(Writer::new(std::io::sink()));
            let telemetry = reading(builder, &read)
                .line_attributes(keys)
                .build()
                .unwrap();
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
                LogSchema::Ecs => ("level", "level_"),
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
    fn settings_of_the_code_take_precedence_over_the_environment() {
        let attributes =
            "service.version=2, deployment.environment.name = test ,x=y,service.instance.id=i,odd";
        let variables = [
            ("RUST_LOG", "debug"),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes),
        ];
        let read = |set: fn(TelemetryBuilder) -> TelemetryBuilder, variables: &[(&str, &str)]| {
            let builder = reading(Telemetry::builder("a"), &|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            let mut builder = set(builder);
            builder.apply_env();
            let TelemetryBuilder {
                filter,
                version,
                environment,
                instance,
                ..
            } = builder;
            [filter, version, environment, instance].map(Option::unwrap_or_default)
        };
        let none = |builder: TelemetryBuilder| builder;
        assert_eq!(read(none, &[]), ["", "", "", ""]);
        assert_eq!(read(none, &[("RUST_LOG", " ")]), ["", "", "", ""]);
        assert_eq!(read(none, &variables), ["debug", "2", "test", "i"]);
        let set = |builder: TelemetryBuilder| builder.filter("warn").version("1");
        assert_eq!(read(set, &variables), ["warn", "1", "test", "i"]);
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn a_collector_of_the_code_takes_precedence_and_the_environment_can_disable_it() {
        let is_exporting = |variables: &'static [(&str, &str)], has_otlp: bool| {
            let builder = Telemetry::builder("a");
            let builder = match has_otlp {
                true => builder.otlp(crate::Otlp::new("http://c:1")),
                false => builder,
            };
            let builder = reading(builder, &|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            let is_exporting = builder.is_exporting();
            assert_eq!(builder.build().unwrap().exports().is_some(), is_exporting);
            is_exporting
        };
        assert!(is_exporting(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")],
            false
        ));
        assert!(is_exporting(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "no url")],
            true
        ));
        assert!(!is_exporting(&[("OTEL_SDK_DISABLED", "true")], true));
        assert!(!is_exporting(&[], false));
    }
}
