use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_alerts::{Answer, BoxFuture, EvalError, Evaluate, ExprError, Prepared};
use campanile_metrics::Registry;
use campanile_series::{LabelError, Now, Sample};

use crate::selector::Selector;

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
        let wrong = || {
            ExprError::new(
                "give a metric, matchers if it needs some, a comparison and a number, such as queue_size{queue=\"orders\"} > 100",
            )
        };
        let (selector, rest) = Selector::parse(expr).map_err(ExprError::new)?;
        let (sign, compare, number) = COMPARISONS
            .into_iter()
            .find_map(|(sign, compare)| Some((sign, compare, rest.strip_prefix(sign)?)))
            .ok_or_else(wrong)?;
        Ok(Arc::new(Comparison {
            registry: self.registry.clone(),
            selector,
            compare,
            is_lower_worse: sign.starts_with('<'),
            number: number.trim().parse().map_err(|_| wrong())?,
            first: OnceLock::new(),
        }))
    }
}

type Compare = fn(&f64, &f64) -> bool;

/// A sign comes before the ones that it begins with.
const COMPARISONS: [(&str, Compare); 6] = [
    (">=", f64::ge),
    ("<=", f64::le),
    ("==", f64::eq),
    ("!=", f64::ne),
    (">", f64::gt),
    ("<", f64::lt),
];

/// An expression that was read.
struct Comparison {
    registry: Registry,
    selector: Selector,
    compare: Compare,
    /// Whether it looks for low values.
    is_lower_worse: bool,
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

    fn rank(&self, value: f64) -> f64 {
        if self.is_lower_worse { -value } else { value }
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
        let mut samples = self.selector.samples(&self.registry)?;
        samples.retain(|sample| (self.compare)(&sample.value, &self.number));
        Ok(samples)
    }
}

#[cfg(test)]
mod tests;
