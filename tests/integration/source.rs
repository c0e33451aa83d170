//! A lexer for Rust that is enough for the tests on sources: comments, names and punctuation.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Name(String),
    /// One character of punctuation.
    Mark(char),
    /// A string, a character or a number.
    Literal,
    /// A comment with its `//`, `///` or `//!`.
    Comment(String),
}

/// Returns the tokens of a Rust file, with their lines, which begin with 1.
pub(crate) fn tokens(text: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < text.len() {
        let begin = at;
        let next = text.get(at + 1).copied();
        let token = match text[at] {
            '/' if next == Some('/') => {
                at = find(&text, at, |c| c == '\n');
                Some(Token::Comment(text[begin..at].iter().collect()))
            }
            '/' if next == Some('*') => {
                at = block_comment(&text, at);
                Some(Token::Comment(text[begin..at].iter().collect()))
            }
            '"' => {
                at = string(&text, at);
                Some(Token::Literal)
            }
            // A lifetime has no quote after its name, which may be one of a single character.
            '\'' if text.get(at + 2) == Some(&'\'') || next == Some('\\') => {
                at = find(&text, at + 3, |c| c == '\'') + 1;
                if next != Some('\\') {
                    at = begin + 3;
                }
                Some(Token::Literal)
            }
            c if c.is_alphanumeric() || c == '_' => {
                at = find(&text, at, |c| !(c.is_alphanumeric() || c == '_'));
                let name: String = text[begin..at].iter().collect();
                let hashes = text[at..].iter().take_while(|c| **c == '#').count();
                let is_string = text.get(at + hashes) == Some(&'"');
                match name.as_str() {
                    "r" | "br" | "cr" if is_string => {
                        at = raw_string(&text, at, hashes);
                        Some(Token::Literal)
                    }
                    "b" | "c" if is_string && hashes == 0 => {
                        at = string(&text, at);
                        Some(Token::Literal)
                    }
                    // The name that follows is an ordinary one here.
                    "r" if hashes == 1 => {
                        at += 1;
                        None
                    }
                    _ if c.is_numeric() => Some(Token::Literal),
                    _ => Some(Token::Name(name)),
                }
            }
            c => {
                at += 1;
                (!c.is_whitespace()).then_some(Token::Mark(c))
            }
        };
        tokens.extend(token.map(|token| (line, token)));
        let end = at.min(text.len());
        line += text[begin..end].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn find(text: &[char], from: usize, is_end: impl Fn(char) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().position(|c| is_end(*c));
    length.map_or(text.len(), |length| from + length)
}

fn block_comment(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < text.len() {
        match text.get(at..at + 2) {
            Some(['/', '*']) => depth += 1,
            Some(['*', '/']) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(text: &[char], from: usize, hashes: usize) -> usize {
    let mut at = from + hashes + 1;
    while at < text.len() {
        at = find(text, at, |c| c == '"') + 1;
        let closing = text.get(at..at + hashes).unwrap_or_default();
        if closing.len() == hashes && closing.iter().all(|c| *c == '#') {
            break;
        }
    }
    at + hashes
}

/// Returns the files below a directory of the workspace, in order, but those of builds.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            files.push(path);
        } else if path.file_name().is_some_and(|name| name != "target") {
            files.extend(self::files(&path));
        }
    }
    files.sort();
    files
}
