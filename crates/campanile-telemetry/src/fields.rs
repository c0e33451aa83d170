use std::error::Error;
use std::fmt::{self, Write};
use std::ops::Range;

use tracing::field::{Field, Visit};

use crate::escape::escape;
use crate::field_value::{Fact, FieldValue};
use crate::key_cache::{self, KeyCache, namespace};
use crate::number;
use crate::origin::Origin;
use crate::sensitive::REDACTED;

/// The fields of a span or an event, with values as JSON.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: String,
    entries: Vec<Entry>,
    /// Whether a value was an unsigned integer.
    #[cfg(feature = "otlp")]
    has_unsigned: bool,
    /// The message of an event, escaped, without quotes.
    message: String,
}

/// A field with the range of its value in `Fields::values`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    key: &'static str,
    value: Range<usize>,
}

/// The sizes of a copy of fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    message: usize,
    values: usize,
    pub(crate) entries: usize,
}

impl Copied {
    /// Returns the length of the strings.
    pub(crate) fn texts(self) -> usize {
        self.message + self.values
    }

    /// Returns the size in memory.
    pub(crate) fn size(self) -> usize {
        self.texts() + self.entries * size_of::<Entry>()
    }
}

impl Fields {
    /// Returns no fields, with room for those of a request.
    pub(crate) fn of_request() -> Self {
        Self {
            values: String::with_capacity(128),
            entries: Vec::with_capacity(8),
            ..Self::default()
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.entries.clear();
        self.message.clear();
        #[cfg(feature = "otlp")]
        {
            self.has_unsigned = false;
        }
        // The memory of a large line is freed.
        self.values.shrink_to(KEPT);
        self.message.shrink_to(KEPT);
    }

    /// Appends the message and the values to a string, and the entries to a collection.
    pub(crate) fn copy(&self, texts: &mut String, entries: &mut impl Extend<Entry>) -> Copied {
        texts.push_str(&self.message);
        texts.push_str(&self.values);
        entries.extend(self.entries.iter().cloned());
        Copied {
            message: self.message.len(),
            values: self.values.len(),
            entries: self.entries.len(),
        }
    }

    /// Returns the fields of a copy.
    pub(crate) fn of_copy(
        copied: Copied,
        texts: &str,
        entries: impl Iterator<Item = Entry>,
    ) -> Self {
        let (message, values) = texts[..copied.texts()].split_at(copied.message);
        Self {
            message: message.to_owned(),
            values: values.to_owned(),
            entries: entries.take(copied.entries).collect(),
            #[cfg(feature = "otlp")]
            has_unsigned: false,
        }
    }

    /// Returns the size of a copy in memory.
    pub(crate) fn size(&self) -> usize {
        let texts = self.message.len() + self.values.len();
        texts + self.entries.len() * size_of::<Entry>()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the keys and values, in the order of recording.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let value = |entry: &Entry| (entry.key, &self.values[entry.value.clone()]);
        self.entries.iter().map(value)
    }

    /// Returns the keys of integers, if some were unsigned. Integers that are written as strings
    /// are left out.
    #[cfg(feature = "otlp")]
    pub(crate) fn unsigned(&self) -> impl Iterator<Item = &'static str> {
        let all = self.has_unsigned.then(|| self.iter()).into_iter().flatten();
        let is_integer = |value: &str| value.parse::<i64>().is_ok();
        all.filter_map(move |(key, value)| is_integer(value).then_some(key))
    }

    /// Returns a visitor that adds fields. A later value of a key replaces an earlier one.
    pub(crate) fn recorder<'a>(&'a mut self, keys: &'a KeyCache, of: FieldOwner) -> Recorder<'a> {
        Recorder {
            fields: self,
            keys,
            of,
        }
    }

    fn add(&mut self, key: &'static str, write: impl FnOnce(&mut String)) {
        let begin = self.values.len();
        write(&mut self.values);
        let value = begin..self.values.len();
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => {
                entry.value = value;
                self.compact();
            }
            None => self.entries.push(Entry { key, value }),
        }
    }

    /// Removes replaced values once they are the greater part.
    fn compact(&mut self) {
        let live: usize = self.entries.iter().map(|entry| entry.value.len()).sum();
        if self.values.len() <= 2 * live + 256 {
            return;
        }
        let mut values = String::with_capacity(live);
        for entry in &mut self.entries {
            let begin = values.len();
            values.push_str(&self.values[entry.value.clone()]);
            entry.value = begin..values.len();
        }
        self.values = values;
    }
}

/// The size of the memory that is kept between lines.
pub(crate) const KEPT: usize = 64 << 10;

/// The owner of fields. Only events have a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldOwner {
    Span,
    /// The span of a request. Its field `correlation_id` is for other layers, since lines have the
    /// id anyway.
    Request,
    Event,
    /// A record of the `log` crate, whose target, module and line are fields.
    Record,
}

impl FieldOwner {
    pub(crate) fn of_event(origin: &Origin<'_>) -> Self {
        match origin.is_record() {
            true => Self::Record,
            false => Self::Event,
        }
    }
}

/// Records the fields of a span or an event.
pub(crate) struct Recorder<'a> {
    fields: &'a mut Fields,
    keys: &'a KeyCache,
    of: FieldOwner,
}

