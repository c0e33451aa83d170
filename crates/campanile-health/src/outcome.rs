use std::borrow::Cow;
use std::error::Error;

use crate::Value;
use crate::redact::{REDACTED, is_secret, redact};

/// The result of one call of a check: healthy, degraded or unhealthy, with a message and values.
///
/// ```
/// use campanile_health::Outcome;
///
/// let outcome = Outcome::degraded("82 % of the disk are used").detail("used_percent", 82.0);
/// assert!(!outcome.is_healthy());
/// ```
///
/// Strings are truncated to 1,024 bytes, and at most 32 details are kept. Secrets become
/// `[redacted]`:
///
/// - the credentials of a URL (`postgres://user:…@host`),
/// - values after words such as `password=` and `token: `, except messages such as
///   `invalid token: expected …`,
/// - strings of details with such a word in their name. Numbers and booleans are shown.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Outcome {
    pub(crate) level: Level,
    pub(crate) message: Option<String>,
    pub(crate) details: Vec<(Cow<'static, str>, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Healthy,
    Degraded,
    Unhealthy,
}

const MAX_DETAILS: usize = 32;

impl Outcome {
    /// Creates a healthy outcome.
    pub fn healthy() -> Self {
        Self {
            level: Level::Healthy,
            message: None,
            details: Vec::new(),
        }
    }

    /// Creates a degraded outcome: the dependency works with limitations.
    pub fn degraded(message: impl Into<String>) -> Self {
        Self {
            level: Level::Degraded,
            ..Self::healthy().message(message)
        }
    }

    /// Creates an unhealthy outcome: the dependency does not work.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self {
            level: Level::Unhealthy,
            ..Self::healthy().message(message)
        }
    }

    /// Sets the message.
    ///
    /// Defaults to none.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(redact(message.into()));
        self
    }

    /// Adds a value, or replaces the one of the same name; at most 32.
    ///
    /// Defaults to none.
    pub fn detail(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        let name = name.into();
        let value = match value.into() {
            Value::String(_) if is_secret(&name) => Value::String(REDACTED.to_owned()),
            Value::String(text) => Value::String(redact(text)),
            value => value,
        };
        self.details.retain(|(existing, _)| *existing != name);
        if self.details.len() < MAX_DETAILS {
            self.details.push((name, value));
        }
        self
    }

    /// Returns whether the outcome is healthy.
    pub fn is_healthy(&self) -> bool {
        self.level == Level::Healthy
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::healthy()
    }
}

/// An error becomes an unhealthy outcome. The message contains its sources.
impl<T, E> From<Result<T, E>> for Outcome
where
    T: Into<Self>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Self::unhealthy(chain(&*error.into())),
        }
    }
}

/// The limit of sources in a message: a chain may be a cycle.
const MAX_CAUSES: usize = 16;

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<_> = causes.take(MAX_CAUSES).map(ToString::to_string).collect();
    // Some error messages contain the message of their source already.
    texts.dedup_by(|cause, error| error.ends_with(&**cause));
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_with_secret_names_are_redacted() {
        let outcome = Outcome::healthy()
            .detail("api_token", "abc")
            .detail("tokens_used", 12_u64)
            .detail("password_expired", true)
            .detail("size", 7_u64);
        let expected = [
            ("api_token".into(), Value::from(REDACTED)),
            ("tokens_used".into(), Value::Integer(12)),
            ("password_expired".into(), Value::Bool(true)),
            ("size".into(), Value::Integer(7)),
        ];
        assert_eq!(outcome.details, expected);
    }

    #[test]
    fn a_message_contains_the_sources_of_an_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("the database is down")]
        struct Down(#[source] std::io::Error);
        let cause = std::io::Error::other("refused");
        let outcome = Outcome::from(Err::<(), _>(Down(cause)));
        assert_eq!(
            outcome.message.as_deref(),
            Some("the database is down: refused")
        );
        let max = serde_json::to_string(&Value::from(u64::MAX)).unwrap();
        assert_eq!(max, r#""9223372036854775807""#);
    }

    #[test]
    fn strings_and_details_are_limited() {
        let long = Outcome::unhealthy("é".repeat(1_000));
        assert_eq!(long.message.map(|text| text.len()), Some(1_024));
        let many = (0..100).fold(Outcome::healthy(), |outcome, number: i32| {
            outcome.detail(number.to_string(), number).detail("0", true)
        });
        assert_eq!(many.details.len(), MAX_DETAILS);
        assert_eq!(
            many.details.iter().filter(|(name, _)| name == "0").count(),
            1
        );
    }
}
