use std::borrow::Cow;
use std::fmt;

/// What a call of a check has found.
///
/// ```
/// use campanile_health::Outcome;
///
/// let outcome = Outcome::degraded("82 % of the disk are used").detail("used_percent", 82.0);
/// assert!(!outcome.is_healthy());
/// ```
///
/// Of its texts 1,024 bytes are kept, and 32 details. Credentials in them are not shown: those of a URL (`postgres://user:…@host`), what stands
/// behind words such as `password=`, and details of such names.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Outcome {
    pub(crate) level: Level,
    pub(crate) message: Option<String>,
    pub(crate) details: Vec<(Cow<'static, str>, Value)>,
}

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Healthy,
    Degraded,
    Unhealthy,
}

/// The most bytes that are kept of a text.
const MAX_TEXT: usize = 1_024;

/// The most details that are kept.
const MAX_DETAILS: usize = 32;

impl Outcome {
    /// All is well.
    pub fn healthy() -> Self {
        Self {
            level: Level::Healthy,
            message: None,
            details: Vec::new(),
        }
    }

    /// It works, with something missing.
    pub fn degraded(message: impl Into<String>) -> Self {
        Self {
            level: Level::Degraded,
            ..Self::healthy().message(message)
        }
    }

    /// It doesn't work.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self {
            level: Level::Unhealthy,
            ..Self::healthy().message(message)
        }
    }

    /// Says something in words.
    ///
    /// Defaults to nothing.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(shown(message.into()));
        self
    }

    /// Adds a figure, or the like; of one name the last one counts.
    ///
    /// Defaults to none.
    pub fn detail(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        let name = name.into();
        let value = match value.into() {
            _ if is_secret(&name) => Value::Text(HIDDEN.to_owned()),
            Value::Text(text) => Value::Text(shown(text)),
            value => value,
        };
        self.details.retain(|(other, _)| *other != name);
        if self.details.len() < MAX_DETAILS {
            self.details.push((name, value));
        }
        self
    }

    /// Returns whether all is well.
    pub fn is_healthy(&self) -> bool {
        self.level == Level::Healthy
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::healthy()
    }
}

/// An error is a failure.
impl<T: Into<Self>, E: fmt::Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Self::unhealthy(error.to_string()),
        }
    }
}

/// What a detail may be.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number; what is not finite is shown as `null`.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Value {
            /// What is too large is the largest.
            fn from(value: $integer) -> Self {
                Self::Integer(value.try_into().unwrap_or(i64::MAX))
            }
        })*
    };
}

integers!(i32, i64, u16, u32, u64, usize);

const HIDDEN: &str = "[redacted]";

/// The words behind which a secret stands.
const SECRETS: [&str; 7] = [
    "password", "passwd", "pwd", "secret", "token", "api_key", "apikey",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

/// Returns a text as it may be shown.
fn shown(text: String) -> String {
    let mut text = if text.contains(['@', '=', ':']) {
        without_values(&without_credentials(&text))
    } else {
        text
    };
    let end = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
    text
}

/// Hides what is before the `@` of a URL.
fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', '?', '#', ' ', '"', '\'', '\n']);
        let (authority, after) = after.split_at(end.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Hides the value in `password=value` and `token: value`.
fn without_values(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(found) = next_value(&lower, done) {
        let end = lower[found..].find(|c: char| c.is_whitespace() || "&,;)\"'".contains(c));
        let end = end.map_or(lower.len(), |end| found + end);
        out.push_str(&text[done..found]);
        if end > found {
            out.push_str(HIDDEN);
        }
        done = end.max(found);
        if end == found {
            // There is no value.
            break;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// Returns where the value of the next secret begins.
fn next_value(lower: &str, from: usize) -> Option<usize> {
    let after = |word: &&str| {
        let mut from = from;
        while let Some(at) = lower[from..].find(*word) {
            let end = from + at + word.len();
            let rest = lower[end..].trim_start_matches(['"', '\'', ' ']);
            if let Some(value) = rest.strip_prefix(['=', ':']) {
                let value = value.trim_start_matches(['"', '\'', ' ']);
                return Some(lower.len() - value.len());
            }
            from = end;
        }
        None
    };
    SECRETS.iter().filter_map(after).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (text, expected) in [
            ("connection refused", "connection refused"),
            ("a: b = c @ d", "a: b = c @ d"),
            (
                "postgres://ada:s3cret@db:5432/shop is down",
                "postgres://[redacted]@db:5432/shop is down",
            ),
            (
                "redis://:p@ss@cache, http://x/",
                "redis://[redacted]@cache, http://x/",
            ),
            (
                "host=db password=s3cret user=ada",
                "host=db password=[redacted] user=ada",
            ),
            (
                r#"{"token": "abc", "a": 1}"#,
                r#"{"token": "[redacted]", "a": 1}"#,
            ),
            ("PASSWORD=a PWD=b", "PASSWORD=[redacted] PWD=[redacted]"),
            (
                "password authentication failed: no",
                "password authentication failed: no",
            ),
            ("password=", "password="),
        ] {
            assert_eq!(Outcome::unhealthy(text).message.as_deref(), Some(expected));
        }
        let outcome = Outcome::healthy()
            .detail("api_token", "abc")
            .detail("size", 7_u64);
        let expected = [
            ("api_token".into(), Value::from(HIDDEN)),
            ("size".into(), Value::Integer(7)),
        ];
        assert_eq!(outcome.details, expected);
    }

    #[test]
    fn texts_and_details_have_caps() {
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
