use std::sync::Arc;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::key_cache::KeyCache;
use crate::line::{Format, Style};
use crate::queue::Queue;
use crate::redact::Redaction;
use crate::schema::LogSchema;
use crate::{Problem, Writer};

/// An additional output of the log, with a writer, a format and a level; for
/// [`TelemetryBuilder::output`](crate::TelemetryBuilder::output).
///
/// ```no_run
/// use campanile_telemetry::{Format, Output, Telemetry, Writer};
/// use tracing::level_filters::LevelFilter;
///
/// // Text at INFO on the terminal, and JSON at DEBUG in a file.
/// let _guard = Telemetry::builder("orders")
///     .filter("debug")
///     .format(Format::Pretty)
///     .writer_level(LevelFilter::INFO)
///     .output(Output::new(Writer::file("orders.log")))
///     .install()?;
/// # Ok::<_, campanile_telemetry::InstallError>(())
/// ```
#[derive(Debug)]
#[must_use = "an output does nothing until a builder has it"]
pub struct Output {
    writer: Writer,
    format: Format,
    schema: LogSchema,
    level: LevelFilter,
}

impl Output {
    /// Creates an output of JSON lines at all levels.
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            format: Format::Json,
            schema: LogSchema::Campanile,
            level: LevelFilter::TRACE,
        }
    }

    /// Sets the format of lines.
    ///
    /// Defaults to [`Format::Json`].
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the schema of JSON lines.
    ///
    /// Defaults to [`LogSchema::Campanile`].
    pub fn schema(mut self, schema: LogSchema) -> Self {
        self.schema = schema;
        self
    }

    /// Sets the maximum level of the output. The [filter](crate::TelemetryBuilder::filter) of
    /// the log applies first.
    ///
    /// Defaults to [`LevelFilter::TRACE`].
    pub fn level(mut self, level: LevelFilter) -> Self {
        self.level = level;
        self
    }

    /// Opens the writer and starts its thread.
    pub(crate) fn open(
        self,
        service: [Option<&str>; 4],
        attributes: &[(&str, &str)],
        redaction: Redaction,
        max_bytes: usize,
    ) -> Result<Sink, Problem> {
        let colours = self.format == Format::Pretty && self.writer.has_colours();
        let style = Arc::new(Style::new(
            self.format,
            self.schema,
            service,
            attributes,
            colours,
        ));
        let writer = self.writer.open(&style)?;
        let report = {
            let style = Arc::clone(&style);
            move |dropped, failed| report(&style, dropped, failed)
        };
        let queue = Queue::start(writer, max_bytes, report).map_err(|error| Problem::Thread {
            name: "campanile-log",
            source: Arc::new(error),
        })?;
        Ok(Sink {
            keys: Arc::new(KeyCache::new(redaction, style.names)),
            style,
            queue: Arc::new(queue),
            level: self.level,
        })
    }
}

/// Returns lines that report lost lines.
fn report(style: &Style, dropped: u64, failed: u64) -> String {
    let mut lines = String::new();
    if dropped > 0 {
        let text = format!("dropped {dropped} log lines: the writer did not keep up");
        lines += &style.own_line("WARN", &text);
    }
    if failed > 0 {
        let text = format!("failed to write {failed} log lines");
        lines += &style.own_line("ERROR", &text);
    }
    lines
}

/// An open output.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) style: Arc<Style>,
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) queue: Arc<Queue>,
    level: LevelFilter,
}

impl Sink {
    /// Returns a function that writes a line at INFO about the log itself, while the log is open.
    pub(crate) fn notices(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let style = Arc::clone(&self.style);
        let queue = Arc::downgrade(&self.queue);
        move |text| {
            if let Some(queue) = queue.upgrade() {
                queue.push_notice(&style.own_line("INFO", text));
            }
        }
    }

    pub(crate) fn wants(&self, level: Level) -> bool {
        level <= self.level
    }
}
