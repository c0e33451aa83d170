//! Regular expressions in the syntax of Go's RE2, as in Prometheus and Alertmanager, translated for
//! the `regex` crate.
//!
//! Literals are translated to their code points, so that none has a special meaning in that crate.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// The limit of a compiled pattern, in bytes.
const MAX_COMPILED: usize = 1 << 20;
/// The limit of repetitions. The counts of nested ones are multiplied.
const MAX_REPEAT: u32 = 1_000;

/// Compiles a pattern that must match the whole string.
pub(crate) fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let translated = translate(pattern).map_err(|(reason, rest)| {
        PatternError(Kind::Syntax {
            reason,
            offset: pattern.len() - rest.len(),
        })
    })?;
    RegexBuilder::new(&format!("^(?s:{translated})$"))
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| PatternError(Kind::Engine(error)))
}

/// The reason of a syntax error, and the rest of the pattern at its position.
type Wrong<'a> = (&'static str, &'a str);

/// The state of a translation.
struct Translator<'a> {
    rest: &'a str,
    out: String,
    /// The highest repetition count in each open group, and in the whole pattern.
    groups: Vec<u32>,
    /// The repetition count of the last part, if a repetition may follow.
    last: Option<Last>,
}

#[derive(Clone, Copy)]
enum Last {
    Part { repeats: u32 },
    Repetition,
}

fn translate(pattern: &str) -> Result<String, Wrong<'_>> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() * 2),
        groups: vec![1],
        last: None,
    };
    while let Some(char) = translator.rest.chars().next() {
        translator.next(char)?;
    }
    match translator.groups.len() {
        1 => Ok(translator.out),
        _ => Err(("missing closing )", "")),
    }
}

impl<'a> Translator<'a> {
    fn next(&mut self, char: char) -> Result<(), Wrong<'a>> {
        let at = self.rest;
        self.rest = &at[char.len_utf8()..];
        match char {
            '(' => return self.group(at),
            ')' => {
                let repeats = self.groups.pop().unwrap_or(1);
                let outer = self.groups.last_mut().ok_or(("unexpected )", at))?;
                *outer = repeats.max(*outer);
                self.out.push(')');
                self.last = Some(Last::Part { repeats });
            }
            '|' => {
                self.out.push('|');
                self.last = None;
            }
            '*' | '+' | '?' => self.repeat(at, &at[..1], 1)?,
            '{' => match bounds(self.rest) {
                Some((min, max, rest)) => {
                    self.rest = rest;
                    let times = max.unwrap_or(min);
                    if min > MAX_REPEAT || times > MAX_REPEAT || times < min {
                        return Err(("invalid repeat count", at));
                    }
                    self.repeat(at, &at[..at.len() - rest.len()], times.max(1))?;
                }
                None => self.literal('{'),
            },
            '^' | '$' | '.' => self.part(|out| out.push(char)),
            '[' => self.class(at)?,
            '\\' => self.escape(at)?,
            _ => self.literal(char),
        }
        Ok(())
    }

    fn part(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.out);
        self.last = Some(Last::Part { repeats: 1 });
    }

    fn literal(&mut self, char: char) {
        self.part(|out| literal(out, char));
    }

    fn repeat(&mut self, at: &'a str, op: &str, times: u32) -> Result<(), Wrong<'a>> {
        let repeats = match self.last {
            Some(Last::Part { repeats }) => repeats * times,
            Some(Last::Repetition) => return Err(("repetition of a repetition", at)),
            None => return Err(("repetition of nothing", at)),
        };
        if repeats > MAX_REPEAT {
            return Err(("too many nested repetitions", at));
        }
        if let Some(group) = self.groups.last_mut() {
            *group = repeats.max(*group);
        }
        self.out.push_str(op);
        if let Some(rest) = self.rest.strip_prefix('?') {
            self.rest = rest;
            self.out.push('?');
        }
        self.last = Some(Last::Repetition);
        Ok(())
    }

    /// Parses a group, or flags, after the parenthesis.
    fn group(&mut self, at: &'a str) -> Result<(), Wrong<'a>> {
        let name = ["?P<", "?<"]
            .into_iter()
            .find_map(|sign| self.rest.strip_prefix(sign)?.split_once('>'));
        if let Some((name, rest)) = name {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_valid) {
                return Err(("invalid group name", at));
            }
            let _ = write!(self.out, "(?P<{name}>");
            self.rest = rest;
        } else if let Some(rest) = self.rest.strip_prefix('?') {
            let end = rest.find([':', ')']).ok_or(("invalid group", at))?;
            let flags = flags(&rest[..end]).ok_or(("invalid group flags", at))?;
            self.rest = &rest[end + 1..];
            if rest[end..].starts_with(')') {
                if !flags.is_empty() {
                    let _ = write!(self.out, "(?{flags})");
                }
                self.last = None;
                return Ok(());
            }
            let _ = write!(self.out, "(?{flags}:");
        } else {
            self.out.push('(');
        }
        self.groups.push(1);
        self.last = None;
        Ok(())
    }

    /// Parses an escape outside of a class.
    fn escape(&mut self, at: &'a str) -> Result<(), Wrong<'a>> {
        let mut chars = self.rest.chars();
        match chars.next() {
            Some('Q') => {
                // Without an end, it would quote the parenthesis that Prometheus adds around a
                // pattern.
                let (quoted, rest) = chars
                    .as_str()
                    .split_once("\\E")
                    .ok_or(("missing closing \\E", at))?;
                self.rest = rest;
                quoted.chars().for_each(|char| self.literal(char));
            }
            Some(look @ ('A' | 'z')) => {
                self.rest = chars.as_str();
                self.part(|out| out.extend(['\\', look]));
            }
            Some(look @ ('b' | 'B')) => {
                self.rest = chars.as_str();
                self.part(|out| out.extend(["(?-u:\\", look.encode_utf8(&mut [0; 4]), ")"]));
            }
            Some('C') => return Err(("\\C is not supported", at)),
            _ => match class_escape(self.rest) {
                Some((set, rest)) => {
                    self.rest = rest;
                    self.part(|out| out.push_str(&set));
                }
                None => {
                    let (char, rest) = char_escape(self.rest).ok_or(("invalid escape", at))?;
                    self.rest = rest;
                    self.literal(char);
                }
            },
        }
        Ok(())
    }

    /// Parses a class after its opening bracket.
    fn class(&mut self, at: &'a str) -> Result<(), Wrong<'a>> {
        let missing = ("a closing ] is missing", at);
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            self.out.push('^');
        }
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if let Some(rest) = self.rest.strip_prefix("[:")
                && let Some((name, rest)) = rest.split_once(":]")
            {
                let plain = name.strip_prefix('^').unwrap_or(name);
                if !POSIX.contains(&plain) {
                    return Err(("unknown class name", self.rest));
                }
                let _ = write!(self.out, "[:{name}:]");
                self.rest = rest;
                continue;
            }
            let escaped = self.rest.strip_prefix('\\');
            if let Some((set, rest)) = escaped.and_then(class_escape) {
                self.out.push_str(&set);
                self.rest = rest;
                continue;
            }
            let from = self.rest;
            let low = self.class_char().ok_or(missing)?;
            let mut high = low;
            if let Some(rest) = self.rest.strip_prefix('-')
                && !rest.starts_with(']')
                && !rest.is_empty()
            {
                self.rest = rest;
                high = self.class_char().ok_or(("invalid range", from))?;
            }
            if high < low {
                return Err(("invalid range", from));
            }
            literal(&mut self.out, low);
            if high > low {
                self.out.push('-');
                literal(&mut self.out, high);
            }
        }
        self.rest = &self.rest[1..];
        self.part(|out| out.push(']'));
        Ok(())
    }

    fn class_char(&mut self) -> Option<char> {
        let (char, rest) = match self.rest.strip_prefix('\\') {
            Some(rest) => char_escape(rest)?,
            None => {
                let char = self.rest.chars().next()?;
                (char, &self.rest[char.len_utf8()..])
            }
        };
        self.rest = rest;
        Some(char)
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

fn literal(out: &mut String, char: char) {
    if char.is_ascii_alphanumeric() {
        out.push(char);
    } else {
        let _ = write!(out, "\\x{{{:x}}}", u32::from(char));
    }
}

/// Parses `3}`, `3,}` or `3,5}`. Anything else is literal.
fn bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (bounds, rest) = text.split_once('}')?;
    let number = |text: &str| {
        let is_number = text == "0" || !text.starts_with('0');
        let is_number = is_number && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u32::MAX))
    };
    let (min, max) = match bounds.split_once(',') {
        None => (number(bounds)?, Some(number(bounds)?)),
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((min, max, rest))
}

