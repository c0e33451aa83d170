//! YAML, as far as rules and definitions need it: every text in the quotes of JSON, which YAML reads too.

use std::fmt::Write;

/// Returns a text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out += "\\n",
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// Writes pairs under a key, indented by a number of spaces; nothing if there are none.
pub(super) fn map<K: AsRef<str>, V: AsRef<str>>(
    out: &mut String,
    indent: usize,
    key: &str,
    pairs: impl IntoIterator<Item = (K, V)>,
) {
    let mut pairs = pairs.into_iter().peekable();
    if pairs.peek().is_some() {
        let _ = writeln!(out, "{:indent$}{key}:", "");
    }
    for (name, value) in pairs {
        let (name, value) = (name.as_ref(), quoted(value.as_ref()));
        let _ = writeln!(out, "{:indent$}  {name}: {value}", "");
    }
}

/// Returns lines that are indented by a number of additional spaces.
pub(super) fn indented(text: &str, indent: usize) -> String {
    let lines = text.lines();
    lines
        .map(|line| format!("{:indent$}{line}\n", ""))
        .collect()
}
