//! Values after names such as `password=` and headers such as `Cookie:`.

use std::ops::Range;

use super::scan::{
    closing_quote, end_of, end_of_plain, is_credential, without_slashes, word_begin,
};
use crate::sensitive::REDACTED;

/// The kind of a name, which decides how its value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers are secrets, too. `password: hunter2` is recognized without quotes.
    Password,
    /// Numbers are shown, and short words in prose, such as `unexpected token: "end"`.
    Token,
    /// The value of `name: value` ends with the line.
    Header,
    /// Names of algorithms are shown.
    Signature,
    Other,
}

/// The ends of names whose values are replaced, in lower case. The first that matches applies.
pub(super) const NAMES: [(&str, Kind); 31] = [
    ("access-key", Kind::Other),
    ("access_key", Kind::Other),
    ("accesskey", Kind::Other),
    ("account-key", Kind::Other),
    ("account_key", Kind::Other),
    ("accountkey", Kind::Other),
    ("api-key", Kind::Header),
    ("api_key", Kind::Other),
    ("apikey", Kind::Other),
    ("authorization", Kind::Header),
    ("client-secret", Kind::Password),
    ("cookie", Kind::Header),
    ("jwt", Kind::Other),
    ("passphrase", Kind::Password),
    ("passwd", Kind::Password),
    ("password", Kind::Password),
    ("private-key", Kind::Other),
    ("private_key", Kind::Other),
    ("privatekey", Kind::Other),
    ("pwd", Kind::Password),
    ("secret", Kind::Password),
    ("secret-key", Kind::Other),
    ("secret_key", Kind::Other),
    ("secretkey", Kind::Other),
    ("session-id", Kind::Other),
    ("session_id", Kind::Other),
    ("sessionid", Kind::Other),
    ("sig", Kind::Signature),
    ("signature", Kind::Signature),
    ("-token", Kind::Header),
    ("token", Kind::Token),
];

/// The ends of names that look like those above, but whose values are positions in a list.
const CURSORS: [&str; 12] = [
    "continuation-token",
    "continuation_token",
    "continuationtoken",
    "next-token",
    "next_token",
    "nexttoken",
    "page-token",
    "page_token",
    "pagetoken",
    "sync-token",
    "sync_token",
    "synctoken",
];

/// The words of messages about a secret, such as `authorization: failed for ada`.
const PROSE: [&str; 21] = [
    "cannot",
    "denied",
    "empty",
    "expected",
    "expired",
    "failed",
    "forbidden",
    "found",
    "invalid",
    "is",
    "malformed",
    "missing",
    "must",
    "no",
    "not",
    "rejected",
    "required",
    "too",
    "unexpected",
    "unknown",
    "unsupported",
];

/// The schemes before a secret of one word.
const SCHEMES: [&[u8]; 4] = [b"basic ", b"bearer ", b"negotiate ", b"token "];

/// A name before a sign, whose value is a secret.
struct Name<'a> {
    kind: Kind,
    /// The string up to the end of the name, and the start of its whole word.
    before: &'a [u8],
    begin: usize,
    is_quoted: bool,
    /// Whether a space is between the name and the sign.
    has_space: bool,
}

impl<'a> Name<'a> {
    /// Returns the name before a sign.
    fn before(text: &'a [u8], sign: usize) -> Option<Self> {
        let all = &text[..sign];
        let unspaced = all.strip_suffix(b" ").unwrap_or(all);
        let before = match unspaced.strip_suffix(b"\"") {
            Some(name) => without_slashes(name),
            None => unspaced.strip_suffix(b"'").unwrap_or(unspaced),
        };
        // The last letters of the names.
        if !matches!(
            before.last()? | 0x20,
            b'd' | b'e' | b'g' | b'n' | b't' | b'y'
        ) {
            return None;
        }
        let mut names = NAMES.iter().filter(|(name, _)| ends_with(before, name));
        let (_, kind) = *names.next()?;
        let is_token = matches!(kind, Kind::Token | Kind::Header);
        if is_token && CURSORS.iter().any(|name| ends_with(before, name)) {
            return None;
        }
        Some(Self {
            kind,
            before,
            begin: word_begin(text, before.len()),
            is_quoted: before.len() < unspaced.len(),
            has_space: unspaced.len() < all.len(),
        })
    }

