//! Removal of secrets from messages.

/// The replacement of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// The names that precede a secret.
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

/// Returns whether the name of a detail is one of a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

/// The limit of the input in bytes. The rest is dropped.
const MAX_INPUT: usize = 16 << 10;

/// The limit of the result in bytes.
const MAX_OUTPUT: usize = 1_024;

/// Returns a string without secrets, truncated to 1,024 bytes.
pub(crate) fn redact(mut text: String) -> String {
    truncate(&mut text, MAX_INPUT);
    if text.contains(['@', '=', ':', ' ']) {
        text = without_values(&without_credentials(&text));
    }
    truncate(&mut text, MAX_OUTPUT);
    text
}

fn truncate(text: &mut String, max: usize) {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
}

/// Redacts the part of each URL before its last `@`.
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
                out.push_str(REDACTED);
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

/// Redacts values after names: `password=value`, `"token": "value"`, `secret: Some("value")`,
/// `Authorization: Bearer value`.
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
        let (before, value, after) = split_value(word, rest, is_scheme);
        out.push_str(before);
        if !value.is_empty() {
            out.push_str(REDACTED);
        }
        rest = after;
    }
    out
}

/// The words that follow a name in an error message, such as `invalid token: expected …`.
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

/// Returns whether an error message follows `token:`, and not a value.
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

/// The headers whose values have several words.
const HEADERS: [&str; 2] = ["authorization", "cookie"];

/// Splits the string after a secret's name into the part before the value, the value, and the rest.
///
/// A value without quotes ends at white space, `&` or a quote. The value of a header such as
/// `Cookie: a=b; c=d` ends with the line.
fn split_value<'a>(word: &str, text: &'a str, is_scheme: bool) -> (&'a str, &'a str, &'a str) {
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
    // The scheme of a header is no secret.
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
    // It is never after the end, so each byte is read at most twice.
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
    fn credentials_are_redacted() {
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
            // Only words of messages are shown.
            ("token: expectedly1 x", "token: [redacted] x"),
            ("token: not-a-word", "token: [redacted]"),
            ("token=expected x", "token=[redacted] x"),
            (r#""token": "expected x""#, r#""token": "[redacted]""#),
        ] {
            assert_eq!(redact(text.to_owned()), expected);
        }
    }
}
