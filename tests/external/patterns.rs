use std::error::Error;
use std::process::Command;

use campanile::series::{MatchOp, Matcher};
use campanile_tests::find;
use tempfile::TempDir;

/// Patterns. About half of them are invalid.
fn patterns() -> Vec<String> {
    let parts = [
        "a",
        "b",
        "(",
        ")",
        "(",
        ")",
        "[",
        "]",
        "[",
        "]",
        "{",
        "}",
        "*",
        "?",
        "+",
        "|",
        "^",
        "-",
        "$",
        ".",
        "\\",
        "\\d",
        "\\W",
        "\\s",
        "\\b",
        "\\B",
        "\\Q",
        "\\E",
        "\\pL",
        "\\p{Greek}",
        "\\P{^Lu}",
        "\\p{Nope}",
        "\\07",
        "\\1",
        "\\8",
        "\\x41",
        "\\x{41}",
        "\\x4",
        "\\C",
        "\\A",
        "\\z",
        "\\Z",
        "\\<",
        "\\_",
        "\\-",
        "\\ü",
        "{2}",
        "{2,}",
        "{,2}",
        "{2,1}",
        "{02}",
        "{1001}",
        "{40}",
        "(?i)a",
        "(?i:",
        "(?x)",
        "(?-s)b",
        "(?-)",
        "(?P<n>",
        "(?P<>",
        "(?=",
        "(?:",
        "[:alpha:]",
        "[[:word:]]",
        "[[:no:]]",
        "&&",
        "--",
        "~~",
        "[^",
        "a-z",
        "z-a",
        "1",
        ",",
        ":",
        "ü",
        " ",
        "#",
        "/",
        "'",
        "\"",
        "`",
        "<",
        ">",
    ];
    // A linear congruential generator is enough.
    let mut state = 1_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut patterns: Vec<_> = parts.map(str::to_owned).to_vec();
    patterns
        .extend((0..2_000).map(|_| (0..1 + next(6)).map(|_| parts[next(parts.len())]).collect()));
    patterns
}

/// Prometheus and matchers take the same patterns, and refuse the same.
#[test]
fn patterns_are_those_of_prometheus() {
    let patterns = patterns();
    let mut rules = "groups:\n- name: g\n  rules:\n".to_owned();
    for (number, pattern) in patterns.iter().enumerate() {
        let quoted = pattern.replace('\\', "\\\\").replace('"', "\\\"");
        let expr = format!("x{{a=~\"{quoted}\"}} > 0").replace('\'', "''");
        rules += &format!("  - alert: P{number}\n    expr: '{expr}'\n");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, rules).unwrap();
    let output = Command::new(find("promtool", "prometheus"))
        .args(["check", "rules", "--lint=none"])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let mut refused = 0;
    for (number, pattern) in patterns.iter().enumerate() {
        let theirs = !told.contains(&format!("\"P{number}\""));
        let ours = Matcher::new("a", MatchOp::Regex, pattern.as_str());
        refused += usize::from(!theirs);
        let reason = ours.as_ref().err().and_then(Error::source);
        if reason.is_some_and(|reason| reason.to_string().contains("size limit")) {
            continue;
        }
        assert_eq!(ours.is_ok(), theirs, "{pattern}: {ours:?}\n{told}");
    }
    assert!((500..1_800).contains(&refused), "{refused}");
}
