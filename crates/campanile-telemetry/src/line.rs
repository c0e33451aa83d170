//! Composes log lines.

use std::fmt::Write;

use tracing::Level;

use crate::clock;
use crate::escape::escape;
use crate::event::LogEvent;
use crate::fields::{Fields, KEPT, quoted};
use crate::key_cache::{EXTRA, KeyCache, LEFT_OUT, namespace};
use crate::origin::Origin;
use crate::schema::{LogSchema, SchemaKeys};

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One flat JSON object per line.
    #[default]
    Json,
    /// One line of text. A message with a `=` is quoted, so that it cannot look like fields.
    Compact,
    /// Text with one line for the message and one for each field. It has colours on a terminal,
    /// unless `NO_COLOR` is set. `CLICOLOR_FORCE` forces colours on the standard output and error.
    Pretty,
}

/// The part of an output that is the same in all lines.
#[derive(Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) names: &'static SchemaKeys,
    /// The service and its attributes, as JSON members.
    service: String,
    /// The keys of the attributes.
    attributes: Vec<String>,
    pub(crate) colours: bool,
}

impl Style {
    /// Returns a style with values of `service`, `version`, `environment` and `instance`, and
    /// further attributes of the service.
    pub(crate) fn new(
        format: Format,
        schema: LogSchema,
        values: [Option<&str>; 4],
        attributes: &[(&str, &str)],
        colours: bool,
    ) -> Self {
        // Text formats have fixed keys.
        let names = match format {
            Format::Json => schema.keys(),
            Format::Compact | Format::Pretty => LogSchema::Campanile.keys(),
        };
        let keys = [
            names.service,
            names.version,
            names.environment,
            names.instance,
        ];
        let mut service = String::new();
        let mut used = Vec::new();
        if format == Format::Json {
            if let Some((key, version)) = names.version_of_schema {
                json_key(key, &mut service);
                quoted(version, &mut service);
            }
            for (key, value) in keys.into_iter().zip(values) {
                if let Some(value) = value {
                    json_key(key, &mut service);
                    quoted(value, &mut service);
                }
            }
            for (key, value) in attributes {
                let mut key = names.named(key).into_owned();
                while names.has(&key) || used.contains(&key) || EXTRA.contains(&&*key) {
                    key.push('_');
                }
                json_key(&key, &mut service);
                quoted(value, &mut service);
                used.push(key);
            }
        }
        Self {
            format,
            names,
            service,
            attributes: used,
            colours,
        }
    }
}

impl Style {
    /// Returns whether every line has a key.
    fn has(&self, key: &str) -> bool {
        self.names.has(key) || self.attributes.iter().any(|attribute| attribute == key)
    }

    /// Returns a line of the library.
    pub(crate) fn own_line(&self, level: &str, text: &str) -> String {
        let mut line = String::new();
        match self.format {
            Format::Json => {
                let names = self.names;
                line.push_str("{\"");
                line.push_str(names.timestamp);
                line.push_str("\":\"");
                clock::push_now(&mut line);
                line.push('"');
                for (key, value) in [
                    (names.level, level),
                    (names.target, "campanile_telemetry"),
                    (names.message, text),
                ] {
                    json_key(key, &mut line);
                    quoted(value, &mut line);
                }
                line.push_str(&self.service);
                line.push('}');
            }
            Format::Compact | Format::Pretty => {
                clock::push_now(&mut line);
                let _ = write!(line, " {level:>5} campanile_telemetry: ");
                escape(text, &mut line);
            }
        }
        line.push('\n');
        line
    }
}

/// The limit of the fields of a line, in bytes. Further fields are left out.
const MAX_LINE: usize = 256 << 10;

/// The source of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The application, by an event or a span.
    Application,
    /// The span of a request around a call to another service, whose span the line has already. A
    /// line describes one of the two.
    OuterRequest,
    /// The library.
    Library,
}

/// The parts of a line. Their memory is reused.
#[derive(Debug, Default)]
pub(crate) struct Line {
    head: String,
    /// The fields. Some are known before the ids are.
    tail: String,
    /// The keys of the fields in the tail.
    used: Vec<&'static str>,
    /// The keys that were renamed, since the line has them already.
    renamed: Vec<String>,
    /// The number of fields that were left out.
    left_out: u64,
}

impl Line {
    pub(crate) fn clear(&mut self) {
        let Self {
            head,
            tail,
            used,
            renamed,
            left_out,
        } = self;
        *left_out = 0;
        head.clear();
        tail.clear();
        // The memory of a large line is freed.
        head.shrink_to(KEPT);
        tail.shrink_to(KEPT);
        used.clear();
        renamed.clear();
    }

