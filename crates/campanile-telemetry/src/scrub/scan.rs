//! Searches in an escaped string.

#[cfg(test)]
use std::cell::Cell;

/// Returns whether a word looks like a password or token: it has a letter and a digit, or 16 bytes
/// and is not made of words, such as `health-check-endpoints`.
pub(super) fn is_credential(word: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| word.iter().any(is);
    let is_separator = |byte: &u8| b"-_.".contains(byte);
    let are_words = word.iter().any(is_separator)
        && word
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || is_separator(byte));
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) || word.len() >= 16 && !are_words
}

/// Returns the start of the word before an index. Words have letters, digits, `-` and `_`. At most
/// 64 bytes are read.
pub(super) fn word_begin(text: &[u8], end: usize) -> usize {
    let is_outside = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte);
    let from = end.saturating_sub(64);
    let outside = text[from..end].iter().rposition(is_outside);
    let begin = outside.map_or(from, |at| from + at + 1);
    // The letter of `\n`.
    let is_escape = begin > 0 && text[begin - 1] == b'\\' && begin < end;
    let is_letter = is_escape && b"nrt".contains(&text[begin]);
    begin + usize::from(is_letter)
}

/// Returns the end of an unquoted value: white space, `&` or a quote.
pub(super) fn end_of_plain(text: &[u8], begin: usize) -> usize {
    let mut at = begin;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => match text.get(at + 1) {
                Some(b'n' | b'r' | b't' | b'"') => break,
                _ => at += 1,
            },
            b'&' | b'"' | b'\'' => break,
            byte if byte.is_ascii_whitespace() => break,
            _ => {}
        }
        at += 1;
    }
    count_scanned(at - begin);
    at.min(text.len())
}

/// Returns the index of the quote with as many backslashes as the opening one.
pub(super) fn closing_quote(text: &[u8], begin: usize, slashes: usize) -> usize {
    let quotes = (begin..text.len()).filter(|at| text[*at] == b'"');
    let ends = quotes.map(|at| (at, begin + without_slashes(&text[begin..at]).len()));
    let mut ends = ends.filter(|(at, end)| at - end == slashes);
    let end = ends.next().map_or(text.len(), |(_, end)| end);
    count_scanned(end - begin);
    end
}

pub(super) fn without_slashes(text: &[u8]) -> &[u8] {
    without_end(text, b'\\')
}

pub(super) fn without_end(text: &[u8], end: u8) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != end);
    &text[..end.map_or(0, |end| end + 1)]
}

pub(super) fn end_of(text: &[u8], begin: usize, is_end: impl Fn(&u8) -> bool) -> usize {
    let length = text[begin..].iter().position(is_end);
    let end = length.map_or(text.len(), |length| begin + length);
    count_scanned(end - begin);
    end
}

#[cfg(test)]
thread_local! {
    pub(super) static SCANNED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes that are read beyond a sign, for a test of the running time.
pub(super) fn count_scanned(bytes: usize) {
    #[cfg(test)]
    SCANNED.set(SCANNED.get() + bytes);
    #[cfg(not(test))]
    let _ = bytes;
}
