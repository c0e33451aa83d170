//! Escapes characters that could end a line, move a cursor, or change the text direction.

use std::fmt::{self, Write};

/// The limit of a value in bytes. Longer values are truncated.
pub(crate) const MAX_VALUE: usize = 16 << 10;

/// Returns whether a string needs no escaping.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| PLAIN[usize::from(byte)])
}

/// Writes a string as the inside of a JSON string, which is also safe in a line of text.
pub(crate) fn escape(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_special(*char)) {
        out.push_str(&rest[..at]);
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All special characters are in the basic plane. Writing to a `String` never fails.
            char => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
        }
        rest = &rest[at + char.len_utf8()..];
    }
    out.push_str(rest);
}

fn is_special(char: char) -> bool {
    matches!(
        char,
        '"' | '\\'
            // Control characters.
            | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Bidirectional controls.
            | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // A byte order mark.
            | '\u{feff}'
    )
}

/// The bytes that start no special character.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[0x7f] = false;
    // The first bytes of U+0080 to U+009F, U+061C, U+2000 to U+2FFF and U+F000 to U+FFFF.
    plain[0xc2] = false;
    plain[0xd8] = false;
    plain[0xe2] = false;
    plain[0xef] = false;
    plain
};

/// Escapes and truncates a string.
pub(crate) struct Escaping<'a> {
    out: &'a mut String,
    room: usize,
    is_cut: bool,
}

impl<'a> Escaping<'a> {
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self {
            out,
            room: MAX_VALUE,
            is_cut: false,
        }
    }
}

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.room && !self.is_cut {
            self.room -= text.len();
            escape(text, self.out);
            return Ok(());
        }
        if self.is_cut {
            return Err(fmt::Error);
        }
        self.is_cut = true;
        let mut ends = (0..=self.room).rev();
        let end = ends.find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        escape(&text[..end], self.out);
        self.out.push('…');
        // The error stops the formatting.
        self.room = 0;
        Err(fmt::Error)
    }
}

/// Returns the string of a JSON string.
#[cfg(feature = "otel")]
pub(crate) fn text_of(json: &str) -> String {
    unescaped(inner(json)).into_owned()
}

/// Returns the inside of a JSON string.
#[cfg(feature = "otel")]
pub(crate) fn inner(json: &str) -> &str {
    let json = json.strip_prefix('"').unwrap_or(json);
    json.strip_suffix('"').unwrap_or(json)
}

/// Returns the string that [`escape`] was given.
#[cfg(feature = "otel")]
pub(crate) fn unescaped(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return std::borrow::Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let digits = chars.as_str().get(..4).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok();
                out.extend(code.and_then(char::from_u32));
                chars = chars.as_str().get(4..).unwrap_or_default().chars();
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    std::borrow::Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn nothing_dangerous_is_left_and_json_reads_the_same() {
        for code in 0..=u32::from(char::MAX) {
            let Some(char) = char::from_u32(code) else {
                continue;
            };
            let text = format!("a{char}b");
            let escaped = escaped(&text);
            let read: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            assert_eq!(read, text, "{code:x}");
            assert!(
                !escaped.chars().any(|char| {
                    char.is_control()
                        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                }),
                "{code:x}"
            );
        }
        assert_eq!(escaped("naïve 🔔 中文"), "naïve 🔔 中文");
    }

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        let mut out = String::new();
        let result = write!(Escaping::new(&mut out), "x{}", "é".repeat(MAX_VALUE));
        assert!(result.is_err());
        assert_eq!(out.len(), 1 + (MAX_VALUE - 2) / 2 * 2 + '…'.len_utf8());
        let mut out = String::new();
        let text = "y".repeat(MAX_VALUE);
        assert!(Escaping::new(&mut out).write_str(&text).is_ok());
        assert_eq!(out, text);
    }

    #[cfg(feature = "otel")]
    #[test]
    fn an_escaped_text_reads_the_same() {
        for text in [
            "plain",
            "",
            "\"quoted\" back\\slash \\n",
            "two\nlines\r\tand \u{1b}[31m \u{2028}\u{202e}\u{feff}",
            "ends\\",
            "🔔 naïve",
        ] {
            let mut escaped = String::new();
            escape(text, &mut escaped);
            assert_eq!(unescaped(&escaped), text);
        }
        // A text that is cut in the middle is none of ours; it must not panic.
        for text in ["\\", "\\u", "\\u00", "\\u00é", "\\ud800"] {
            let _ = unescaped(text);
        }
    }
}