    /// Adds fields whose keys the line lacks, and calls `also` for each of them. The event comes
    /// first, then its spans from the innermost outwards.
    pub(crate) fn add(
        &mut self,
        style: &Style,
        keys: &KeyCache,
        fields: &Fields,
        source: Source,
        mut also: impl FnMut(&'static str, &str),
    ) {
        let inner = self.used.len();
        for (key, value) in fields.iter() {
            let is_used = |used: &&str| std::ptr::eq(*used, key) || *used == key;
            if self.used.iter().any(is_used) {
                continue;
            }
            let known = keys.get(key);
            if known.is_of_span {
                continue;
            }
            if source == Source::OuterRequest && known.is_of_request {
                let outer = namespace(key);
                if self.used[..inner].iter().any(|key| namespace(key) == outer) {
                    continue;
                }
            }
            if self.tail.len() > MAX_LINE {
                self.left_out += 1;
                continue;
            }
            self.used.push(key);
            also(key, value);
            let is_renamed = known.is_renamed
                || known.is_extra && source != Source::Library
                || style.attributes.iter().any(|attribute| attribute == key);
            if is_renamed || self.renamed.iter().any(|renamed| renamed == key) {
                let mut other = style.names.named(key).into_owned();
                // The used keys include the key itself.
                while self.used.contains(&&*other)
                    || self.renamed.contains(&other)
                    || style.has(&other)
                {
                    other.push('_');
                }
                field(style, &other, value, &mut self.tail);
                self.renamed.push(other);
            } else {
                match (style.format, known.is_plain) {
                    (Format::Json, true) => {
                        let tail = &mut self.tail;
                        for part in [",\"", key, "\":", value] {
                            tail.push_str(part);
                        }
                    }
                    _ => field(style, key, value, &mut self.tail),
                }
            }
        }
    }

    /// Writes the head and ends the line.
    pub(crate) fn finish(&mut self, style: &Style, event: &LogEvent<'_>) {
        if self.left_out > 0 {
            let left_out = self.left_out.to_string();
            field(style, LEFT_OUT, &left_out, &mut self.tail);
        }
        match style.format {
            Format::Json => self.finish_json(style, event),
            Format::Compact | Format::Pretty => self.finish_text(style, event),
        }
    }

    /// Returns the two parts of the line.
    pub(crate) fn parts(&self) -> [&str; 2] {
        [&self.head, &self.tail]
    }

    fn finish_json(&mut self, style: &Style, event: &LogEvent<'_>) {
        let LogEvent {
            origin,
            message,
            function,
            ids,
            ..
        } = *event;
        let Style { names, service, .. } = style;
        let head = &mut self.head;
        head.push_str("{\"");
        head.push_str(names.timestamp);
        head.push_str("\":\"");
        clock::push_at(event.at, head);
        head.push('"');
        json_key(names.level, head);
        head.push('"');
        head.push_str(level(origin));
        head.push('"');
        json_key(names.target, head);
        quoted(origin.target(), head);
        json_key(names.message, head);
        head.push('"');
        // The message is already escaped.
        head.push_str(message);
        head.push('"');
        head.push_str(service);
        if let Some(trace) = &ids.trace {
            json_key(names.trace_id, head);
            // Writing to a `String` never fails.
            let _ = write!(head, "\"{:032x}\"", trace.trace_id());
            json_key(names.span_id, head);
            let _ = write!(head, "\"{:016x}\"", trace.parent_id());
        }
        if let Some(id) = &ids.correlation {
            json_key(names.correlation_id, head);
            quoted(id.as_str(), head);
        }
        // The source position of library lines is of no use to an application.
        if !origin.is_own() {
            if let Some(module) = origin.module_path() {
                json_key(names.module, head);
                quoted(module, head);
            }
            if let Some(function) = function {
                json_key(names.function, head);
                quoted(function, head);
            }
            if let Some(line) = origin.line() {
                json_key(names.line, head);
                head.push_str(itoa::Buffer::new().format(line));
            }
        }
        self.tail.push_str("}\n");
    }

    fn finish_text(&mut self, style: &Style, event: &LogEvent<'_>) {
        let LogEvent {
            origin,
            message,
            ids,
            ..
        } = *event;
        if let Some(id) = &ids.correlation {
            text_field(
                style,
                "correlation_id",
                |out| quoted(id.as_str(), out),
                &mut self.tail,
            );
        }
        if let Some(trace) = &ids.trace {
            let id = format!("{:032x}", trace.trace_id());
            text_field(style, "trace_id", |out| quoted(&id, out), &mut self.tail);
        }
        self.tail.push('\n');
        let head = &mut self.head;
        clock::push_at(event.at, head);
        let (begin, end) = match (style.colours, *origin.level()) {
            (false, _) => ("", ""),
            (true, Level::ERROR) => ("\u{1b}[31m", "\u{1b}[0m"),
            (true, Level::WARN) => ("\u{1b}[33m", "\u{1b}[0m"),
            (true, Level::INFO) => ("\u{1b}[32m", "\u{1b}[0m"),
            (true, _) => ("\u{1b}[2m", "\u{1b}[0m"),
        };
        let _ = write!(head, " {begin}{:>5}{end} ", level(origin));
        escape(origin.target(), head);
        head.push_str(": ");
        // The message must not look like fields.
        let quote = if message.contains('=') { "\"" } else { "" };
        for part in [quote, message, quote] {
            head.push_str(part);
        }
    }
}

fn level(origin: &Origin<'_>) -> &'static str {
    match *origin.level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn json_key(key: &str, out: &mut String) {
    out.push_str(",\"");
    escape(key, out);
    out.push_str("\":");
}

/// Writes a field whose value is JSON.
fn field(style: &Style, key: &str, value: &str, out: &mut String) {
    match style.format {
        Format::Json => {
            json_key(key, out);
            out.push_str(value);
        }
        Format::Compact | Format::Pretty => text_field(style, key, |out| out.push_str(value), out),
    }
}

fn text_field(style: &Style, key: &str, value: impl FnOnce(&mut String), out: &mut String) {
    let (before, between) = match style.format {
        Format::Pretty => ("\n    ", ": "),
        _ => (" ", "="),
    };
    out.push_str(before);
    escape(key, out);
    out.push_str(between);
    value(out);
}
