use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;

use crate::fields::quoted;
use crate::filter::LogFilter;
use crate::keys::Keys;
use crate::layer::LogLayer;
use crate::limit::Limit;
use crate::line::{Format, Style};
use crate::names::FieldNames;
use crate::queue::{LAST_WRITE, LogStats, Queue};
use crate::redact::Redaction;
use crate::rolling::Rolling;

/// A service's telemetry: what writes its log.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use campanile_telemetry::{Telemetry, Writer};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # #[derive(Clone, Default)] struct Memory(Arc<Mutex<Vec<u8>>>);
/// # impl Write for Memory {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let memory = Memory::default();
/// let telemetry = Telemetry::builder("orders").writer(Writer::new(memory.clone())).build()?; // or `.install()?`
/// let subscriber = tracing_subscriber::registry().with(telemetry.filter()).with(telemetry.layer());
/// tracing::subscriber::with_default(subscriber, || {
///     let _order = tracing::info_span!("order", id = 7).entered();
///     tracing::info!(items = 3, "accepted");
/// });
/// assert_eq!(telemetry.shutdown(Duration::from_secs(5)), 0);
///
/// let line = String::from_utf8(memory.0.lock().unwrap().clone())?;
/// assert!(line.contains(r#""level":"INFO""#) && line.contains(r#""message":"accepted","service":"orders""#));
/// assert!(line.ends_with("\"items\":3,\"id\":7}\n"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A clone is the same (an `Arc`).
#[derive(Clone, Debug)]
pub struct Telemetry {
    layer: LogLayer,
    filter: LogFilter,
}

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
    /// For the message of its error: where it is from, if it is not from the code.
    filter_is_from: &'static str,
}

impl Telemetry {
    /// Returns a builder for the service with this name.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder {
            service: service.into(),
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
            filter_is_from: "",
        }
    }

    /// Returns the layer that writes lines, for a subscriber of the host's own.
    #[must_use]
    pub fn layer(&self) -> LogLayer {
        self.layer.clone()
    }

    /// Returns the filter, for a subscriber of the host's own, and to change which events the log has.
    #[must_use]
    pub fn filter(&self) -> LogFilter {
        self.filter.clone()
    }

    /// Calls a function with a subscriber of this filter and layer as the thread's.
    pub fn in_scope<T>(&self, function: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.subscriber(), function)
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry()
            .with(self.filter())
            .with(self.layer())
    }

    /// Makes a subscriber with the filter and the layer the process's.
    ///
    /// # Errors
    ///
    /// If the process has a subscriber already.
    pub fn install(&self) -> Result<TelemetryGuard, InstallError> {
        let installed = tracing::subscriber::set_global_default(self.subscriber());
        installed.map_err(|_| InstallError::Taken)?;
        Ok(TelemetryGuard(self.clone()))
    }

    /// Returns what became of lines that were not written.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.layer.queue.stats()
    }

    /// Waits until all lines so far are written, but not longer than that; returns how many are not.
    pub fn flush(&self, longest: Duration) -> u64 {
        self.layer.queue.flush(longest)
    }

    /// Writes what there is and ends, but does not wait longer than that; returns how many lines are lost. What is logged later is dropped
    /// and counted.
    pub fn shutdown(&self, longest: Duration) -> u64 {
        self.layer.queue.shutdown(longest)
    }
}

/// What keeps an installed telemetry: when it is dropped, what was logged is written, for 5 s at most.
#[derive(Debug)]
#[must_use = "when this is dropped the log ends"]
pub struct TelemetryGuard(Telemetry);

impl TelemetryGuard {
    /// Returns the telemetry.
    pub fn telemetry(&self) -> &Telemetry {
        &self.0
    }

    /// Writes what there is and ends, but does not wait longer than that; returns how many lines are lost.
    pub fn shutdown(self, longest: Duration) -> u64 {
        self.0.shutdown(longest)
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        self.0.shutdown(LAST_WRITE);
    }
}

impl TelemetryBuilder {
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
            crate::clock::push_now(&mut line);
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
            crate::clock::push_now(&mut line);
            line.push_str("  WARN campanile_telemetry: ");
            line.push_str(&text);
        }
    }
    line.push('\n');
    line
}

/// Where lines go.
pub struct Writer(Target);

enum Target {
    Stdout,
    Stderr,
    File(PathBuf),
    Rolling(Rolling),
    Other(Box<dyn Write + Send>),
}

impl Writer {
    /// Writes to the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self(Target::Stdout)
    }

    /// Writes to the standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self(Target::Stderr)
    }

    /// Writes to the end of a file, which is made if it is not there.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Target::File(path.into()))
    }

    /// Writes to a file that makes room when it is large or old.
    pub fn rolling(rolling: Rolling) -> Self {
        Self(Target::Rolling(rolling))
    }

    /// Writes to anything else. It may block: it is called by a thread of its own, with many lines at a time.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Other(Box::new(writer)))
    }

    fn is_terminal(&self) -> bool {
        match self.0 {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Stderr => io::stderr().is_terminal(),
            Target::File(_) | Target::Rolling(_) | Target::Other(_) => false,
        }
    }

    fn open(self) -> Result<Box<dyn Write + Send>, BuildError> {
        Ok(match self.0 {
            Target::Stdout => Box::new(io::stdout()),
            Target::Stderr => Box::new(io::stderr()),
            Target::Other(writer) => writer,
            Target::Rolling(rolling) => {
                let path = rolling.path.clone();
                let reason = |error: io::Error| error.to_string();
                let file = rolling.open().map_err(reason);
                Box::new(file.map_err(|reason| BuildError::File { path, reason })?)
            }
            Target::File(path) => {
                let file = std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(&path);
                let file = file.map_err(|error| BuildError::File {
                    path,
                    reason: error.to_string(),
                })?;
                Box::new(file)
            }
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Stdout => f.write_str("Stdout"),
            Target::Stderr => f.write_str("Stderr"),
            Target::File(path) => f.debug_tuple("File").field(path).finish(),
            Target::Rolling(rolling) => rolling.fmt(f),
            Target::Other(_) => f.write_str("Other"),
        }
    }
}

/// A [`Telemetry`] cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The service's name is empty, too long, or not printable.
    #[error(
        "the service name {name:?} is not valid: give 1 to 255 characters, none of them a control character"
    )]
    ServiceName {
        /// The name as given.
        name: String,
    },
    /// The filter can't be read.
    #[error(
        "the filter {filter:?}{from} is not valid ({reason}): give directives as RUST_LOG has them, such as `info,orders=debug`"
    )]
    Filter {
        /// The directives as given.
        filter: String,
        /// Where they are from, for the message: empty if they are from the code.
        from: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// There is no room for lines that wait.
    #[error("`max_waiting_bytes` is {given}: give at least 1048576")]
    MaxWaitingBytes {
        /// The number as given.
        given: usize,
    },
    /// The file can't be opened.
    #[error(
        "the log file {path:?} can't be opened ({reason}): name one in a folder that is there and may be written to"
    )]
    File {
        /// The path as given.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// There is no thread to write lines.
    #[error("the thread that writes the log can't be started: {reason}")]
    Thread {
        /// What the system says.
        reason: String,
    },
}

/// A [`Telemetry`] cannot be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The process has a subscriber already.
    #[error(
        "the process has a tracing subscriber already: add `Telemetry::layer` to it, and don't install another"
    )]
    Taken,
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
