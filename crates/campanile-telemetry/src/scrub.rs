//! Redacts secrets inside of strings, such as `Bearer eyJ…`.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use self::named::{after_name, in_pair};
#[cfg(test)]
use self::scan::SCANNED;
use self::scan::{count_scanned, end_of, is_credential, without_end, word_begin};
#[cfg(feature = "otlp")]
use crate::escape::is_plain;
use crate::escape::{Escaping, MAX_VALUE};
use crate::sensitive::REDACTED;

mod named;
mod scan;

type Scrub = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Redacts secrets inside of strings.
#[derive(Clone)]
pub(crate) struct Scrubber {
    /// Whether the default patterns are redacted.
    pub(crate) is_on: bool,
    /// The functions of the application.
    own: Vec<Scrub>,
}

impl Default for Scrubber {
    fn default() -> Self {
        Self {
            is_on: true,
            own: Vec::new(),
        }
    }
}

thread_local! {
    /// Whether a function of the application runs on this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

impl Scrubber {
    pub(crate) fn add(
        &mut self,
        scrub: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    ) {
        self.own.push(Arc::new(scrub));
    }

    /// Appends a string as the inside of a JSON string, truncated at 16 KiB and redacted.
    pub(crate) fn write(
        &self,
        key: &str,
        out: &mut String,
        write: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) {
        let begin = out.len();
        // An error means that the string was truncated.
        if self.own.is_empty() {
            let _ = write(&mut Escaping::new(out));
        } else {
            let mut plain = Plain::default();
            let _ = write(&mut plain);
            let _ = Escaping::new(out).write_str(&self.scrubbed(key, plain.0));
        }
        if self.is_on {
            replace(out, begin);
        }
    }

    /// Returns a string truncated at 16 KiB and redacted; `None` if it is unchanged.
    #[cfg(feature = "otlp")]
    pub(crate) fn plain(&self, key: &str, text: &str) -> Option<String> {
        // Most strings have no secret. Without special characters the escaped string is the string.
        let is_as_it_is = self.own.is_empty() && text.len() <= MAX_VALUE && is_plain(text);
        if is_as_it_is && (!self.is_on || find(text.as_bytes(), 0, &mut Seen::default()).is_none())
        {
            return None;
        }
        let mut escaped = String::with_capacity(text.len());
        self.write(key, &mut escaped, |out| out.write_str(text));
        let plain = crate::escape::unescaped(&escaped);
        (plain != text).then(|| plain.into_owned())
    }

    fn scrubbed(&self, key: &str, text: String) -> String {
        // A function that logs must not call itself.
        if RUNS.try_with(|runs| runs.replace(true)).unwrap_or_default() {
            return text;
        }
        let scrub_all = || {
            let functions = self.own.iter();
            functions.fold(text, |text, scrub| scrub(key, &text).unwrap_or(text))
        };
        let scrubbed = catch_unwind(AssertUnwindSafe(scrub_all));
        let _ = RUNS.try_with(|runs| runs.set(false));
        scrubbed.unwrap_or_else(|_| REDACTED.to_owned())
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber")
            .field("is_on", &self.is_on)
            .field("own", &self.own.len())
            .finish()
    }
}

/// A string that stops formatting soon after 16 KiB.
#[derive(Default)]
struct Plain(String);

impl Write for Plain {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One more character is kept, so that the string is truncated and marked later.
        let room = (MAX_VALUE + 4).saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let mut ends = (0..=room).rev();
        let end = ends.find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        Err(fmt::Error)
    }
}

/// Redacts the part of an escaped string from `begin` on.
fn replace(out: &mut String, begin: usize) {
    let mut seen = Seen::default();
    let mut next = find(&out.as_bytes()[begin..], 0, &mut seen);
    if next.is_none() {
        return;
    }
    let text = out.split_off(begin);
    let mut from = 0;
    while let Some(secret) = next {
        out.push_str(&text[from..secret.start]);
        out.push_str(REDACTED);
        from = secret.end;
        next = find(text.as_bytes(), from, &mut seen);
    }
    out.push_str(&text[from..]);
}

/// Positions that were found before, so that no part of a string is searched for each URL.
#[derive(Default)]
struct Seen {
    /// The first `@` from the last URL on.
    at_sign: usize,
    /// The first byte from the last URL on that no URL has.
    outside: usize,
}

