use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_series::{Labels, Now, Sample};
use campanile_store::BoxFuture;
use futures_util::FutureExt;
use tokio::time::timeout;

/// What a rule found: a sample for each thing that is wrong, none if all is well.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What is wrong. A value that is NaN tells as much as any other; it is the evaluation that leaves out what is well.
    pub samples: Vec<Sample>,
    /// How far back the data reach that this process has seen itself. An alert that was restored is not resolved until this is at
    /// least the rule's [look-back](Prepared::look_back).
    pub covers: Duration,
}

/// A language of expressions.
pub trait Evaluate: Send + Sync + 'static {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// If it is not one of the language.
    fn prepare(&self, expr: &str) -> Result<Arc<dyn Prepared>, ExprError>;

    /// Takes samples of alerts and recording rules, so that expressions can refer to them. [`Alerts`](crate::Alerts) does not call it yet.
    ///
    /// Defaults to doing nothing.
    fn write(&self, at: Now, samples: &[Sample]) {
        let _ = (at, samples);
    }
}

/// An expression that was read, to be evaluated again and again.
pub trait Prepared: Send + Sync + 'static {
    /// Returns how much of the past an answer is made of.
    fn look_back(&self) -> Duration;

    /// Returns how bad a value is. If more than 1,000 series match, those with the highest ranks become alerts.
    ///
    /// Defaults to the magnitude. An expression such as `< 10` ranks low values high.
    fn rank(&self, value: f64) -> f64 {
        value.abs()
    }

    /// Evaluates it at a moment.
    fn at(&self, now: Now) -> BoxFuture<'_, Result<Answer, EvalError>>;
}

/// A text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ExprError {
    reason: String,
}

impl ExprError {
    /// Returns an error that says what is wrong and how to mend it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// An expression has no answer now. The alerts of its rule stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EvalError {
    reason: String,
}

impl EvalError {
    /// Returns an error that says what is missing.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// How long an evaluation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Evaluates an expression, whose panic is an error.
pub(crate) async fn evaluate(prepared: &dyn Prepared, now: Now) -> Result<Answer, EvalError> {
    let evaluation = AssertUnwindSafe(async { prepared.at(now).await }).catch_unwind();
    match timeout(TIMEOUT, evaluation).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(EvalError::new("the evaluation panicked")),
        Err(_) => Err(EvalError::new(format!("no answer within {TIMEOUT:?}"))),
    }
}

/// What a closure of a [`Rule`](crate::Rule) may return.
pub trait IntoSamples {
    /// Returns a sample for each thing that is wrong.
    fn into_samples(self) -> Vec<Sample>;
}

/// One thing is wrong, with the value 1, or none.
impl IntoSamples for bool {
    fn into_samples(self) -> Vec<Sample> {
        self.then_some(1.0).into_samples()
    }
}

/// One thing is wrong, with this value, or none.
impl IntoSamples for Option<f64> {
    fn into_samples(self) -> Vec<Sample> {
        self.map(|value| Sample::new(Labels::empty(), value))
            .into_iter()
            .collect()
    }
}

impl IntoSamples for Vec<Sample> {
    fn into_samples(self) -> Vec<Sample> {
        self
    }
}

/// A closure as an expression.
pub(crate) struct Closure<F> {
    pub(crate) check: F,
    pub(crate) look_back: Duration,
    /// When it was evaluated for the first time: what it reads reaches back to then.
    pub(crate) first: OnceLock<Instant>,
}

impl<F, S> Prepared for Closure<F>
where
    F: Fn(Now) -> S + Send + Sync + 'static,
    S: IntoSamples,
{
    fn look_back(&self) -> Duration {
        self.look_back
    }

    fn at(&self, now: Now) -> BoxFuture<'_, Result<Answer, EvalError>> {
        let first = *self.first.get_or_init(|| now.mono);
        Box::pin(async move {
            Ok(Answer {
                samples: (self.check)(now).into_samples(),
                covers: now.mono.saturating_duration_since(first),
            })
        })
    }
}

impl fmt::Debug for dyn Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("look_back", &self.look_back())
            .finish_non_exhaustive()
    }
}
