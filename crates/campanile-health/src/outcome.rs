use std::borrow::Cow;
use std::error::Error;

use serde::{Serialize, Serializer};

/// The result of a call of a check.
///
/// ```
/// use campanile_health::Outcome;
///
/// let outcome = Outcome::degraded("82 % of the disk are used").detail("used_percent", 82.0);
/// assert!(!outcome.is_healthy());
/// ```
///
/// It keeps 1,024 bytes of each string, and 32 details. These become `[redacted]`:
///
/// - the credentials of a URL (`postgres://user:…@host`),
/// - values after words such as `password=` and `token: `, except prose such as `invalid token: expected …`,
/// - details that are strings and have such a word in their name. Numbers and flags are shown.
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

/// The limit of a string, in bytes.
const MAX_TEXT: usize = 1_024;

/// The limit of details.
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
            Value::String(_) if is_secret(&name) => Value::String(HIDDEN.to_owned()),
            Value::String(text) => Value::String(shown(text)),
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

/// An error is a failure, with all that has caused it.
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

/// The limit of an error's causes: a chain may be a cycle.
const MAX_CAUSES: usize = 16;

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<_> = causes.take(MAX_CAUSES).map(ToString::to_string).collect();
    // Some have the text of their cause in their own.
    texts.dedup_by(|cause, error| error.ends_with(&**cause));
    texts.join(": ")
}

/// What a detail may be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A text.
    String(String),
    /// A whole number; beyond 2^53, up to which a float holds all, it is shown as a text.
    Integer(i64),
    /// A number; what is not finite is shown as `null`.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Integer(number) if number.unsigned_abs() > 1 << f64::MANTISSA_DIGITS => {
                serializer.collect_str(number)
            }
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
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
const SECRETS: [&str; 13] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "private_key",
    "private-key",
    "signature",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

/// How many bytes of a text are looked at.
const MAX_INPUT: usize = 16 << 10;

/// Returns a text as it may be shown.
fn shown(mut text: String) -> String {
    cut(&mut text, MAX_INPUT);
    if text.contains(['@', '=', ':', ' ']) {
        text = without_values(&without_credentials(&text));
    }
    cut(&mut text, MAX_TEXT);
    text
}

fn cut(text: &mut String, max: usize) {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
}

/// Hides what is before the last `@` of a URL.
fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        let (url, after) = after.split_at(end.unwrap_or(after.len()));
        match url.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(url),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Hides the value in `password=value`, `"token": "value"`, `secret: Some("value")`, `Authorization: Bearer value` and the like.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let word = SECRETS
            .iter()
            .chain(&SCHEMES)
            .find(|word| begins_with(rest, word));
        let Some(word) = word else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        let (word, after) = rest.split_at(word.len());
        out.push_str(word);
        rest = after;
        let is_scheme = SCHEMES
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme));
        let (before, value, after) = value(word, rest, is_scheme);
        out.push_str(before);
        if !value.is_empty() {
            out.push_str(HIDDEN);
        }
        rest = after;
    }
    out
}

/// The words of messages about a secret, such as `invalid token: expected …`, which are no secrets.
const PROSE: [&str; 16] = [
    "cannot",
    "empty",
    "expected",
    "expired",
    "failed",
    "found",
    "invalid",
    "malformed",
    "missing",
    "must",
    "no",
    "not",
    "too",
    "unexpected",
    "unknown",
    "unsupported",
];

/// Returns whether an error message goes on behind `token:`, and not a value.
fn is_prose(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_lowercase());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let is_word = rest.is_empty() || rest.starts_with([' ', ',', ';']);
    is_word && PROSE.contains(&word)
}

/// The schemes of HTTP authentication, which precede a credential.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

fn begins_with(text: &str, word: &str) -> bool {
    let begin = text.as_bytes().get(..word.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()))
}

/// The names of headers whose values have several words.
const HEADERS: [&str; 2] = ["authorization", "cookie"];

