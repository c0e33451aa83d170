use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{GetAll, HeaderValue};

use crate::trace_state::trimmed;

/// Key-value pairs that a request propagates: the header `baggage` of W3C Baggage.
///
/// Clients set it, so do not trust its values. A member is propagated only if its key is
/// [listed](crate::PropagationLayer::baggage).
///
/// ```
/// use campanile_correlation::Baggage;
///
/// let baggage = Baggage::parse([&b"user=Am%C3%A9lie;from=form, plan = team"[..]]);
/// assert_eq!(baggage.get("user").as_deref(), Some("Amélie"));
/// assert_eq!(baggage.only(&["plan"]).to_string(), "plan=team");
/// ```
///
/// At most 64 members and 8,192 bytes are kept, the first ones. Malformed members are dropped. A
/// clone shares the string.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Baggage(Bytes);

/// The limit of members.
const MAX_MEMBERS: usize = 64;
/// The limit of all members and the commas between them, in bytes.
const MAX_BYTES: usize = 8_192;
/// The limit of members that are parsed, valid or not.
const MAX_PARSED: usize = 1_024;

impl Baggage {
    /// Parses the values of all header lines, in order.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::read(lines).0
    }

    /// Parses header values. Returns also whether a member was dropped.
    fn read<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> (Self, bool) {
        let mut text = Vec::new();
        let (mut members, mut dropped) = (0, false);
        let all = lines
            .into_iter()
            .flat_map(|line| line.split(|byte| *byte == b','));
        for (parsed, member) in all.enumerate() {
            let member = trimmed(member);
            if member.is_empty() {
                continue;
            }
            // Whitespace around `=` and `;` is not part of a member.
            let bare = || member.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
            let length = text.len() + usize::from(members > 0) + bare().count();
            if members == MAX_MEMBERS || parsed >= MAX_PARSED || length > MAX_BYTES {
                dropped = true;
                break;
            }
            if !is_member(member) {
                dropped = true;
                continue;
            }
            if members > 0 {
                text.push(b',');
            }
            members += 1;
            text.extend(bare());
        }
        (Self(text.into()), dropped)
    }

    pub(crate) fn from_headers(lines: &GetAll<'_, HeaderValue>) -> (Self, bool) {
        Self::read(lines.iter().map(HeaderValue::as_bytes))
    }

    /// Returns the decoded value of the first member with this key.
    ///
    /// Percent-encoded bytes that are not UTF-8 become `U+FFFD`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        let found = |(name, value)| (name == key).then_some(value);
        self.iter().find_map(found)
    }

    /// Returns the keys and the decoded values, in the order of the header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.members().filter_map(|member| {
            let (key, rest) = member.split_once('=')?;
            let value = rest.split_once(';').map_or(rest, |(value, _)| value);
            Some((key, decoded(value)))
        })
    }

    /// Returns only the members with these keys, with their properties.
    #[must_use]
    pub fn only(&self, keys: &[&str]) -> Self {
        let is_listed = |member: &&str| {
            let key = member.split_once('=').map(|(key, _)| key);
            key.is_some_and(|key| keys.contains(&key))
        };
        let members: Vec<_> = self.members().filter(is_listed).collect();
        Self(members.join(",").into())
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

    fn members(&self) -> impl Iterator<Item = &str> {
        let members = self.as_str().split(',');
        members.filter(|member| !member.is_empty())
    }

    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.clone()).ok()
    }
}

/// `key = value *( ; property )`
fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';').map(trimmed);
    parts.next().is_some_and(is_pair)
        && parts.all(|property| is_token(property) || is_pair(property))
}

fn is_pair(text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (key, value) = (trimmed(&text[..at]), trimmed(&text[at + 1..]));
    is_token(key) && is_value(value)
}

/// A token of RFC 9110.
fn is_token(text: &[u8]) -> bool {
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_one)
}

fn is_value(text: &[u8]) -> bool {
    let is_one =
        |byte: &u8| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~');
    text.iter().all(is_one)
}

fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return value.into();
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let are_digits = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.filter(are_digits);
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Shows the keys only: the values may be secrets.
impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(key, _)| key))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> (String, bool) {
        let lines = lines.iter().map(|line| line.as_bytes());
        let (baggage, dropped) = Baggage::read(lines);
        (baggage.to_string(), dropped)
    }

    #[test]
    fn what_the_recommendation_allows_is_kept() {
        #[track_caller]
        fn check(lines: &[&str], shown: &str) {
            assert_eq!(parse(lines), (shown.to_owned(), false));
        }
        check(&[], "");
        check(&["", ","], "");
        check(&["a=1"], "a=1");
        check(&["a=1,b=2", "c=3"], "a=1,b=2,c=3");
        check(&["a = 1 ; p ; q = 2 , b=2"], "a=1;p;q=2,b=2");
        check(&["a="], "a=");
        check(&["a=b=c"], "a=b=c");
        check(
            &["SomeKey=SomeValue;SomeProp"],
            "SomeKey=SomeValue;SomeProp",
        );
        check(&["a=1,a=2"], "a=1,a=2");
        check(&["a!#$%&'*+-.^_`|~=x"], "a!#$%&'*+-.^_`|~=x");
        check(&["a=%20%e4%B8"], "a=%20%e4%B8");
        // A percent sign need not be followed by digits.
        check(&["a=100%,b=%zz,c=%+1"], "a=100%,b=%zz,c=%+1");
    }

    #[test]
    fn what_it_forbids_is_dropped_and_the_rest_kept() {
        #[track_caller]
        fn check(lines: &[&str], shown: &str) {
            assert_eq!(parse(lines), (shown.to_owned(), true));
        }
        check(&["a"], "");
        check(&["=1"], "");
        check(&["a b=1,c=2"], "c=2");
        check(&["a=1 2,c=2"], "c=2");
        check(&["a=\"1\",c=2"], "c=2");
        check(&["a=\\,c=2"], "c=2");
        check(&["a=caf\u{e9},c=2"], "c=2");
        check(&["a=1;,c=2"], "c=2");
        check(&["a=1;p q,c=2"], "c=2");
        check(&["(a)=1,c=2"], "c=2");
    }

    #[test]
    fn whole_members_from_the_front_are_kept_within_the_limits() {
        let members = |count: usize| {
            let members = (0..count).map(|number| format!("k{number}=v"));
            members.collect::<Vec<_>>()
        };
        assert_eq!(
            parse(&[&members(64).join(",")]),
            (members(64).join(","), false)
        );
        assert_eq!(
            parse(&[&members(65).join(",")]),
            (members(64).join(","), true)
        );
        let exact = format!(
            "a={},b={}",
            "x".repeat(4_000),
            "y".repeat(8_192 - 4_000 - 5)
        );
        assert_eq!(exact.len(), 8_192);
        assert_eq!(parse(&[&exact]), (exact.clone(), false));
        let (kept, dropped) = parse(&[&format!("{exact}z,c=1")]);
        assert_eq!((kept.len(), dropped), (4_002, true));
        // A thousand headers of 8 KiB each. None of them fits.
        let line = format!("a={}", "x".repeat(8_192));
        let lines = vec![line.as_str(); 1_000];
        assert_eq!(parse(&lines), (String::new(), true));
        let junk = "?,".repeat(4_000);
        assert_eq!(parse(&[&junk, "a=1"]), (String::new(), true));
    }

    #[test]
    fn values_are_decoded() {
        let baggage = Baggage::parse([&b"a=%C3%A9%2C%25,b=%FF!,c=x%41;p=%42,d=,e=1%,f=%+1"[..]]);
        let all: Vec<_> = baggage.iter().collect();
        let expected = [
            ("a", "\u{e9},%"),
            ("b", "\u{fffd}!"),
            ("c", "xA"),
            ("d", ""),
            ("e", "1%"),
            ("f", "%+1"),
        ];
        assert_eq!(all, expected.map(|(key, value)| (key, value.into())));
        assert_eq!(baggage.get("x"), None);
        assert_eq!(
            baggage.only(&["c", "d", "x"]).to_string(),
            "c=x%41;p=%42,d="
        );
        assert_eq!(format!("{baggage:?}"), r#"{"a", "b", "c", "d", "e", "f"}"#);
        assert!(Baggage::default().is_empty() && Baggage::default().iter().next().is_none());
    }
}
