use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_alerts::{BoxFuture, EvalError, Evaluation, ExprEngine, ExprError, PreparedExpr};
use campanile_metrics::Registry;
use campanile_series::{LabelError, Now, Sample};

use crate::selector::Selector;

/// An engine for expressions that compare the series of a metric with a number, in the syntax of PromQL.
///
/// ```text
/// agent_queue_size > 10000
/// http_requests_in_flight{} >= 1e3
/// payments_total{currency=~"EUR|USD", channel!="test"} == 0
/// ```
///
/// The metrics are the registry's; a histogram has `…_sum` and `…_count`. The operators are `==`, `!=`, `>`, `<`, `>=`
/// and `<=`. As in PromQL, NaN is not equal to any number, and every other comparison with NaN is false.
///
/// The look-back is one minute: a service that has just started may not have set its gauges yet. So a restored alert
/// does not resolve in the first minute.
#[derive(Clone, Debug)]
pub struct Threshold {
    registry: Registry,
}

impl Threshold {
    /// Creates an engine over a registry.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl ExprEngine for Threshold {
    fn prepare(&self, expr: &str) -> Result<Arc<dyn PreparedExpr>, ExprError> {
        let wrong = || {
            ExprError::new(
                "expected a metric, optional matchers, a comparison and a number, such as queue_size{queue=\"orders\"} > 100",
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

/// An operator comes before its prefixes.
const COMPARISONS: [(&str, Compare); 6] = [
    (">=", f64::ge),
    ("<=", f64::le),
    ("==", f64::eq),
    ("!=", f64::ne),
    (">", f64::gt),
    ("<", f64::lt),
];

/// A parsed expression.
struct Comparison {
    registry: Registry,
    selector: Selector,
    compare: Compare,
    /// Whether low values are active.
    is_lower_worse: bool,
    number: f64,
    /// The time of the first evaluation.
    first: OnceLock<Instant>,
}

/// The time in which a service sets its gauges after the start.
const LOOK_BACK: Duration = Duration::from_secs(60);

impl PreparedExpr for Comparison {
    fn look_back(&self) -> Duration {
        LOOK_BACK
    }

    fn rank(&self, value: f64) -> f64 {
        if self.is_lower_worse { -value } else { value }
    }

    fn at(&self, now: Now) -> BoxFuture<'_, Result<Evaluation, EvalError>> {
        let first = *self.first.get_or_init(|| now.mono);
        let samples = self
            .samples()
            .map_err(|error| EvalError::new(error.to_string()));
        Box::pin(std::future::ready(samples.map(|samples| Evaluation {
            samples,
            history: now.mono.saturating_duration_since(first),
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
