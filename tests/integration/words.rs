//! Comments, rustdoc and Markdown have no banned phrase, and no prose line over 100 columns.
//!
//! `tests/words/banned.txt` has the phrases. `tests/words/pending.txt` has the files that are not
//! done yet, and only shrinks. Code blocks, inline code, tables and lines with a URL are left out
//! of the columns, and code is left out of the phrases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::source::{self, ROOT, Token};

/// The limit of files in `pending.txt`. Lower it; never raise it.
const MAX_PENDING: usize = 142;

const COLUMNS: usize = 100;

/// Removes the files from `pending.txt` that are done or gone.
const UPDATE: &str = "CAMPANILE_UPDATE_PENDING";

/// A line of prose: its number, its text, and whether it is a comment that no document shows.
struct Line {
    number: usize,
    text: String,
    is_internal: bool,
}

/// A word in lower case, a mark of punctuation, or inline code, with its line.
type Word = (usize, String);

struct Phrase {
    words: Vec<String>,
    text: String,
    instead: String,
}

type Phrases = BTreeMap<String, Vec<Phrase>>;

const CODE: &str = "`";
const ANY: &str = "*";

/// Returns the banned phrases by their first words.
fn phrases() -> Phrases {
    let text = fs::read_to_string(Path::new(ROOT).join("tests/words/banned.txt")).unwrap();
    let mut phrases = Phrases::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (phrase, instead) = line.split_once(" | ").unwrap_or_else(|| {
            panic!("invalid line {line:?} in banned.txt: expected `phrase | write instead`")
        });
        let words: Vec<_> = phrase.split(' ').map(str::to_owned).collect();
        phrases.entry(words[0].clone()).or_default().push(Phrase {
            words,
            text: phrase.to_owned(),
            instead: instead.to_owned(),
        });
    }
    phrases
}

/// Returns the lines of a Rust file's comments, without their markers.
fn comments(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (first, token) in source::tokens(text) {
        let Token::Comment(comment) = token else {
            continue;
        };
        let is_internal = !["///", "//!", "/**", "/*!"]
            .iter()
            .any(|marker| comment.starts_with(marker));
        for (index, line) in comment.lines().enumerate() {
            lines.push(Line {
                number: first + index,
                text: line
                    .trim_start()
                    .trim_start_matches(['/', '!', '*'])
                    .to_owned(),
                is_internal,
            });
        }
    }
    lines
}

fn markdown(text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate().map(|(index, line)| Line {
        number: index + 1,
        text: line.to_owned(),
        is_internal: false,
    });
    lines.collect()
}

/// Returns the paragraphs of prose, without code blocks. Each row of a table is one paragraph.
fn paragraphs(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let mut paragraphs: Vec<Vec<Line>> = Vec::new();
    let mut last = 0;
    let mut fence = false;
    for line in lines {
        let text = line.text.trim();
        if line.number > last + 1 {
            fence = false;
        }
        let is_apart = line.number > last + 1 || text.starts_with(['|', '#', '-', '>']);
        last = line.number;
        if text.starts_with("```") {
            fence = !fence;
        }
        if fence || text.is_empty() || text.starts_with("```") {
            paragraphs.push(Vec::new());
        } else if is_apart || paragraphs.is_empty() {
            paragraphs.push(vec![line]);
        } else if let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push(line);
        }
    }
    paragraphs
}

