use std::num::NonZeroU32;
use std::sync::Arc;

use crate::capture::Capture;
use crate::fields::quoted;
use crate::filter::LogFilter;
use crate::keys::Keys;
use crate::layer::LogLayer;
use crate::limit::Limit;
use crate::line::{Format, Style};
use crate::names::FieldNames;
use crate::queue::Queue;
use crate::redact::Redaction;
use crate::{BuildError, InstallError, Telemetry, TelemetryGuard, Writer, clock};

/// Settings of a [`Telemetry`].
///
/// | setting | default |
/// |---|---|
/// | [`version`](Self::version), [`environment`](Self::environment), [`instance`](Self::instance) | none |
/// | [`format`](Self::format) | [`Format::Json`] |
/// | [`names`](Self::names) | [`FieldNames::Campanile`] |
/// | [`writer`](Self::writer) | [`Writer::stdout`] |
/// | [`filter`](Self::filter) | `info` |
/// | [`redact`](Self::redact) | `password`, `passwd`, `secret`, `token`, `api_key`, `apikey`, `authorization`, `cookie`, `private_key` |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) | 8 MiB |
/// | [`rate_limit`](Self::rate_limit) | none |
/// | [`capture`](Self::capture) | no lines are kept |
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` or `install` is called"]
pub struct TelemetryBuilder {
    service: String,
    version: Option<String>,
    environment: Option<String>,
    instance: Option<String>,
    format: Format,
    names: FieldNames,
    writer: Writer,
    filter: String,
    redaction: Redaction,
    max_waiting_bytes: usize,
    rate_limit: Option<NonZeroU32>,
    capture: Option<Capture>,
    /// For the message of its error: where it is from, if it is not from the code.
    filter_is_from: &'static str,
}

impl TelemetryBuilder {
    pub(crate) fn new(service: String) -> Self {
        Self {
            service,
            version: None,
            environment: None,
            instance: None,
            format: Format::Json,
            names: FieldNames::Campanile,
            writer: Writer::stdout(),
            filter: "info".to_owned(),
            redaction: Redaction::default(),
            max_waiting_bytes: 8 << 20,
            rate_limit: None,
            capture: None,
            filter_is_from: "",
        }
    }

    /// Sets the service's version, which every line in JSON has.
    ///
    /// Defaults to none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets where the service runs, such as `production`, which every line in JSON has.
    ///
    /// Defaults to none.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Sets which of the service's instances this is, which every line in JSON has.
    ///
    /// Defaults to none.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets how a line looks.
    ///
    /// Defaults to [`Format::Json`].
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets what the keys of a line's own fields are called, in JSON.
    ///
    /// Defaults to [`FieldNames::Campanile`].
    pub fn names(mut self, names: FieldNames) -> Self {
        self.names = names;
        self
    }

    /// Sets where lines go.
    ///
    /// Defaults to [`Writer::stdout`].
    pub fn writer(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    /// Sets which events there are a line for, as `RUST_LOG` has it: `info,orders=debug,hyper=warn`.
    ///
    /// Defaults to `info`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self.filter_is_from = "";
        self
    }

    /// Sets the words that make a field's value `[redacted]` if they are in its name, in upper or lower case, in place of the default
    /// ones.
    ///
    /// Defaults to `password`, `passwd`, `secret`, `token`, `api_key`, `apikey`, `authorization`, `cookie` and `private_key`.
    pub fn redact(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redaction = Redaction::of(words.into_iter().map(Into::into));
        self
    }

    /// Sets how many bytes of lines may wait for the writer; at least 1 MiB. Lines that find no room are dropped, counted, and told of in the
    /// log.
    ///
    /// Defaults to 8 MiB.
    pub fn max_waiting_bytes(mut self, max: usize) -> Self {
        self.max_waiting_bytes = max;
        self
    }

    /// Sets how many lines each place in the program, which is each `info!` and so on, may log in a second. What is more is left out, and the
    /// next line of that place says how many were, in the field `suppressed`. 4,096 places are limited.
    ///
    /// Defaults to no limit.
    pub fn rate_limit(mut self, lines_per_second: NonZeroU32) -> Self {
        self.rate_limit = Some(lines_per_second);
        self
    }

    /// Keeps the last lines in memory, so that they can be [searched](Telemetry::capture): at most so many, and so many bytes. 10,000 lines and
    /// 4 MiB are enough for most.
    ///
    /// Defaults to keeping none.
    pub fn capture(mut self, max_lines: usize, max_bytes: usize) -> Self {
        self.capture = Some(Capture::new(max_lines, max_bytes));
        self
    }

    /// Reads the environment, in place of what was set before: `RUST_LOG` for the [filter](Self::filter), and of
    /// `OTEL_RESOURCE_ATTRIBUTES` `service.version`, `deployment.environment.name` and `service.instance.id`. What is not there, or empty,
    /// changes nothing.
    pub fn from_env(self) -> Self {
        self.from(|name| std::env::var(name).ok())
    }

    fn from(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        if let Some(filter) = variable("RUST_LOG") {
            self.filter = filter;
            self.filter_is_from = " of RUST_LOG";
        }
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let pairs = attributes
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        for (key, value) in pairs.filter(|(_, value)| !value.trim().is_empty()) {
            let place = match key.trim() {
                "service.version" => &mut self.version,
                "deployment.environment.name" => &mut self.environment,
                "service.instance.id" => &mut self.instance,
                _ => continue,
            };
            *place = Some(value.trim().to_owned());
        }
        self
    }

    /// Opens the writer and starts the thread that writes, `campanile-log`. Nothing global changes.
    ///
    /// # Errors
    ///
    /// If a setting is not valid, or the writer can't be opened.
    pub fn build(self) -> Result<Telemetry, BuildError> {
        let name = &self.service;
        if name.is_empty() || name.chars().count() > 255 || name.contains(char::is_control) {
            let name = name.clone();
            return Err(BuildError::ServiceName { name });
        }
        if self.max_waiting_bytes < LEAST_WAITING {
            return Err(BuildError::MaxWaitingBytes {
                given: self.max_waiting_bytes,
            });
        }
        let filter = match LogFilter::new(&self.filter) {
            Ok(filter) => filter,
            Err(error) => {
                return Err(BuildError::Filter {
                    filter: self.filter,
                    from: self.filter_is_from,
                    reason: error.to_string(),
                });
            }
        };
        let colours = self.format == Format::Pretty && self.writer.is_terminal();
        let values = [
            Some(&self.service),
            self.version.as_ref(),
            self.environment.as_ref(),
            self.instance.as_ref(),
        ];
        let values = values.map(|value| value.map(String::as_str));
        let style = Arc::new(Style::new(self.format, self.names, values, colours));
        let report = {
            let style = Arc::clone(&style);
            move |lines| dropped(&style, lines)
        };
        let writer = self.writer.open()?;
        let queue = Queue::start(writer, self.max_waiting_bytes, report);
        Ok(Telemetry {
            layer: LogLayer {
                keys: Arc::new(Keys::new(self.redaction, style.names)),
                style,
                capture: self.capture,
                limit: self.rate_limit.map(|limit| Arc::new(Limit::new(limit))),
                queue: Arc::new(queue.map_err(|error| BuildError::Thread {
                    reason: error.to_string(),
                })?),
            },
            filter,
        })
    }

    /// Builds, and makes a subscriber with the filter and the layer the process's.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if the process has a subscriber already.
    pub fn install(self) -> Result<TelemetryGuard, InstallError> {
        self.build()?.install()
    }
}

const LEAST_WAITING: usize = 1 << 20;

/// Returns the line that tells of lines that were dropped.
fn dropped(style: &Style, lines: u64) -> String {
    let text = format!("{lines} lines of the log were dropped, because the writer did not keep up");
    let mut line = String::new();
    match style.format {
        Format::Json => {
            line.push_str("{\"");
            line.push_str(style.names.timestamp);
            line.push_str("\":\"");
            clock::push_now(&mut line);
            line.push_str("\",\"");
            line.push_str(style.names.level);
            line.push_str("\":\"WARN\",\"");
            line.push_str(style.names.target);
            line.push_str("\":\"campanile_telemetry\",\"");
            line.push_str(style.names.message);
            line.push_str("\":");
            quoted(&text, &mut line);
            line.push('}');
        }
        Format::Compact | Format::Pretty => {
            clock::push_now(&mut line);
            line.push_str("  WARN campanile_telemetry: ");
            line.push_str(&text);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_what_was_set() {
        let read = |variables: &[(&str, &str)]| {
            let builder = Telemetry::builder("a").version("1").filter("warn");
            let builder = builder.from(|name| {
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
