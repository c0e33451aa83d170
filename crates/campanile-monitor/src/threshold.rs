use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_alerts::{Answer, BoxFuture, EvalError, Evaluate, ExprError, Prepared};
use campanile_metrics::{Registry, Value};
use campanile_series::{LabelError, Labels, Matcher, Now, Sample};

/// The expressions that need no history: the series of a metric, compared with a number, as PromQL has it.
///
/// ```text
/// agent_queue_size > 10000
/// http_requests_in_flight{} >= 1e3
/// payments_total{currency=~"EUR|USD", channel!="test"} == 0
/// ```
///
/// The metrics are the registry's, of a histogram `…_sum` and `…_count`. The comparisons are `==`, `!=`, `>`, `<`, `>=` and `<=`; as in
/// PromQL, NaN is different from everything, and otherwise compares with nothing.
///
/// An expression looks back on a minute, since a service that has just started may not have set its gauges yet: for so long it doesn't
/// resolve an alert from before.
#[derive(Clone, Debug)]
pub struct Threshold {
    registry: Registry,
}

impl Threshold {
    /// Returns the expressions over a registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Evaluate for Threshold {
    fn prepare(&self, expr: &str) -> Result<Arc<dyn Prepared>, ExprError> {
        let expr = Expr::parse(expr).ok_or_else(|| {
            ExprError::new("give a metric, matchers if it needs some, a comparison and a number, such as queue_size{queue=\"orders\"} > 100")
        })?;
        let matchers = Matcher::parse_all(&expr.matchers)
            .map_err(|error| ExprError::new(error.to_string()))?;
        Ok(Arc::new(Comparison {
            registry: self.registry.clone(),
            name: expr.name,
            matchers,
            compare: expr.compare,
            number: expr.number,
            first: OnceLock::new(),
        }))
    }
}

type Compare = fn(&f64, &f64) -> bool;

/// The parts of an expression.
struct Expr {
    name: String,
    matchers: String,
    compare: Compare,
    number: f64,
}

/// The longest expression.
const MAX_EXPR: usize = 8_192;

impl Expr {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_EXPR {
            return None;
        }
        let text = text.trim();
        let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
        let name_end = text.find(|char| !is_name(char))?;
        let (name, rest) = text.split_at(name_end);
        if name.is_empty() || name.starts_with(|char: char| char.is_ascii_digit()) {
            return None;
        }
        let rest = rest.trim_start();
        let (matchers, rest) = match rest.starts_with('{') {
            true => rest.split_at(end_of_matchers(rest)?),
            false => ("", rest),
        };
        let rest = rest.trim_start();
        let comparisons: [(&str, Compare); 6] = [
            (">=", f64::ge),
            ("<=", f64::le),
            ("==", f64::eq),
            ("!=", f64::ne),
            (">", f64::gt),
            ("<", f64::lt),
        ];
        let (compare, number) = comparisons
            .into_iter()
            .find_map(|(sign, compare)| Some((compare, rest.strip_prefix(sign)?)))?;
        Some(Self {
            name: name.to_owned(),
            matchers: matchers.to_owned(),
            compare,
            number: number.trim().parse().ok()?,
        })
    }
}

/// Returns the length of matchers in braces, in whose quotes there may be braces.
fn end_of_matchers(text: &str) -> Option<usize> {
    let (mut in_quotes, mut escape) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escape => escape = false,
            '\\' if in_quotes => escape = true,
            '"' => in_quotes = !in_quotes,
            '}' if !in_quotes => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// An expression that was read.
struct Comparison {
    registry: Registry,
    name: String,
    matchers: Vec<Matcher>,
    compare: Compare,
    number: f64,
    /// When it was evaluated for the first time.
    first: OnceLock<Instant>,
}

/// How long a service may take to set its gauges after its start.
const LOOK_BACK: Duration = Duration::from_secs(60);

impl Prepared for Comparison {
    fn look_back(&self) -> Duration {
        LOOK_BACK
    }

    fn at(&self, now: Now) -> BoxFuture<'_, Result<Answer, EvalError>> {
        let first = *self.first.get_or_init(|| now.mono);
        let samples = self
            .samples()
            .map_err(|error| EvalError::new(error.to_string()));
        Box::pin(std::future::ready(samples.map(|samples| Answer {
            samples,
            covers: now.mono.saturating_duration_since(first),
        })))
    }
}

impl Comparison {
    fn samples(&self) -> Result<Vec<Sample>, LabelError> {
        let families = [
            ("", Part::Value),
            ("_sum", Part::Sum),
            ("_count", Part::Count),
        ];
        let mut samples = Vec::new();
        for (suffix, part) in families {
            let name = self.name.strip_suffix(suffix);
            let Some(family) = name.and_then(|name| self.registry.family(name)) else {
                continue;
            };
            for series in &family.series {
                let Some(value) = part.of(&series.value) else {
                    continue;
                };
                if !(self.compare)(&value, &self.number) {
                    continue;
                }
                let labels = Labels::new(series.labels())?;
                if self.matchers.iter().all(|matcher| matcher.matches(&labels)) {
                    samples.push(Sample::new(labels, value));
                }
            }
        }
        Ok(samples)
    }
}

/// What of a metric has a name.
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

#[cfg(test)]
mod tests;
