//! Spans and lines of the log as OTLP's messages: `opentelemetry/proto/trace/v1/trace.proto` and `…/logs/v1/logs.proto`.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campanile_correlation::{TraceParent, TraceState};
use tracing::Level;

use super::wire::Wire;
use crate::clock;
use crate::keys::Keys;
use crate::say::Said;
use crate::span::Kept;

/// What a span or a line has of attributes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttributeLimits {
    /// What is more is left out, and counted in it.
    pub(crate) count: usize,
    /// How many characters a text has before it is cut.
    pub(crate) length: usize,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self {
            count: 128,
            length: usize::MAX,
        }
    }
}

/// What a span that is exported began with.
#[derive(Debug)]
pub(crate) struct Begun {
    at: SystemTime,
    since: Instant,
    /// What it belongs to, and whether that is somebody else's.
    pub(crate) parent: Option<TraceParent>,
    pub(crate) is_remote: bool,
    pub(crate) state: TraceState,
}

impl Begun {
    pub(crate) fn now(parent: Option<TraceParent>, is_remote: bool, state: TraceState) -> Self {
        Self {
            at: clock::now(),
            since: clock::instant(),
            parent,
            is_remote,
            state,
        }
    }
}

/// Writes a span that ends now, as one of the `spans` of `ScopeSpans`.
pub(crate) fn span(
    out: &mut Wire,
    keys: &Keys,
    limits: AttributeLimits,
    name: &str,
    kept: &Kept,
    begun: &Begun,
) {
    let Some(place) = kept.ids.as_ref().and_then(|ids| ids.trace) else {
        return;
    };
    let mut special = Special::default();
    for (key, value) in kept.fields.iter() {
        special.note(key, value);
    }
    let begin = nanoseconds(begun.at);
    let end = begin + clock::instant().duration_since(begun.since).as_nanos() as u64;
    out.message(2, |span| {
        span.bytes(1, &place.trace_id().get().to_be_bytes());
        span.bytes(2, &place.parent_id().get().to_be_bytes());
        if !begun.state.is_empty() {
            span.text(3, &begun.state.to_string());
        }
        if let Some(parent) = begun.parent {
            span.bytes(4, &parent.parent_id().get().to_be_bytes());
        }
        let name = special
            .name
            .map_or(Cow::Borrowed(name), |name| unescaped(inner(name)));
        span.text(5, if name.is_empty() { "unnamed" } else { &name });
        span.varint(6, special.kind());
        span.fixed_64(7, begin);
        span.fixed_64(8, end);
        let attributes = kept.fields.iter();
        let attributes = attributes.filter(|(key, _)| !keys.get(key).is_of_span);
        let mut left_out = 0;
        for (number, (key, value)) in attributes.enumerate() {
            if number < limits.count {
                attribute(span, 9, key, value, limits.length);
            } else {
                left_out += 1;
            }
        }
        if let Some(id) = kept.ids.as_ref().and_then(|ids| ids.correlation.as_ref()) {
            text_attribute(span, 9, "correlation_id", id.as_str());
        }
        if left_out > 0 {
            span.varint(10, left_out);
        }
        let code = special.status();
        if code > 0 {
            span.message(15, |status| {
                if let Some(description) = special.description {
                    status.text(2, &unescaped(inner(description)));
                }
                status.varint(3, code);
            });
        }
        // The parent's place is known, and so is where it is.
        let remote = if begun.is_remote { 0x200 } else { 0 };
        span.fixed_32(16, flags(&place.sampled(true)) | 0x100 | remote);
    });
}

/// What of a span's fields says something of the span itself, as `tracing-opentelemetry` has it.
#[derive(Default)]
struct Special<'a> {
    name: Option<&'a str>,
    kind: Option<&'a str>,
    status: Option<&'a str>,
    description: Option<&'a str>,
    is_error: bool,
}

impl<'a> Special<'a> {
    fn note(&mut self, key: &str, value: &'a str) {
        match key {
            "otel.name" => self.name = Some(value),
            "otel.kind" => self.kind = Some(value),
            "otel.status_code" => self.status = Some(value),
            "otel.status_description" => self.description = Some(value),
            "error.type" => self.is_error = true,
            _ => {}
        }
    }

    fn kind(&self) -> u64 {
        match self
            .kind
            .map(|kind| inner(kind).to_ascii_lowercase())
            .as_deref()
        {
            Some("server") => 2,
            Some("client") => 3,
            Some("producer") => 4,
            Some("consumer") => 5,
            _ => 1,
        }
    }

    fn status(&self) -> u64 {
        match self
            .status
            .map(|status| inner(status).to_ascii_lowercase())
            .as_deref()
        {
            Some("ok") => 1,
            Some("error") => 2,
            _ if self.is_error => 2,
            _ => 0,
        }
    }
}

/// The attributes of a line of the log, which are known one after the other.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    written: Wire,
    count: usize,
    left_out: u64,
}

