//! The lines of an exposition: Prometheus' text format 0.0.4 and OpenMetrics 1.0.0.

use std::borrow::Cow;
use std::fmt::Write;

use crate::constant_labels::ConstantLabels;
use crate::exemplar::Exemplar;
use crate::kind::Kind;
use crate::name::escaped;

/// The media type of the output of [`Registry::render`](crate::Registry::render).
pub const CONTENT_TYPE: &str = Format::Text.content_type();

/// A format of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes the lines of one family.
pub(crate) struct Encoder<'a> {
    format: Format,
    /// Whether series have `_created` lines.
    has_created: bool,
    kind: Kind,
    /// The name without a counter's `_total`.
    name: &'a str,
    /// The `_total` of a counter. An external counter may have none.
    total: &'static str,
    /// The labels of all series.
    constants: &'a ConstantLabels,
    /// The constant labels that the current series lacks, as they are exposed.
    constant: Cow<'a, str>,
    /// The lines before the first sample.
    header: String,
    /// The start of the sample lines, for each suffix used so far.
    heads: Vec<(&'static str, String)>,
    text: &'a mut String,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(
        format: Format,
        name: &'a str,
        kind: Kind,
        has_created: bool,
        constants: &'a ConstantLabels,
        text: &'a mut String,
    ) -> Self {
        let base = name.strip_suffix("_total").filter(|_| kind.is_counter());
        Self {
            format,
            has_created: format == Format::OpenMetrics && has_created,
            kind,
            name: base.unwrap_or(name),
            total: if base.is_some() { "_total" } else { "" },
            constants,
            constant: Cow::Borrowed(&constants.text),
            header: String::new(),
            heads: Vec::new(),
            text,
        }
    }

    /// Sets the labels of the current series, if one of them has the name of a constant label.
    pub(crate) fn overridden(&mut self, labels: Option<&str>) {
        if labels.is_none() && matches!(self.constant, Cow::Borrowed(_)) {
            return;
        }
        self.heads.clear();
        self.constant = match labels {
            Some(labels) => Cow::Owned(self.constants.without(labels)),
            None => Cow::Borrowed(&self.constants.text),
        };
    }

    /// Returns the labels of all series.
    pub(crate) fn constants(&self) -> &'a ConstantLabels {
        self.constants
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Sets the header, which is written before the first sample.
    pub(crate) fn announce(&mut self, help: Option<&str>, unit: Option<&str>) {
        let name = self.name;
        let (total, kind) = match self.format {
            Format::Text => (self.total, self.kind.as_str()),
            // Samples of a counter end with `_total` in OpenMetrics.
            Format::OpenMetrics if self.kind.is_counter() && self.total.is_empty() => {
                ("", "unknown")
            }
            Format::OpenMetrics => ("", self.kind.as_str()),
        };
        if let Some(help) = help {
            // OpenMetrics escapes quotes here too.
            let help = escaped(help, self.format == Format::OpenMetrics);
            let _ = writeln!(self.header, "# HELP {name}{total} {help}");
        }
        let _ = writeln!(self.header, "# TYPE {name}{total} {kind}");
        // A unit has to be the name's last part.
        let is_in_name = |unit: &&str| {
            name.strip_suffix(*unit)
                .is_some_and(|name| name.ends_with('_'))
        };
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit.filter(is_in_name)) {
            let _ = writeln!(self.header, "# UNIT {name} {unit}");
        }
    }

    /// Returns the suffix of the sample names of a counter.
    pub(crate) fn total(&self) -> &'static str {
        self.total
    }

    /// Writes a sample up to its value. `own` is a label of the sample, after a comma.
    pub(crate) fn begin(&mut self, suffix: &'static str, labels: &str, own: &str) -> &mut String {
        let head = match self.heads.iter().position(|(of, _)| *of == suffix) {
            Some(head) => head,
            None => {
                let comma = if self.constant.is_empty() { "" } else { "," };
                let head = [self.name, suffix, "{", &*self.constant, comma].concat();
                self.heads.push((suffix, head));
                self.heads.len() - 1
            }
        };
        let head = self.heads[head].1.as_str();
        let text = &mut *self.text;
        if !self.header.is_empty() {
            text.push_str(&std::mem::take(&mut self.header));
        }
        if !labels.is_empty() {
            text.push_str(head);
            text.push_str(labels);
            text.push_str(own);
            text.push_str("} ");
        } else if self.constant.is_empty() && own.is_empty() {
            text.push_str(&head[..head.len() - 1]);
            text.push(' ');
        } else if self.constant.is_empty() {
            text.push_str(head);
            text.push_str(&own[1..]);
            text.push_str("} ");
        } else {
            text.push_str(&head[..head.len() - 1]);
            text.push_str(own);
            text.push_str("} ");
        }
        text
    }

    pub(crate) fn integer(&mut self, suffix: &'static str, labels: &str, own: &str, value: u64) {
        let text = self.begin(suffix, labels, own);
        text.push_str(itoa::Buffer::new().format(value));
        text.push('\n');
    }

    pub(crate) fn float(&mut self, suffix: &'static str, labels: &str, own: &str, value: f64) {
        let text = self.begin(suffix, labels, own);
        push_float(text, value);
        text.push('\n');
    }

    /// Writes the line of a bucket of a histogram, with its exemplar.
    pub(crate) fn bucket(
        &mut self,
        labels: &str,
        le: &str,
        count: u64,
        exemplar: Option<Exemplar>,
    ) {
        let text = self.begin("_bucket", labels, le);
        text.push_str(itoa::Buffer::new().format(count));
        if let Some(Exemplar { value, trace, at }) = exemplar {
            // The format allows 128 characters of names and values; these are 63.
            let _ = write!(text, " # {{trace_id=\"{trace}\"");
            if let Some(span) = trace.span_id() {
                let _ = write!(text, ",span_id=\"{span:016x}\"");
            }
            text.push_str("} ");
            push_float(text, value);
            text.push(' ');
            push_seconds(text, at);
        }
        text.push('\n');
    }

    /// Writes the `_created` line of a series, if the format has it and the time is known.
    pub(crate) fn created(&mut self, labels: &str, milliseconds: Option<u64>) {
        if let (true, Some(milliseconds)) = (self.has_created, milliseconds) {
            let text = self.begin("_created", labels, "");
            push_seconds(text, milliseconds);
            text.push('\n');
        }
    }
}

