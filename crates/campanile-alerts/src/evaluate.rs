use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_series::{LabelSet, Now, Sample};
use campanile_store::BoxFuture;
use futures_util::FutureExt;
use tokio::time::timeout;

/// The result of an evaluation: one sample per active alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The samples. Each one is an active alert, whatever its value, NaN included. No sample means no alert.
    pub samples: Vec<Sample>,
    /// The age of the oldest data that this process has collected. A restored alert is not resolved until this is at
    /// least the rule's [look-back](PreparedExpr::look_back).
    pub history: Duration,
}

/// An engine that evaluates the expressions of rules.
pub trait ExprEngine: Send + Sync + 'static {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// If the expression is invalid.
    fn prepare(&self, expr: &str) -> Result<Arc<dyn PreparedExpr>, ExprError>;

    /// Writes samples of alerts and recording rules, so that expressions can refer to them.
    /// [`Alerts`](crate::Alerts) does not call it yet.
    ///
    /// Defaults to doing nothing.
    fn write(&self, at: Now, samples: &[Sample]) {
        let _ = (at, samples);
    }
}

/// A parsed expression.
pub trait PreparedExpr: Send + Sync + 'static {
    /// Returns the length of the past that an evaluation reads.
    fn look_back(&self) -> Duration;

    /// Returns the rank of a value. If more than 1,000 series match, those with the highest ranks become alerts.
    ///
    /// Defaults to the magnitude. An expression such as `< 10` should rank low values high.
    fn rank(&self, value: f64) -> f64 {
        value.abs()
    }

    /// Evaluates the expression at `now`.
    fn at(&self, now: Now) -> BoxFuture<'_, Result<Evaluation, EvalError>>;
}

/// An expression is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ExprError {
    reason: String,
}

impl ExprError {
    /// Creates an error from a message that says what is invalid and what is expected.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// An evaluation failed. The alerts of its rule stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EvalError {
    reason: String,
}

impl EvalError {
    /// Creates an error from a message that says what is missing.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// The timeout of an evaluation.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Evaluates an expression. A panic becomes an error.
pub(crate) async fn evaluate(
    prepared: &dyn PreparedExpr,
    now: Now,
) -> Result<Evaluation, EvalError> {
    let evaluation = AssertUnwindSafe(async { prepared.at(now).await }).catch_unwind();
    match timeout(TIMEOUT, evaluation).await {
        Ok(Ok(evaluation)) => evaluation,
        Ok(Err(_)) => Err(EvalError::new("evaluation panicked")),
        Err(_) => Err(EvalError::new(format!(
            "evaluation timed out after {TIMEOUT:?}"
        ))),
    }
}

/// A return type of a [`Rule`](crate::Rule)'s closure.
pub trait IntoSamples {
    /// Returns one sample per active alert.
    fn into_samples(self) -> Vec<Sample>;
}

/// `true` is one active alert with the value 1.
impl IntoSamples for bool {
    fn into_samples(self) -> Vec<Sample> {
        self.then_some(1.0).into_samples()
    }
}

/// `Some` is one active alert with this value.
impl IntoSamples for Option<f64> {
    fn into_samples(self) -> Vec<Sample> {
        self.map(|value| Sample::new(LabelSet::empty(), value))
            .into_iter()
            .collect()
    }
}

/// Each sample is one active alert.
impl IntoSamples for Vec<Sample> {
    fn into_samples(self) -> Vec<Sample> {
        self
    }
}

/// A closure that acts as an expression.
pub(crate) struct Closure<F> {
    pub(crate) check: F,
    pub(crate) look_back: Duration,
    /// The time of the first evaluation, where the history begins.
    pub(crate) first: OnceLock<Instant>,
}

impl<F, S> PreparedExpr for Closure<F>
where
    F: Fn(Now) -> S + Send + Sync + 'static,
    S: IntoSamples,
{
    fn look_back(&self) -> Duration {
        self.look_back
    }

    fn at(&self, now: Now) -> BoxFuture<'_, Result<Evaluation, EvalError>> {
        let first = *self.first.get_or_init(|| now.mono);
        Box::pin(async move {
            Ok(Evaluation {
                samples: (self.check)(now).into_samples(),
                history: now.mono.saturating_duration_since(first),
            })
        })
    }
}

impl fmt::Debug for dyn PreparedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedExpr")
            .field("look_back", &self.look_back())
            .finish_non_exhaustive()
    }
}
