use campanile_metrics::{Registry, Value};
use campanile_series::{LabelError, LabelSet, Matcher, Sample};

/// A selector of a metric's series, such as `queue_size{queue="orders"}`. A histogram has `…_sum` and `…_count`.
pub(crate) struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

/// The maximum length of a selector in bytes.
const MAX_TEXT: usize = 8_192;

impl Selector {
    /// Parses a selector, and returns it with the rest of the text.
    pub(crate) fn parse(text: &str) -> Result<(Self, &str), String> {
        let wrong =
            || "expected a metric and optional matchers, such as queue_size{queue=\"orders\"}";
        let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
        let text = text.trim();
        let name_end = text.find(|char| !is_name(char)).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        let starts_well = name.starts_with(|char: char| !char.is_ascii_digit());
        if text.len() > MAX_TEXT || !starts_well {
            return Err(wrong().to_owned());
        }
        let rest = rest.trim_start();
        let (matchers, rest) = match rest.starts_with('{') {
            true => rest.split_at(end_of_matchers(rest).ok_or_else(wrong)?),
            false => ("", rest),
        };
        let matchers = Matcher::parse_promql(matchers).map_err(|error| error.to_string())?;
        let name = name.to_owned();
        Ok((Self { name, matchers }, rest.trim_start()))
    }

    /// Returns the samples of the matching series in the registry.
    pub(crate) fn samples(&self, registry: &Registry) -> Result<Vec<Sample>, LabelError> {
        let families = [
            ("", Part::Value),
            ("_sum", Part::Sum),
            ("_count", Part::Count),
        ];
        let mut samples = Vec::new();
        for (suffix, part) in families {
            let name = self.name.strip_suffix(suffix);
            let Some(family) = name.and_then(|name| registry.family_snapshot(name)) else {
                continue;
            };
            for series in &family.series {
                let Some(value) = part.of(&series.value) else {
                    continue;
                };
                let labels = LabelSet::new(series.labels())?;
                if self.matchers.iter().all(|matcher| matcher.matches(&labels)) {
                    samples.push(Sample::new(labels, value));
                }
            }
        }
        Ok(samples)
    }
}

/// Returns the length of matchers in braces. Their strings may contain braces.
fn end_of_matchers(text: &str) -> Option<usize> {
    let (mut quote, mut escape) = (None, false);
    for (at, char) in text.char_indices() {
        match (char, quote) {
            _ if escape => escape = false,
            ('\\', Some('"' | '\'')) => escape = true,
            (char, Some(open)) if char == open => quote = None,
            ('"' | '\'' | '`', None) => quote = Some(char),
            ('}', None) => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The part of a metric that a name refers to.
#[derive(Clone, Copy)]
enum Part {
    Value,
    Sum,
    Count,
}

impl Part {
    fn of(self, value: &Value) -> Option<f64> {
        match (self, value) {
            (Self::Value, Value::Counter(value)) => Some(*value as f64),
            (Self::Value, Value::TimeCounter(time)) => Some(time.as_secs_f64()),
            (Self::Value, Value::Gauge(value)) => Some(*value),
            (Self::Sum, Value::Histogram(histogram)) => Some(histogram.sum),
            (Self::Count, Value::Histogram(histogram)) => Some(histogram.count as f64),
            (Self::Sum, Value::Summary(summary)) => Some(summary.sum),
            (Self::Count, Value::Summary(summary)) => Some(summary.count as f64),
            _ => None,
        }
    }
}