/// Returns the flags of a group without duplicates. The last of two equal flags counts.
fn flags(text: &str) -> Option<String> {
    let (on, off) = text.split_once('-').unwrap_or((text, ""));
    let is_known = |flags: &str| flags.chars().all(|flag| "imsU".contains(flag));
    let is_empty = text.ends_with('-');
    if is_empty || !is_known(on) || !is_known(off) {
        return None;
    }
    let on: String = "imsU"
        .chars()
        .filter(|&flag| on.contains(flag) && !off.contains(flag))
        .collect();
    let off: String = "imsU".chars().filter(|&flag| off.contains(flag)).collect();
    Some(if off.is_empty() {
        on
    } else {
        format!("{on}-{off}")
    })
}

/// Parses a character class after a backslash: `d`, `pL`, `p{Greek}` and so on.
fn class_escape(text: &str) -> Option<(String, &str)> {
    let mut chars = text.chars();
    let set = match chars.next()? {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        letter @ ('p' | 'P') => return unicode_class(letter == 'P', chars.as_str()),
        _ => return None,
    };
    Some((set.to_owned(), chars.as_str()))
}

fn unicode_class(mut is_negated: bool, text: &str) -> Option<(String, &str)> {
    let (mut name, rest) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => text.split_at_checked(1)?,
    };
    if let Some(plain) = name.strip_prefix('^') {
        (name, is_negated) = (plain, !is_negated);
    }
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let letter = if is_negated { 'P' } else { 'p' };
    is_name.then(|| (format!("\\{letter}{{{name}}}"), rest))
}

/// Parses one character after a backslash.
fn char_escape(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let char = match chars.next()? {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => {
            let rest = chars.as_str();
            let (digits, rest) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}')?,
                None => (rest.get(..2)?, rest.get(2..)?),
            };
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
            return Some((char::from_u32(code)?, rest));
        }
        '0'..='7' => {
            let digits = text.bytes().take(3);
            let len = digits
                .take_while(|digit| matches!(digit, b'0'..=b'7'))
                .count();
            // A single digit other than 0 is a back-reference.
            let code = u32::from_str_radix(&text[..len], 8).ok();
            let code = code.filter(|_| len > 1 || text.starts_with('0'))?;
            return Some((char::from_u32(code)?, &text[len..]));
        }
        char if char.is_ascii() && !char.is_ascii_alphanumeric() => char,
        _ => return None,
    };
    Some((char, chars.as_str()))
}

/// The cause why a pattern is not valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct PatternError(Kind);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Kind {
    #[error("invalid syntax at byte {offset}: {reason}")]
    Syntax { reason: &'static str, offset: usize },
    #[error(transparent)]
    Engine(regex::Error),
}

impl Eq for PatternError {}

#[cfg(test)]
mod tests;
