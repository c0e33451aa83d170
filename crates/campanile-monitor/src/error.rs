use std::fmt;
use std::time::Duration;

use campanile_sla::AdjustError;
use campanile_store::StoreError;

/// The settings of a [`Monitor`](crate::Monitor) are invalid. The error lists every problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems: at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// One invalid setting of a [`Monitor`](crate::Monitor).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Rules or channels are invalid.
    #[error(transparent)]
    Alerts(#[from] campanile_alerts::BuildError),
    /// Two tokens have the same name.
    #[error("duplicate token {token:?}: expected a unique name for each token")]
    DuplicateToken {
        /// The token's name.
        token: String,
    },
    /// Two tokens have the same secret, so its role would depend on their order.
    #[error(
        "duplicate secret of tokens {token:?} and {other:?}: expected a unique secret for each token"
    )]
    SameSecret {
        /// The name of the first token.
        token: String,
        /// The name of the second token.
        other: String,
    },
    /// There are too many tokens.
    #[error("too many tokens: {tokens} (limit 1000)")]
    TooManyTokens {
        /// The number of tokens.
        tokens: usize,
    },
    /// The series of an SLO is invalid.
    #[error("invalid series {series:?} of SLO {slo:?}: {reason}")]
    Series {
        /// The SLO's name.
        slo: String,
        /// The series.
        series: String,
        /// The parser's message.
        reason: String,
    },
    /// The check of an SLO is unknown.
    #[error("unknown check {check:?} of SLO {slo:?}: expected {}", expected(.known))]
    Check {
        /// The SLO's name.
        slo: String,
        /// The check's name.
        check: String,
        /// The names of the known checks.
        known: Vec<String>,
    },
    /// The evaluation interval is too short or too long.
    #[error("invalid evaluation interval {interval:?}: expected 100 ms to 1 h")]
    EvaluationInterval {
        /// The interval.
        interval: Duration,
    },
}

fn expected(known: &[String]) -> String {
    match known {
        [] => "a check, but health has none".to_owned(),
        [name] => format!("{name:?}"),
        _ => format!("one of {known:?}"),
    }
}

/// A decision about an SLO was not applied, or not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// The decision is not valid; nothing has changed.
    #[error(transparent)]
    Adjust(#[from] AdjustError),
    /// The store failed. The decision is applied, and stored with the next counts.
    #[error("applied but not yet persisted")]
    Store(#[from] StoreError),
}
