//! YAML with all strings in JSON quotes, which are valid YAML.

use std::fmt::Write;

/// Returns a string in quotes.
pub(in crate::export) fn quoted(text: &str) -> String {
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

/// Writes pairs under a key, indented by a number of spaces; nothing without pairs.
pub(in crate::export) fn map<K: AsRef<str>, V: AsRef<str>>(
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

/// Returns the lines, indented by a number of additional spaces.
pub(in crate::export) fn indented(text: &str, indent: usize) -> String {
    let lines = text.lines();
    lines
        .map(|line| format!("{:indent$}{line}\n", ""))
        .collect()
}
