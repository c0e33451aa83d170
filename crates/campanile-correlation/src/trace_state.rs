use std::fmt;

use bytes::Bytes;
use http::header::{GetAll, HeaderValue};

/// The vendor-specific state of a trace: the header `tracestate` of W3C Trace Context, level 2.
///
/// If a key is repeated, the first member is kept. A clone shares the string.
///
/// ```
/// use campanile_correlation::TraceState;
///
/// let state = TraceState::parse([&b"rojo=00f067aa0ba902b7"[..], b"congo=t61rcWkgMzE, rojo=1"])?;
/// assert_eq!(state.get("congo"), Some("t61rcWkgMzE"));
/// assert_eq!(state.to_string(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
/// # Ok::<_, campanile_correlation::InvalidTraceState>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TraceState(Bytes);

/// The limit of members.
const MAX_MEMBERS: usize = 32;
/// The limit of a key, and of a value, in bytes.
const MAX_LENGTH: usize = 256;

impl TraceState {
    /// Parses the values of all header lines, in order.
    ///
    /// # Errors
    ///
    /// If a member is invalid, or there are more than 32. W3C Trace Context then forbids to use any
    /// of them.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, InvalidTraceState> {
        let mut members = Vec::<(&[u8], &[u8])>::new();
        let mut count = 0;
        for line in lines {
            for member in line.split(|byte| *byte == b',') {
                let member = trimmed(member);
                // Empty list members are allowed.
                if member.is_empty() {
                    continue;
                }
                count += 1;
                if count > MAX_MEMBERS {
                    return Err(InvalidTraceState("expected at most 32 members"));
                }
                let (key, value) = pair(member)?;
                if members.iter().all(|(other, _)| *other != key) {
                    members.push((key, value));
                }
            }
        }
        let members = members
            .iter()
            .map(|(key, value)| [key, &b"="[..], value].concat());
        let text = members.collect::<Vec<_>>().join(&b","[..]);
        Ok(Self(text.into()))
    }

    pub(crate) fn from_headers(lines: &GetAll<'_, HeaderValue>) -> Result<Self, InvalidTraceState> {
        Self::parse(lines.iter().map(HeaderValue::as_bytes))
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = |(name, value)| (name == key).then_some(value);
        self.iter().find_map(found)
    }

    /// Returns the keys and values in the order of the header, the most recent first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.as_str().split(',');
        members.filter_map(|member| member.split_once('='))
    }

    /// Returns whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the header value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The string is ASCII. The constructor checks it.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.clone()).ok()
    }
}

/// Returns a member without the spaces and tabs around it.
pub(crate) fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = text.iter().position(|byte| !is_blank(byte));
    let end = text.iter().rposition(|byte| !is_blank(byte));
    match (begin, end) {
        (Some(begin), Some(end)) => &text[begin..=end],
        _ => &[],
    }
}

fn pair(member: &[u8]) -> Result<(&[u8], &[u8]), InvalidTraceState> {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return Err(InvalidTraceState("expected `=` in each member"));
    };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let may_begin = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = |byte: &u8| may_begin(*byte) || b"_-*/@".contains(byte);
    if !key.first().is_some_and(|first| may_begin(*first))
        || key.len() > MAX_LENGTH
        || !key.iter().all(is_key)
    {
        return Err(InvalidTraceState(
            "expected keys of 1 to 256 characters of [a-z0-9_*/@-], a letter or a digit first",
        ));
    }
    let is_value = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    if value.is_empty() || value.len() > MAX_LENGTH || !value.iter().all(is_value) {
        return Err(InvalidTraceState(
            "expected values of 1 to 256 printable ASCII characters without `,` and `=`",
        ));
    }
    Ok((key, value))
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A string is no `tracestate`. The error doesn't repeat the string, which is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tracestate is not valid: {0}")]
pub struct InvalidTraceState(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<String, InvalidTraceState> {
        let lines = lines.iter().map(|line| line.as_bytes());
        TraceState::parse(lines).map(|state| state.to_string())
    }

    #[test]
    fn what_the_recommendation_allows_is_kept() {
        #[track_caller]
        fn check(lines: &[&str], shown: &str) {
            assert_eq!(parse(lines).as_deref(), Ok(shown));
        }
        check(&[], "");
        check(&["", " ", ",\t,"], "");
        check(&["foo=1"], "foo=1");
        check(&["foo=1,bar=2"], "foo=1,bar=2");
        check(&["foo=1", "bar=2"], "foo=1,bar=2");
        check(&["foo=1,", ",bar=2,,baz=3"], "foo=1,bar=2,baz=3");
        check(&["foo=1 \t , \t bar=2 \t "], "foo=1,bar=2");
        check(&["foo=1", "foo=2,bar=3"], "foo=1,bar=3");
        check(&["0=1,9a=2"], "0=1,9a=2");
        check(&["a@b@c_-*/=1"], "a@b@c_-*/=1");
        // A blank within a value is part of it, before as well.
        check(&["foo= a b ,bar=2"], "foo= a b,bar=2");
        check(
            &["foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"],
            "foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~",
        );
        let longest = format!("{}={}", "k".repeat(256), "v".repeat(256));
        check(&[&longest], &longest);
        let most: Vec<_> = (0..32)
            .map(|number| format!("k{number}={number}"))
            .collect();
        check(&[&most.join(",")], &most.join(","));
        let long = format!("a={},b={},c=1", "x".repeat(255), "y".repeat(256));
        assert!(long.len() > 512);
        check(&[&long], &long);
    }

    #[test]
    fn what_the_recommendation_forbids_is_discarded_whole() {
        let too_many: Vec<_> = (0..33)
            .map(|number| format!("k{number}={number}"))
            .collect();
        for lines in [
            &["foo"][..],
            &["foo=1,bar"],
            &["foo="],
            &["foo= "],
            &["=1"],
            &["foo =1"],
            &["FOO=1"],
            &["foo.bar=1"],
            &["@foo=1"],
            &["_foo=1"],
            &["foo=1=2"],
            &["foo=\t1\t2"],
            &["foo=caf\u{e9}"],
            &["foo=1", "bar"],
            &[&format!("{}=1", "k".repeat(257))],
            &[&format!("k={}", "v".repeat(257))],
            &[&too_many.join(",")],
            &[&too_many[..20].join(","), &too_many[20..].join(",")],
        ] {
            assert!(parse(lines).is_err(), "{lines:?}");
        }
        // The same key counts as often as it is there.
        let same = vec!["k=1"; 33].join(",");
        assert!(parse(&[&same]).is_err());
    }
}