/// Writes milliseconds as seconds.
pub(crate) fn push_seconds(text: &mut String, milliseconds: u64) {
    let _ = write!(text, "{}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
}

/// Writes a float in the form of Prometheus.
pub(crate) fn push_float(text: &mut String, value: f64) {
    // All integers below this are exact. -0 is not an integer.
    if value.trunc() == value && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
        text.push_str(itoa::Buffer::new().format(value as i64));
        return;
    }
    let _ = match value {
        f64::INFINITY => write!(text, "+Inf"),
        f64::NEG_INFINITY => write!(text, "-Inf"),
        // Above 1e15 and below 1e-5 the plain form is longer, and not more exact.
        value if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) && !value.is_nan() => {
            write!(text, "{value:e}")
        }
        value => write!(text, "{value}"),
    };
}

/// Returns a bound as the value of a label, in the canonical form of OpenMetrics: Go's `%g`, and
/// always a float. A series is then the same in both formats, and the same as with other Prometheus
/// clients.
pub(crate) fn bound(value: f64) -> String {
    let mut text = String::new();
    push_float(&mut text, value);
    if !value.is_finite() || value == 0.0 {
        return if value == 0.0 { "0.0".to_owned() } else { text };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        exponent if (-4..6).contains(&exponent) => {
            let plain = value.to_string();
            let point = if plain.contains('.') { "" } else { ".0" };
            plain + point
        }
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(value: f64, expected: &str) {
            let mut text = String::new();
            push_float(&mut text, value);
            assert_eq!(text, expected);
            if !value.is_nan() {
                assert_eq!(expected.parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-7.0, "-7");
        check(0.005, "0.005");
        check(123_456_789.25, "123456789.25");
        check(999_999_999_999_999.0, "999999999999999");
        check(1e15, "1e15");
        check(1e300, "1e300");
        check(-2.5e-9, "-2.5e-9");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e308");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
        check(f64::NAN, "NaN");
    }

    #[test]
    fn bounds_are_floats() {
        let bounds = [
            -1.0,
            0.0,
            0.0001,
            0.000_01,
            0.005,
            1.0,
            10.0,
            123_456.0,
            1e6,
            1_234_567.0,
            1e21,
            2.5e-9,
            f64::INFINITY,
        ];
        let texts = [
            "-1.0",
            "0.0",
            "0.0001",
            "1e-05",
            "0.005",
            "1.0",
            "10.0",
            "123456.0",
            "1e+06",
            "1.234567e+06",
            "1e+21",
            "2.5e-09",
            "+Inf",
        ];
        assert_eq!(bounds.map(bound), texts);
    }
}