/// Splits the text after a secret's name into the text before its value, the value, and the rest. A value without quotes ends at white
/// space, `&` or a quote, and that of a header such as `Cookie: a=b; c=d` ends with the line.
fn value<'a>(word: &str, text: &'a str, is_scheme: bool) -> (&'a str, &'a str, &'a str) {
    let at = |rest: &str| text.len() - rest.len();
    let mut value = text;
    if !is_scheme {
        let named = text.trim_start_matches(['"', '\'', ' ']);
        let Some(assigned) = named.strip_prefix(['=', ':']) else {
            return ("", "", text);
        };
        value = assigned.trim_start();
        if text.starts_with(": ") && is_prose(value) {
            return ("", "", text);
        }
        value = value.strip_prefix("Some(").unwrap_or(value);
    }
    // The scheme of a header says nothing, but what is behind it does.
    if let Some(scheme) = SCHEMES.iter().find(|scheme| begins_with(value, scheme)) {
        value = &value[scheme.len()..];
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        value = &value[1..];
        let mut is_escaped = false;
        let end = value.find(|c| {
            let is_end = c == quote && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let end = end.unwrap_or(value.len());
        return (&text[..at(value)], &value[..end], &value[end..]);
    }
    let is_end = |c: char| c.is_whitespace() || "&\"'".contains(c);
    // It is never behind the end, so each byte is looked at twice at most.
    let pair = value.find(|c| c == '=' || is_end(c));
    let is_header = text.starts_with(':')
        && HEADERS.iter().any(|name| word.eq_ignore_ascii_case(name))
        && (pair.is_some_and(|at| value[at..].starts_with('=')) || value.starts_with("Digest "));
    let end = match is_header {
        true => value.find('\n'),
        false => value.find(is_end),
    };
    let end = end.unwrap_or(value.len());
    (&text[..at(value)], &value[..end], &value[end..])
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
            (
                "postgres://u:p/w#x@db/shop",
                "postgres://[redacted]@db/shop",
            ),
            (
                r#"Config { password: Some("s3 c\"ret"), user: "a" }"#,
                r#"Config { password: Some("[redacted]"), user: "a" }"#,
            ),
            (
                r#"{"password":"","token":"abc"}"#,
                r#"{"password":"","token":"[redacted]"}"#,
            ),
            ("password=&token=abc&x=1", "password=&token=[redacted]&x=1"),
            ("password='my secret' x", "password='[redacted]' x"),
            ("password=a,b x", "password=[redacted] x"),
            ("password=a;b)c}d x", "password=[redacted] x"),
            ("Cookie: a=b; c=d\nx", "Cookie: [redacted]\nx"),
            ("cookie: a=b; c=d", "cookie: [redacted]"),
            (
                "Authorization: Digest a=\"b\", c",
                "Authorization: [redacted]",
            ),
            ("cookie: missing; x", "cookie: missing; x"),
            (
                "Config { cookie: None, user: 1 }",
                "Config { cookie: [redacted] user: 1 }",
            ),
            (
                "Authorization: Bearer abc.def x",
                "Authorization: Bearer [redacted] x",
            ),
            ("sent bearer abc", "sent bearer [redacted]"),
            ("é secret: ü ö", "é secret: [redacted] ö"),
            ("password=", "password="),
            (
                "invalid token: expected 3 parts, found 2",
                "invalid token: expected 3 parts, found 2",
            ),
            ("secret: not found", "secret: not found"),
            (
                "api_key: missing, password: abc",
                "api_key: missing, password: [redacted]",
            ),
            // Nothing but a message's own words is shown.
            ("token: expectedly1 x", "token: [redacted] x"),
            ("token: not-a-word", "token: [redacted]"),
            ("token=expected x", "token=[redacted] x"),
            (r#""token": "expected x""#, r#""token": "[redacted]""#),
        ] {
            assert_eq!(Outcome::unhealthy(text).message.as_deref(), Some(expected));
        }
        let outcome = Outcome::healthy()
            .detail("api_token", "abc")
            .detail("tokens_used", 12_u64)
            .detail("password_expired", true)
            .detail("size", 7_u64);
        let expected = [
            ("api_token".into(), Value::from(HIDDEN)),
            ("tokens_used".into(), Value::Integer(12)),
            ("password_expired".into(), Value::Bool(true)),
            ("size".into(), Value::Integer(7)),
        ];
        assert_eq!(outcome.details, expected);
    }

    #[test]
    fn an_error_is_shown_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the database is away")]
        struct Away(#[source] std::io::Error);
        let cause = std::io::Error::other("refused");
        let outcome = Outcome::from(Err::<(), _>(Away(cause)));
        assert_eq!(
            outcome.message.as_deref(),
            Some("the database is away: refused")
        );
        let most = serde_json::to_string(&Value::from(u64::MAX)).unwrap();
        assert_eq!(most, r#""9223372036854775807""#);
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
