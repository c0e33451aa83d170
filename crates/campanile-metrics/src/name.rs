//! Metric and label names in Prometheus' data model, and the rendered labels of a series.

use std::borrow::Cow;

use crate::error::RegisterError;
use crate::kind::Kind;

/// The value of every label of a family's overflow series.
pub(crate) const OTHER: &str = "_other_";

/// Returns a valid metric name. Invalid characters become `_`.
pub(crate) fn sanitised(name: &str) -> Cow<'_, str> {
    replaced(name, |byte| byte == b':')
}

/// Returns a valid label name. Invalid characters become `_`.
pub(crate) fn sanitised_label(name: &str) -> Cow<'_, str> {
    replaced(name, |_| false)
}

#[inline]
fn replaced(name: &str, is_extra: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || is_extra(byte);
    let is_valid = |byte: u8| is_start(byte) || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    if bytes.next().is_some_and(is_start) && bytes.all(is_valid) {
        return Cow::Borrowed(name);
    }
    let replace = |(at, char): (usize, char)| match u8::try_from(char) {
        Ok(byte) if is_start(byte) || at > 0 && is_valid(byte) => char,
        _ => '_',
    };
    let first = name.is_empty().then_some('_');
    let chars = name.char_indices().map(replace);
    first.into_iter().chain(chars).collect::<String>().into()
}

/// The labels of a series as they are exposed, sorted by name.
pub(crate) struct LabelText {
    pub(crate) text: String,
    /// The number of cut values.
    pub(crate) truncated: u64,
}