impl Attributes {
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        (self.count, self.left_out) = (0, 0);
    }

    pub(crate) fn add(&mut self, limits: AttributeLimits, key: &str, value: &str) {
        if self.count < limits.count {
            attribute(&mut self.written, 6, key, value, limits.length);
            self.count += 1;
        } else {
            self.left_out += 1;
        }
    }
}

/// Writes a line of the log, as one of the `log_records` of `ScopeLogs`.
pub(crate) fn log_record(out: &mut Wire, said: &Said<'_>, attributes: &Attributes) {
    let Said {
        origin,
        message,
        ids,
        ..
    } = *said;
    let at = nanoseconds(said.at);
    let (severity, text) = match *origin.level() {
        Level::ERROR => (17, "ERROR"),
        Level::WARN => (13, "WARN"),
        Level::INFO => (9, "INFO"),
        Level::DEBUG => (5, "DEBUG"),
        Level::TRACE => (1, "TRACE"),
    };
    out.message(2, |record| {
        record.fixed_64(1, at);
        record.varint(2, severity);
        record.text(3, text);
        record.message(5, |body| body.text(1, &unescaped(message)));
        record.0.extend_from_slice(&attributes.written.0);
        text_attribute(record, 6, "target", origin.target());
        if let Some(id) = &ids.correlation {
            text_attribute(record, 6, "correlation_id", id.as_str());
        }
        if let Some(line) = origin.line() {
            record.message(6, |pair| {
                pair.text(1, "code.line.number");
                pair.message(2, |value| value.varint(3, line.into()));
            });
        }
        if attributes.left_out > 0 {
            record.varint(7, attributes.left_out);
        }
        if let Some(place) = &ids.trace {
            record.fixed_32(8, flags(place));
            record.bytes(9, &place.trace_id().get().to_be_bytes());
            record.bytes(10, &place.parent_id().get().to_be_bytes());
        }
        record.fixed_64(11, at);
    });
}

fn flags(place: &TraceParent) -> u32 {
    u32::from(place.is_sampled()) | u32::from(place.is_random()) << 1
}

pub(crate) fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64
}

/// What we say ourselves.
const OWN: [&str; 3] = ["target", "correlation_id", "code.line.number"];

/// Writes a `KeyValue` whose value is a JSON text of ours.
fn attribute(out: &mut Wire, field: u32, key: &str, value: &str, max_length: usize) {
    if value == "null" || key.is_empty() {
        // JSON has no such number, and so has the line none.
        return;
    }
    out.message(field, |pair| {
        if OWN.contains(&key) {
            pair.text(1, &format!("{key}_"));
        } else {
            pair.text(1, key);
        }
        pair.message(2, |any| match value.as_bytes().first() {
            Some(b'"') => any.text(1, cut(&unescaped(inner(value)), max_length)),
            Some(b't' | b'f') => any.varint(2, u64::from(value == "true")),
            _ => match (value.parse::<i64>(), value.parse::<f64>()) {
                // As the format has it, a negative number has ten bytes.
                (Ok(integer), _) => any.varint(3, integer as u64),
                (_, Ok(float)) => any.double(4, float),
                _ => any.text(1, value),
            },
        });
    });
}

/// Returns the first characters of a text.
fn cut(text: &str, max_length: usize) -> &str {
    // Most are shorter even in bytes.
    if text.len() <= max_length {
        return text;
    }
    let end = text.char_indices().nth(max_length);
    end.map_or(text, |(end, _)| &text[..end])
}

pub(crate) fn text_attribute(out: &mut Wire, field: u32, key: &str, value: &str) {
    out.message(field, |pair| {
        pair.text(1, key);
        pair.message(2, |any| any.text(1, value));
    });
}

/// Returns what is between the quotes of a text in JSON.
fn inner(json: &str) -> &str {
    let json = json.strip_prefix('"').unwrap_or(json);
    json.strip_suffix('"').unwrap_or(json)
}

/// Returns the text that [`escape`](crate::escape::escape) was given.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let digits = chars.as_str().get(..4).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok();
                out.extend(code.and_then(char::from_u32));
                chars = chars.as_str().get(4..).unwrap_or_default().chars();
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::escape;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (max, expected) in [(0, ""), (1, "é"), (2, "é🔔"), (3, "é🔔x"), (4, "é🔔x")] {
            assert_eq!(cut("é🔔x", max), expected);
        }
        assert_eq!(cut("x", usize::MAX), "x");
    }

    #[test]
    fn what_is_escaped_reads_the_same() {
        for text in [
            "plain",
            "",
            "\"quoted\" back\\slash \\n",
            "two\nlines\r\tand \u{1b}[31m \u{2028}\u{202e}\u{feff}",
            "ends\\",
            "🔔 naïve",
        ] {
            let mut escaped = String::new();
            escape(text, &mut escaped);
            assert_eq!(unescaped(&escaped), text);
        }
        // What is cut in the middle is nothing of ours, and harms nobody.
        for text in ["\\", "\\u", "\\u00", "\\u00é", "\\ud800"] {
            let _ = unescaped(text);
        }
    }
}