    fn word(&self) -> &'a [u8] {
        &self.before[self.begin..]
    }

    /// Returns whether the name follows a word, as in `invalid token: …`.
    fn is_in_prose(&self) -> bool {
        let before = self.before[..self.begin].strip_suffix(b" ");
        let last = before.and_then(<[u8]>::last);
        !self.is_quoted && last.is_some_and(u8::is_ascii_alphanumeric)
    }

    /// Returns whether the name is the variable of the working directory.
    fn is_directory(&self, value: &[u8], is_colon: bool) -> bool {
        let is_variable = is_colon || self.before.ends_with(b"PWD");
        let is_path = value.starts_with(b"/") || value.starts_with(b"~");
        is_variable && is_path && ends_with(self.before, "pwd")
    }
}

/// Returns the value in `name=value`, `name = value`, `name="value"`, `name => "value"`,
/// `name: "value"`, `"name":1` and `Header: value`, given the index of the `=` or `:`.
pub(super) fn after_name(text: &[u8], sign: usize) -> Option<Range<usize>> {
    let is_colon = text[sign] == b':';
    let after = &text[sign + 1..];
    // A comparison, or a path in Rust.
    if after.first() == Some(&text[sign]) {
        return None;
    }
    let name = Name::before(text, sign)?;
    let arrow = after.strip_prefix(b">").filter(|_| !is_colon);
    let near = arrow.unwrap_or(after);
    let spaced = near.strip_prefix(b" ");
    let value = spaced.unwrap_or(near);
    let value = value.strip_prefix(b"Some(").unwrap_or(value);
    let begin = text.len() - value.len();
    if name.is_directory(value, is_colon) {
        return None;
    }
    let secret = match quoted(text, begin) {
        Some((begin, slashes)) => {
            let is_token = is_colon && name.kind == Kind::Token && name.is_in_prose();
            if is_token && is_short_word(text, begin, slashes) {
                return None;
            }
            begin..quote_end(text, begin, slashes)
        }
        None if arrow.is_some() => return None,
        // `name= other=1` has no value.
        None if !is_colon && (name.is_quoted || spaced.is_some() && !name.has_space) => {
            return None;
        }
        None if !is_colon => {
            let is_password = name.kind == Kind::Password;
            let begin = begin + scheme(value).filter(|_| !is_password).unwrap_or(0);
            begin..end_of_plain(text, begin)
        }
        None if name.is_quoted => number(text, begin).filter(|_| name.kind == Kind::Password)?,
        None if name.kind == Kind::Header => header(text, begin, &name, spaced.is_some())?,
        None => {
            // Prose may follow, such as `password: too short`.
            let secret = begin..end_of_plain(text, begin);
            let is_shown = name.kind != Kind::Password || !is_credential(&text[secret.clone()]);
            return (!is_shown).then_some(secret);
        }
    };
    (!is_harmless(name.kind, &text[secret.clone()])).then_some(secret)
}

/// Returns the value in `("name", "value")`, given the index of the comma.
#[cold]
pub(super) fn in_pair(text: &[u8], comma: usize) -> Option<Range<usize>> {
    let name = Name::before(text, comma).filter(|name| name.is_quoted)?;
    let before = name.before[..name.begin].strip_suffix(b"\"")?;
    if !without_slashes(before).ends_with(b"(") {
        return None;
    }
    let after = &text[comma + 1..];
    let value = after.strip_prefix(b" ").unwrap_or(after);
    let (begin, slashes) = quoted(text, text.len() - value.len())?;
    let secret = begin..quote_end(text, begin, slashes);
    (!is_harmless(name.kind, &text[secret.clone()])).then_some(secret)
}

/// Returns the range of the value of a header.
fn header(text: &[u8], begin: usize, name: &Name<'_>, has_space: bool) -> Option<Range<usize>> {
    let is_capital = name.word().first().is_some_and(u8::is_ascii_uppercase);
    if !is_capital && !has_space {
        return None;
    }
    let value = &text[begin..];
    if let Some(length) = scheme(value) {
        let begin = begin + length;
        let is_shown = is_prose(&text[begin..]);
        return (!is_shown).then(|| begin..end_of_plain(text, begin));
    }
    // No longer word matters below.
    let start = &value[..value.len().min(64)];
    let word = &start[..end_of(start, 0, |byte| b" ,;)}\\".contains(byte))];
    let is_message = !is_capital
        && name.is_in_prose()
        && !value.starts_with(b"Digest ")
        && !word.contains(&b'=')
        && !is_credential(word);
    if is_message || is_prose(value) || is_harmless(name.kind, word) {
        return None;
    }
    let quote = name.before[..name.begin].last();
    let quote = quote.filter(|byte| b"\"'".contains(byte));
    Some(begin..end_of_line(text, begin, quote.copied()))
}