impl LabelText {
    /// Checks and renders labels with valid names. Values longer than `max_bytes` are cut. Some
    /// names are reserved for the lines of histograms and summaries.
    pub(crate) fn new(
        metric: &str,
        kind: Kind,
        labels: &mut [(Cow<'_, str>, &str)],
        max_bytes: usize,
    ) -> Result<Self, RegisterError> {
        labels.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let length = labels
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4);
        let mut text = String::with_capacity(length.sum());
        let mut truncated = 0;
        let mut previous = None;
        for (name, value) in &*labels {
            let name = name.as_ref();
            let has_lines = matches!(kind, Kind::Histogram | Kind::Summary);
            if has_lines && matches!(name, "le" | "quantile") || name.starts_with("__") {
                return Err(RegisterError::ReservedLabel {
                    metric: metric.into(),
                    label: name.into(),
                });
            }
            if previous.replace(name) == Some(name) {
                return Err(RegisterError::DuplicateLabel {
                    metric: metric.into(),
                    label: name.into(),
                });
            }
            let cut = truncated_value(value, max_bytes);
            truncated += u64::from(cut.len() < value.len());
            // In Prometheus a label with an empty value is the same as no label.
            if cut.is_empty() {
                continue;
            }
            push(&mut text, name, cut);
        }
        Ok(Self { text, truncated })
    }

    /// Renders the same labels with every value as [`OTHER`].
    pub(crate) fn other(labels: &[(Cow<'_, str>, &str)]) -> String {
        let mut text = String::new();
        for (name, _) in labels {
            push(&mut text, name, OTHER);
        }
        text
    }
}

/// Returns the names of a family in any format: its name and the names of its samples.
pub(crate) fn sample_names(name: &str, kind: Kind) -> Vec<String> {
    let (base, suffixes): (_, &[&str]) = match kind {
        // OpenMetrics names a counter without its suffix.
        Kind::Counter | Kind::TimeCounter => (
            name.strip_suffix("_total").unwrap_or(name),
            &["", "_total", "_created"],
        ),
        Kind::Gauge => (name, &[""]),
        Kind::Summary => (name, &["", "_sum", "_count", "_created"]),
        Kind::Histogram => (name, &["", "_bucket", "_sum", "_count", "_created"]),
    };
    suffixes
        .iter()
        .map(|suffix| [base, suffix].concat())
        .collect()
}

#[inline]
pub(crate) fn truncated_value(value: &str, max_bytes: usize) -> &str {
    if value.len() <= max_bytes {
        return value;
    }
    let end = (0..=max_bytes)
        .rev()
        .find(|&end| value.is_char_boundary(end));
    &value[..end.unwrap_or(0)]
}

/// Cuts a string at a character boundary, to at most `max_bytes` bytes.
pub(crate) fn truncated(mut text: String, max_bytes: usize) -> String {
    text.truncate(truncated_value(&text, max_bytes).len());
    text
}

pub(crate) fn push(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    match has_escape(value) {
        true => text.push_str(&escaped(value, true)),
        false => text.push_str(value),
    }
    text.push('"');
}

/// Returns whether a string has a character that is escaped in a label value.
#[inline]
fn has_escape(text: &str) -> bool {
    text.bytes()
        .any(|byte| matches!(byte, b'\\' | b'\n' | b'"'))
}

/// Escapes a label value or a help text. The help of text format 0.0.4 keeps its quotes.
pub(crate) fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    if !has_escape(text) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    Cow::Owned(if quotes {
        text.replace('"', "\\\"")
    } else {
        text
    })
}

/// Returns the names and values of rendered labels, in their order.
pub(crate) fn labels(mut text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    std::iter::from_fn(move || {
        let (name, rest) = text.split_once("=\"")?;
        let mut escape = false;
        let end = rest.find(|char| {
            let ends = char == '"' && !escape;
            escape = char == '\\' && !escape;
            ends
        })?;
        text = rest[end + 1..].strip_prefix(',').unwrap_or_default();
        Some((name, unescaped(&rest[..end])))
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut chars = text.chars();
    let unescaped = std::iter::from_fn(|| match chars.next()? {
        '\\' => chars
            .next()
            .map(|char| if char == 'n' { '\n' } else { char }),
        char => Some(char),
    });
    Cow::Owned(unescaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_characters_become_underscores() {
        #[track_caller]
        fn check(name: &str, metric: &str, label: &str) {
            assert_eq!(
                (sanitised(name).as_ref(), sanitised_label(name).as_ref()),
                (metric, label)
            );
        }
        check(
            "http_requests_total",
            "http_requests_total",
            "http_requests_total",
        );
        check("job:rate5m", "job:rate5m", "job_rate5m");
        check(
            "http.requests-total",
            "http_requests_total",
            "http_requests_total",
        );
        check("1a", "_a", "_a");
        check("a1", "a1", "a1");
        check("", "_", "_");
        check("a\n# TYPE x", "a___TYPE_x", "a___TYPE_x");
        check("größe", "gr__e", "gr__e");
    }

    fn text(labels: &[(&'static str, &str)]) -> Result<String, RegisterError> {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), *value))
            .collect();
        LabelText::new("m", Kind::Histogram, &mut labels, 256).map(|labels| labels.text)
    }

    #[test]
    fn labels_are_sorted_escaped_and_cut() {
        assert_eq!(text(&[]).unwrap(), "");
        assert_eq!(text(&[("a", ""), ("b", "2")]).unwrap(), r#"b="2""#);
        assert_eq!(text(&[("b", "2"), ("a", "1")]).unwrap(), r#"a="1",b="2""#);
        assert_eq!(text(&[("a", "\\ \" \n")]).unwrap(), r#"a="\\ \" \n""#);
        let long = "é".repeat(200);
        let mut labels = [(Cow::Borrowed("a"), long.as_str())];
        let cut = LabelText::new("m", Kind::Histogram, &mut labels, 256).unwrap();
        assert_eq!(
            (cut.text, cut.truncated),
            (format!("a=\"{}\"", "é".repeat(128)), 1)
        );
        let odd = format!("x{long}");
        assert_eq!(
            text(&[("a", &odd)]).unwrap(),
            format!("a=\"x{}\"", "é".repeat(127))
        );
    }

    #[test]
    fn reserved_and_duplicate_labels_are_refused() {
        for label in ["le", "quantile", "__name__", "__"] {
            assert!(
                matches!(
                    text(&[(label, "1")]),
                    Err(RegisterError::ReservedLabel { .. })
                ),
                "{label}"
            );
        }
        assert!(matches!(
            text(&[("a", "1"), ("b", "1"), ("a", "2")]),
            Err(RegisterError::DuplicateLabel { .. })
        ));
    }

    #[test]
    fn label_values_are_read_back() {
        let values = ["plain", "", "a,b=\"c\"", "\\", "\\\"", "\\n\n", "}", "ü"];
        for first in values {
            for second in values {
                let text = text(&[("a", first), ("b", second)]).unwrap();
                let there = |value: &'static str| (!value.is_empty()).then_some(value);
                let expected = [("a", there(first)), ("b", there(second))];
                let expected = expected
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?.into())));
                assert!(labels(&text).eq(expected), "{text}");
            }
        }
    }
}