fn words(paragraph: &[Line]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut is_code = false;
    for line in paragraph {
        let mut word = String::new();
        for c in line.text.chars().chain([' ']) {
            let c = if c == '’' { '\'' } else { c };
            if !is_code && (c.is_alphanumeric() || "'-_".contains(c)) {
                word.extend(c.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                words.push((line.number, std::mem::take(&mut word)));
            }
            if c == '`' {
                is_code = !is_code;
                if is_code {
                    words.push((line.number, CODE.to_owned()));
                }
            } else if !is_code && ".,;:!?()|".contains(c) {
                words.push((line.number, c.to_string()));
            }
        }
    }
    words
}

fn is_word(word: &str) -> bool {
    word.chars().all(char::is_alphanumeric)
}

/// Returns the problems of a text: their line, and what they are.
fn problems(lines: Vec<Line>, phrases: &Phrases, source: &str) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    let source: Vec<_> = source.lines().collect();
    for paragraph in paragraphs(lines) {
        for line in &paragraph {
            let columns = source[line.number - 1].chars().count();
            let is_prose = !line.is_internal
                && !line.text.trim().starts_with('|')
                && !line.text.contains("://");
            if is_prose && columns > COLUMNS {
                problems.push((line.number, format!("{columns} columns: wrap at {COLUMNS}")));
            }
        }
        let words = words(&paragraph);
        for (at, (line, word)) in words.iter().enumerate() {
            for phrase in phrases.get(word).into_iter().flatten() {
                let found = words[at..].iter().map(|(_, word)| word);
                let matches = found.zip(&phrase.words).filter(|(word, banned)| {
                    word == banned || (*banned == ANY && (*word == CODE || is_word(word)))
                });
                if matches.count() == phrase.words.len() {
                    let Phrase { text, instead, .. } = phrase;
                    problems.push((*line, format!("{text:?}: write {instead:?}")));
                }
            }
        }
    }
    problems.sort();
    problems
}

/// Returns the problems of the workspace's files by their paths.
fn workspace_problems() -> BTreeMap<String, Vec<(usize, String)>> {
    let root = fs::canonicalize(ROOT).unwrap();
    let phrases = phrases();
    let mut all = BTreeMap::new();
    for file in source::files(&root) {
        let read: fn(&str) -> Vec<Line> =
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => comments,
                Some("md") => markdown,
                _ => continue,
            };
        let text = fs::read_to_string(&file).unwrap();
        let path = file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        all.insert(path, problems(read(&text), &phrases, &text));
    }
    all
}

#[test]
fn prose_has_no_banned_phrase_and_is_wrapped() {
    let path = Path::new(ROOT).join("tests/words/pending.txt");
    let pending = fs::read_to_string(&path).unwrap();
    let problems = workspace_problems();
    let is_done = |file: &str| problems.get(file).is_none_or(Vec::is_empty);
    let (done, left): (Vec<_>, Vec<_>) = pending.lines().partition(|file| is_done(file));
    let mut report = String::new();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(
            &path,
            left.iter()
                .map(|file| format!("{file}\n"))
                .collect::<String>(),
        )
        .unwrap();
    } else {
        for file in done {
            report += &format!(
                "{file}: done: remove it from tests/words/pending.txt, or set {UPDATE}=1\n"
            );
        }
    }
    if left.len() > MAX_PENDING {
        report += &format!(
            "pending.txt has {} files: expected at most {MAX_PENDING}\n",
            left.len()
        );
    }
    for (file, problems) in &problems {
        if !left.contains(&file.as_str()) {
            for (line, problem) in problems {
                report += &format!("{file}:{line}: {problem}\n");
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn phrases_are_found_in_prose_alone() {
    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str)]) {
        let lines = comments(text);
        let found = problems(lines, &phrases(), text);
        let found: Vec<_> = found
            .iter()
            .map(|(line, problem)| (*line, problem.split(": ").next().unwrap()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    check(
        "/// A cap.\nfn cap() {} // Caps, too.",
        &[(1, "\"cap\""), (2, "\"caps\"")],
    );
    check("/// For who\n/// asks.", &[(1, "\"who asks\"")]);
    check("// As `Prometheus` has it.", &[(1, "\"as * has it\"")]);
    // In words, code, strings, other paragraphs, and two sentences.
    check(
        "/// The capital of `cap`.\n/// ```\n/// let cap = 1; // who asks\n/// ```\nconst A: &str = \"a cap\";",
        &[],
    );
    check("/// Those who\n///\n/// asks. The kind of. What else?", &[]);
    let long = "word ".repeat(20);
    check(
        &format!(
            "/// {long}\n// {long}\n/// | {long} |\n/// ```\n/// {long}\n/// ```\n/// https://{long}"
        ),
        &[(1, "104 columns")],
    );
}