/// Returns the length of the scheme at the start of a value, including its space.
fn scheme(value: &[u8]) -> Option<usize> {
    let begins = |scheme: &&&[u8]| {
        let begin = value.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    SCHEMES.iter().find(begins).map(|scheme| scheme.len())
}

/// Returns whether the message continues and has no value here.
fn is_prose(text: &[u8]) -> bool {
    let text = &text[..text.len().min(16)];
    let (word, rest) = text.split_at(end_of(text, 0, |byte| !byte.is_ascii_lowercase()));
    let is_word = rest.first().is_none_or(|byte| b" ,;.\\".contains(byte));
    is_word && PROSE.iter().any(|prose| prose.as_bytes() == word)
}

/// Returns the index after an opening quote, and the number of backslashes of the quote. A single
/// quote has none.
fn quoted(text: &[u8], begin: usize) -> Option<(usize, Option<usize>)> {
    let slashes = end_of(text, begin, |byte| *byte != b'\\') - begin;
    match text.get(begin + slashes)? {
        b'"' => Some((begin + slashes + 1, Some(slashes))),
        b'\'' if slashes == 0 => Some((begin + 1, None)),
        _ => None,
    }
}

fn quote_end(text: &[u8], begin: usize, slashes: Option<usize>) -> usize {
    match slashes {
        Some(slashes) => closing_quote(text, begin, slashes),
        None => end_of(text, begin, |byte| *byte == b'\''),
    }
}

/// Returns whether a value in quotes is what a parser found, such as `unexpected token: "end"`.
fn is_short_word(text: &[u8], begin: usize, slashes: Option<usize>) -> bool {
    let start = &text[..text.len().min(begin + 16)];
    let end = quote_end(start, begin, slashes);
    end < begin + 15 && !is_credential(&text[begin..end])
}

/// Returns the number at an index.
fn number(text: &[u8], begin: usize) -> Option<Range<usize>> {
    let end = end_of(text, begin, |byte| {
        !byte.is_ascii_digit() && !b"-.".contains(byte)
    });
    (end > begin).then_some(begin..end)
}

/// Returns the end of a line or of a quoted string.
fn end_of_line(text: &[u8], begin: usize, quote: Option<u8>) -> usize {
    let mut at = begin;
    while at < text.len() {
        let is_end = match text[at] {
            b'\\' => match text.get(at + 1) {
                Some(b'n' | b'r') => true,
                Some(b'"') => quote == Some(b'"'),
                _ => {
                    at += 1;
                    false
                }
            },
            byte => quote == Some(byte),
        };
        if is_end {
            break;
        }
        at += 1;
    }
    super::scan::count_scanned(at - begin);
    at.min(text.len())
}

/// Returns whether a value is not a secret.
fn is_harmless(kind: Kind, value: &[u8]) -> bool {
    const WORDS: [&str; 6] = ["true", "false", "None", "null", "[redacted", REDACTED];
    const ALGORITHMS: [&str; 12] = [
        "ed25519",
        "es256",
        "hmac-sha1",
        "hmac-sha256",
        "hmacsha256",
        "hs256",
        "md5",
        "rs256",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
    ];
    let is = |word: &&str| value_is(value, word);
    // A placeholder, as in `token = $1`.
    let is_placeholder =
        value.len() <= 3 && value.first().is_some_and(|byte| b"$?%".contains(byte));
    value.is_empty()
        || is_placeholder
        || WORDS.iter().any(|word| value_is_exactly(value, word))
        || kind == Kind::Signature && ALGORITHMS.iter().any(is)
        || kind == Kind::Token && unpunctuated(value).iter().all(u8::is_ascii_digit)
}

fn value_is(value: &[u8], word: &str) -> bool {
    unpunctuated(value).eq_ignore_ascii_case(word.as_bytes())
}

fn value_is_exactly(value: &[u8], word: &str) -> bool {
    unpunctuated(value) == word.as_bytes() || value == word.as_bytes()
}

/// Returns a value without the rest of a list.
fn unpunctuated(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [rest @ .., b',' | b';' | b')' | b']' | b'}'] = value {
        value = rest;
    }
    value
}

fn ends_with(text: &[u8], end: &str) -> bool {
    let end = end.as_bytes();
    // The last bytes differ most often.
    let last = |text: &[u8]| text.last().map(u8::to_ascii_lowercase);
    last(text) == last(end)
        && text.len() >= end.len()
        && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}