/// Returns the range of the first secret from an index on. Its ends are ASCII characters.
fn find(text: &[u8], mut from: usize, seen: &mut Seen) -> Option<Range<usize>> {
    let begin = from;
    while let Some(at) = next_sign(text, from) {
        from = at + 1;
        let found = match text[at] {
            b'b' | b'B' => after_scheme(text, at),
            b':' if text[from..].starts_with(b"//") => in_url(text, from + 2, seen),
            b':' | b'=' => after_name(text, at),
            b',' if text[..at].ends_with(b"\"") => in_pair(text, at),
            b'K' if at > begin => access_key_id(text, at - 1),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Returns the index of the next byte that may belong to a secret: `:`, `=`, `,`, the `B` of a
/// scheme or the `K` of `AKIA`.
fn next_sign(text: &[u8], from: usize) -> Option<usize> {
    const STEP: usize = 64;
    let is_sign = |byte: &u8| matches!(byte | 0x20, b':' | b'=' | b',' | b'b') | (*byte == b'K');
    let is_known_sign = |byte: &u8| SIGNS[usize::from(*byte)];
    let mut at = from;
    // The compiler vectorizes a loop of this length without an inner condition.
    while let Some(bytes) = text.get(at..at + STEP)
        && !bytes.iter().fold(false, |any, byte| any | is_sign(byte))
    {
        at += STEP;
    }
    // The rest is mostly shorter than a step.
    let step = text[at..].iter().position(is_known_sign)?;
    Some(at + step)
}

/// The bytes that may belong to a secret.
const SIGNS: [bool; 256] = {
    let mut signs = [false; 256];
    let all = b":=,bBK";
    let mut at = 0;
    while at < all.len() {
        signs[all[at] as usize] = true;
        at += 1;
    }
    signs
};

/// Returns the token in `Bearer <token>` and `Basic <token>`, given the index of the `B`.
fn after_scheme(text: &[u8], at: usize) -> Option<Range<usize>> {
    let is_here = |scheme: &&str| {
        let text = text.get(at..at + scheme.len());
        text.is_some_and(|text| text.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    let scheme = *["bearer ", "basic "]
        .iter()
        .find(|scheme| is_here(scheme))?;
    if word_begin(text, at) < at {
        return None;
    }
    let begin = at + scheme.len();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let end = end_of(text, begin, |byte| !is_token(byte));
    let token = &text[begin..end];
    // Words follow in prose, such as `basic authentication`.
    let is_secret = match scheme {
        "basic " => is_user_and_password(token),
        _ => token.len() >= 6 && is_credential(token),
    };
    is_secret.then_some(begin..end)
}

/// Returns whether a token is `user:password` in base64.
fn is_user_and_password(token: &[u8]) -> bool {
    let mut decoded = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in without_end(token, b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    let decoded = std::str::from_utf8(&decoded);
    decoded.is_ok_and(|text| text.contains(':') && !text.contains(char::is_control))
}

/// Returns the AWS access key id at an index: `AKIA` and 16 more characters.
fn access_key_id(text: &[u8], begin: usize) -> Option<Range<usize>> {
    const LENGTH: usize = 20;
    let id = text.get(begin..begin + LENGTH)?;
    let is_id = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let next = text.get(begin + LENGTH);
    let is_whole = word_begin(text, begin) == begin && !next.is_some_and(u8::is_ascii_alphanumeric);
    (id.starts_with(b"AKIA") && id.iter().all(is_id) && is_whole).then_some(begin..begin + LENGTH)
}

/// Returns the password in `user:password@host`, given the index after `://`.
fn in_url(text: &[u8], begin: usize, seen: &mut Seen) -> Option<Range<usize>> {
    let is_outside = |byte: &u8| byte.is_ascii_whitespace() || b"\"'\\<>".contains(byte);
    if seen.outside < begin {
        seen.outside = end_of(text, begin, is_outside);
    }
    let host_end = end_of(&text[..seen.outside], begin, |byte| b"/?#".contains(byte));
    let password = end_of(&text[..host_end], begin, |byte| *byte == b':') + 1;
    if password > host_end {
        return None;
    }
    if seen.at_sign < password {
        seen.at_sign = end_of(text, password, |byte| *byte == b'@');
    }
    let end = match seen.at_sign {
        at if at < host_end => host_end,
        // A password may have a slash that is not encoded.
        at if at < seen.outside => {
            let has_port = text[password..host_end].iter().all(u8::is_ascii_digit);
            if has_port || text[begin] == b'[' {
                return None;
            }
            seen.outside
        }
        _ => return None,
    };
    count_scanned(end - password);
    let at_sign = text[password..end].iter().rposition(|byte| *byte == b'@')?;
    (at_sign > 0).then_some(password..password + at_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut out = "before ".to_owned();
        Scrubber::default().write("key", &mut out, |out| out.write_str(text));
        let read: String = serde_json::from_str(&format!("\"{out}\"")).unwrap();
        assert_eq!(read, format!("before {expected}"), "{text}");
    }

    #[test]
    fn secrets_in_texts_are_replaced() {
        for (text, expected) in [
            ("Bearer s3cr3t", "Bearer [redacted]"),
            ("a line\nBearer s3cr3t", "a line\nBearer [redacted]"),
            (
                "sent Authorization: bearer eyJhbGciOiJI.eyJzdWIi.x-y_z to it",
                "sent Authorization: bearer [redacted] to it",
            ),
            ("Basic dXNlcjpwYXNz, ok", "Basic [redacted], ok"),
            (
                "postgres://app:hunter2@db:5432/orders",
                "postgres://app:[redacted]@db:5432/orders",
            ),
            ("redis://:p@ss@cache", "redis://:[redacted]@cache"),
            ("amqp://u:p/w?@mq/x", "amqp://u:[redacted]@mq/x"),
            (
                "amqp://a:b@h1,amqp://c:d@h2",
                "amqp://a:[redacted]@h1,amqp://c:[redacted]@h2",
            ),
            (
                "GET /a?access_token=abc&page=2",
                "GET /a?access_token=[redacted]&page=2",
            ),
            (
                "host=db password=a\\b user=x",
                "host=db password=[redacted] user=x",
            ),
            ("password=a\nb", "password=[redacted]\nb"),
            ("API_KEY=ключ next", "API_KEY=[redacted] next"),
            (
                r#"{"password":"a\"b","user":"x"}"#,
                r#"{"password":"[redacted]","user":"x"}"#,
            ),
            (
                r#"Config { db_password: Some("x y"), user: "u" }"#,
                r#"Config { db_password: Some("[redacted]"), user: "u" }"#,
            ),
            ("token = 'a b' end", "token = '[redacted]' end"),
            (
                r#"{\"token\":\"x\"} end"#,
                r#"{\"token\":\"[redacted]\"} end"#,
            ),
            (r#"secret="never closed"#, r#"secret="[redacted]"#),
            (
                "authorization=Bearer s3cr3t",
                "authorization=Bearer [redacted]",
            ),
            ("?sv=1&sig=ab%2F", "?sv=1&sig=[redacted]"),
            ("password=Pa,ss)w0rd", "password=[redacted]"),
            ("PWD=a;b}c]d user=x", "PWD=[redacted] user=x"),
            ("password=a\u{2028}b", "password=[redacted]"),
            ("password = hunter2", "password = [redacted]"),
            (
                "aws_secret_access_key = abc\nregion = eu",
                "aws_secret_access_key = [redacted]\nregion = eu",
            ),
            ("'password' => 'a b',", "'password' => '[redacted]',"),
            ("token = Bearer abc", "token = Bearer [redacted]"),
            ("password: hunter2", "password: [redacted]"),
            ("password=123456", "password=[redacted]"),
            ("Cookie: sid=abc; a=\"b\"\nx", "Cookie: [redacted]\nx"),
            ("set-cookie: sid=abc", "set-cookie: [redacted]"),
            ("Set-Cookie:sid=abc", "Set-Cookie:[redacted]"),
            ("got cookie: sid=abc", "got cookie: [redacted]"),
            ("sent X-Api-Key: abc", "sent X-Api-Key: [redacted]"),
            ("x-api-key: abc", "x-api-key: [redacted]"),
            ("X-Auth-Token: abc", "X-Auth-Token: [redacted]"),
            (
                "Authorization: Digest username=\"a\", response=\"b\"",
                "Authorization: [redacted]",
            ),
            ("Authorization: Digest abc", "Authorization: [redacted]"),
            (
                "Authorization: token ghp_abc",
                "Authorization: token [redacted]",
            ),
            (
                "authorization: Basic abc",
                "authorization: Basic [redacted]",
            ),
            (
                "curl -H 'Authorization: abc' http://a -H \"Cookie: a=b\" http://b",
                "curl -H 'Authorization: [redacted]' http://a -H \"Cookie: [redacted]\" http://b",
            ),
            (
                r#"[("authorization", "s3cret"), ("host", "a")]"#,
                r#"[("authorization", "[redacted]"), ("host", "a")]"#,
            ),
            (
                r#"{"password":123456,"user":1}"#,
                r#"{"password":[redacted],"user":1}"#,
            ),
            (
                "AccountName=a;AccountKey=ab+/c==",
                "AccountName=a;AccountKey=[redacted]",
            ),
            (
                "with AKIAIOSFODNN7EXAMPLE, and\nAKIAIOSFODNN7EXAMPLE",
                "with [redacted], and\n[redacted]",
            ),
            (
                "invalid token: \"ghp_16C7e42F292c\"",
                "invalid token: \"[redacted]\"",
            ),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "",
            " ",
            "=",
            ":",
            "://",
            "x://",
            "accepted",
            "basic authentication",
            "bearer of news",
            "Bearer ",
            "the basic /api/v1/users",
            "http://host:8080/users/a@b",
            "http://[::1]:80/a@b",
            "ssh://git@github.com/x",
            "http://user:@host",
            "password: too short",
            "invalid token: expected 3 parts",
            "max_tokens=4096",
            "has_password=true",
            "password=",
            "token==x",
            "token=[redacted] secret=\"[redacted]\"",
            "password",
            "ключ://я:",
            "unexpected token: '}' at 3",
            "expected token: \"end\", found token: \"begin\"",
            "PWD=/srv/app OLDPWD=/srv",
            "basic HTTP/1.1 keepalive",
            "Visual Basic OAuth2",
            "uses basic health-check-endpoints",
            "basic authorization",
            "bearer authentication-middleware",
            "rockbearer s3cr3t",
            "next_token=abc&nextPageToken=abc",
            "max_token=4096, token=[redacted], password=None)",
            "signature=sha256",
            "token = $1 AND password = ?",
            "token == x, token != x, token => x",
            "password= user=x",
            "cookie::Cookie and secret::Secret",
            "invalid cookie: the name is empty",
            "authorization: failed for ada",
            "Authorization: denied",
            "Request { authorization: None, cookie: false }",
            "expected one of \"password\", \"email\"",
            "XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLES AKIA",
            "",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_function_that_logs_does_not_call_itself() {
        static SCRUBBER: std::sync::OnceLock<Scrubber> = std::sync::OnceLock::new();
        let mut scrubber = Scrubber::default();
        scrubber.add(|_, text| {
            let mut logged = String::new();
            SCRUBBER
                .get()?
                .write("key", &mut logged, |out| out.write_str("a token=x"));
            assert_eq!(logged, "a token=[redacted]");
            Some(format!("scrubbed {text}"))
        });
        for _ in 0..2 {
            let mut out = String::new();
            let scrubber = SCRUBBER.get_or_init(|| scrubber.clone());
            scrubber.write("key", &mut out, |out| out.write_str("text"));
            assert_eq!(out, "scrubbed text");
        }
    }

    #[test]
    fn every_name_is_found() {
        for (name, _) in named::NAMES {
            check(&format!("{name}=x"), &format!("{name}=[redacted]"));
        }
    }

    #[test]
    fn any_text_stays_a_json_string() {
        let parts = [
            "password",
            "token",
            "cookie",
            "PWD",
            "é",
            "\u{2028}",
            "\\",
            "\"",
            "'",
            "=",
            ":",
            " ",
            "//",
            "@",
            "\n",
            "(",
            ",",
            "Bearer ",
            "basic ",
            "AKIA",
            "AKIAIOSFODNN7EXAMPLE",
            "a1",
            ">",
            "Some(",
            "1",
            "Digest ",
            "/",
            "&",
        ];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text += parts[(seed >> 33) as usize % parts.len()];
            }
            let mut out = String::new();
            Scrubber::default().write("key", &mut out, |out| out.write_str(&text));
            let read = serde_json::from_str::<String>(&format!("\"{out}\""));
            assert!(read.is_ok(), "{text}: {out}");
        }
    }

    #[test]
    fn a_text_of_signs_takes_no_longer_than_others() {
        for text in [
            "token=",
            "token==",
            "jwt==",
            "token='",
            "token=\"",
            "token=[redacted]",
            "a token: \"",
            "a token: '",
            "a://",
            "a://b:c",
            "x://:",
            "x://u:@",
            "x://h:80/",
            "x://h:8/@",
            "bearer ",
            "basic ",
            "basic a",
            "cookie: ",
            "a cookie: ",
            "a cookie: x",
            "a authorization:",
            "(\"cookie\", ",
            "password:",
            "\"token\":1",
            "\"password\":x",
            "pwd=/",
            "PWD=/",
            "signature=sha1",
            "next_token=",
            "AKIA",
            "KIA",
            "\\\"",
            "password: \\\"",
        ] {
            SCANNED.set(0);
            let mut out = String::new();
            Scrubber::default().write("key", &mut out, |out| out.write_str(&text.repeat(20_000)));
            let scanned = SCANNED.get();
            assert!(scanned < 8 * MAX_VALUE, "{text}: {scanned}");
            assert!(out.len() < 8 * MAX_VALUE);
        }
    }
}