impl Recorder<'_> {
    fn is_message(&self, field: &Field) -> bool {
        !matches!(self.of, FieldOwner::Span | FieldOwner::Request) && field.name() == "message"
    }

    fn record(&mut self, field: &Field, is_text: bool, write: impl FnOnce(&mut String)) {
        let key = field.name();
        if self.is_message(field) {
            self.fields.message.clear();
            write(&mut self.fields.message);
            return;
        }
        match self.of {
            FieldOwner::Record if key.starts_with("log.") => return,
            FieldOwner::Request if key == "correlation_id" => return,
            _ => {}
        }
        if self.keys.get(key).hidden.hides(is_text) {
            self.fields.add(key, |out| quoted(REDACTED, out));
            return;
        }
        self.fields.add(key, write);
    }

    fn record_text(&mut self, field: &Field, write: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        let scrubber = &self.keys.redaction.scrubber;
        if self.is_message(field) {
            self.fields.message.clear();
            return scrubber.write(field.name(), &mut self.fields.message, write);
        }
        self.record(field, true, |out| {
            out.push('"');
            scrubber.write(field.name(), out, write);
            out.push('"');
        });
    }

    fn record_integer(&mut self, field: &Field, text: &str, is_exact: bool) {
        // A message is always a string.
        let is_exact = is_exact || self.is_message(field);
        self.record(field, false, |out| number::integer(text, is_exact, out));
    }
}

impl Visit for Recorder<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, false, |out| number::float(value, out));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let is_exact = u128::from(value.unsigned_abs()) <= number::MOST;
        self.record_integer(field, itoa::Buffer::new().format(value), is_exact);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        #[cfg(feature = "otlp")]
        {
            self.fields.has_unsigned = true;
        }
        let is_exact = u128::from(value) <= number::MOST;
        self.record_integer(field, itoa::Buffer::new().format(value), is_exact);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        let is_exact = value.unsigned_abs() <= number::MOST;
        self.record_integer(field, itoa::Buffer::new().format(value), is_exact);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let is_exact = value <= number::MOST;
        self.record_integer(field, itoa::Buffer::new().format(value), is_exact);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, false, |out| {
            out.push_str(if value { "true" } else { "false" })
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_text(field, |out| out.write_str(value));
    }

    /// Writes an error with its causes as one string.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_text(field, |out| {
            write!(out, "{value}")?;
            let causes = std::iter::successors(value.source(), |&cause| cause.source());
            for cause in causes.take(MAX_CAUSES) {
                write!(out, ": {cause}")?;
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_text(field, |out| write!(out, "{value:?}"));
    }
}

/// The limit of causes of an error. A chain of causes may be cyclic.
const MAX_CAUSES: usize = 16;

/// Writes a string as JSON.
pub(crate) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

impl Fields {
    /// Adds a number of the library.
    pub(crate) fn add_number(&mut self, key: &'static str, value: u64) {
        self.add(key, |out| out.push_str(itoa::Buffer::new().format(value)));
    }

    /// Adds `true`.
    pub(crate) fn add_true(&mut self, key: &'static str) {
        self.add(key, |out| out.push_str("true"));
    }

    /// Adds an attribute of a request.
    pub(crate) fn add_fact(&mut self, keys: &KeyCache, key: &'static str, fact: Fact<'_>) {
        let is_text = !matches!(fact, Fact::Number(_));
        let hidden = keys.get(key).hidden.hides(is_text);
        self.add(key, |out| match fact {
            _ if hidden => quoted(REDACTED, out),
            Fact::Number(number) => number::signed(number, out),
            Fact::Static(text) => quoted(text, out),
            Fact::Text(text) => {
                out.push('"');
                let scrubber = &keys.redaction.scrubber;
                scrubber.write(key, out, |out| out.write_str(text));
                out.push('"');
            }
        });
    }

    /// Adds a field of [`note`](crate::note), unless there are too many. Returns whether it was
    /// added.
    pub(crate) fn note(
        &mut self,
        keys: &KeyCache,
        key: &'static str,
        value: &FieldValue,
        max: usize,
    ) -> bool {
        if self.entries.len() >= max && self.entries.iter().all(|entry| entry.key != key) {
            return false;
        }
        let is_text = matches!(value, FieldValue::Text(_));
        self.add(key, |out| match keys.get(key).hidden.hides(is_text) {
            true => quoted(REDACTED, out),
            false => value.write(&keys.redaction.scrubber, key, out),
        });
        true
    }

    /// Adds values of an outer span whose keys are missing. Fields of two requests are not mixed.
    pub(crate) fn fill_missing_from(&mut self, keys: &KeyCache, outer: &Self) {
        let inner = self.entries.len();
        let is_other = self.is_of_request() && outer.is_of_request();
        for (key, value) in outer.iter() {
            let is_mixed = is_other && keys.get(key).is_of_request && {
                let namespace = namespace(key);
                let mut inner = self.entries[..inner].iter();
                inner.any(|entry| key_cache::namespace(entry.key) == namespace)
            };
            if !is_mixed && self.entries.iter().all(|entry| entry.key != key) {
                self.add(key, |out| out.push_str(value));
            }
        }
    }

    /// Returns whether the fields describe a request or call, by `otel.kind`.
    pub(crate) fn is_of_request(&self) -> bool {
        let kind = self.iter().find(|(key, _)| *key == "otel.kind");
        kind.is_some_and(|(_, kind)| !kind.eq_ignore_ascii_case("\"internal\""))
    }

    /// Adds the values of other fields, which replace those with the same key.
    pub(crate) fn overwrite_with(&mut self, others: &Self) {
        #[cfg(feature = "otlp")]
        {
            self.has_unsigned |= others.has_unsigned;
        }
        for (key, value) in others.iter() {
            self.add(key, |out| out.push_str(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_again_and_again_takes_no_more_memory() {
        let mut fields = Fields::default();
        fields.add_number("other", 1);
        for number in 0..10_000 {
            fields.add_number("progress", number);
        }
        assert!(fields.values.len() < 1_024, "{}", fields.values.len());
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("other", "1"), ("progress", "9999")]);
    }
}
