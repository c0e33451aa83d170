use super::*;

#[track_caller]
fn check(pattern: &str, matching: &[&str], others: &[&str]) {
    let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for text in matching {
        assert!(regex.is_match(text), "{pattern} doesn't match {text:?}");
    }
    for text in others {
        assert!(!regex.is_match(text), "{pattern} matches {text:?}");
    }
}

#[test]
fn the_whole_text_has_to_match() {
    check("b", &["b"], &["ab", "bc", "b\n", "\nb", ""]);
    check("a|b", &["a", "b"], &["ab", "xb", "ax"]);
    check("", &[""], &["a", "\n"]);
    check("a.b", &["a\nb", "aüb"], &["a\n\nb"]);
    check("(?-s)a.b", &["a-b"], &["a\nb"]);
    check("(?m)a$", &["a"], &["a\nb"]);
    check(r"\Aa\z", &["a"], &["a\n"]);
    check("5..", &["503"], &["50"]);
}

#[test]
fn perl_classes_are_ascii() {
    check(r"\d+", &["123"], &["٣", "x"]);
    check(r"\D", &["٣", "x"], &["1"]);
    check(r"\w+", &["aZ_9"], &["größe", "-"]);
    check(r"\W", &["ö", "-"], &["a", "_"]);
    check(r"\s", &[" ", "\t", "\n", "\x0c", "\r"], &["\x0b", "\u{a0}"]);
    check(r"\S", &["\x0b", "\u{a0}", "x"], &[" ", "\n"]);
    check(r"[\d_]+", &["1_2"], &["٣"]);
    check(r"[^\d]", &["x", "٣"], &["1"]);
    check(r"[\D5]", &["x", "5"], &["4"]);
    check(r"[^\W]", &["x"], &["ö", "-"]);
    check(r"gr\b.*", &["größe", "gr"], &["gra"]);
    check(r"gr\Bo", &["gro"], &[]);
    check(
        r"(?i)GRÖSSE\d",
        &["größe1".replace('ß', "ss").as_str()],
        &["grosse1"],
    );
}

#[test]
fn classes_of_unicode_are_there() {
    check(r"\p{L}+", &["größe"], &["1"]);
    check(r"\pN", &["1", "٣"], &["x"]);
    check(r"\PN", &["x"], &["1"]);
    check(r"\p{Greek}+", &["αβγ"], &["abc"]);
    check(r"\p{^Greek}", &["a"], &["α"]);
    check(r"\P{^Greek}", &["α"], &["a"]);
    check(r"[\p{Lu}_]+", &["Ä_"], &["ä"]);
    check(r"[^\p{Greek}]", &["a"], &["α"]);
}

#[test]
fn literals_are_literals() {
    check(r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb"]);
    check(r"a\<b\>", &["a<b>"], &["ab"]);
    check(r"\_\-\ \/\#\&\~\%\@\!\,\;\:\=", &["_- /#&~%@!,;:="], &[]);
    check(r"\07\101\x41\x{41}\x{1F514}\0", &["\x07AAA🔔\0"], &[]);
    check(r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &[]);
    check("a{b}", &["a{b}"], &["ab"]);
    check("{a}", &["{a}"], &[]);
    check("{,3}", &["{,3}"], &[]);
    check("a{,3}", &["a{,3}"], &["aa"]);
    check("a{01}", &["a{01}"], &["a"]);
    check("a{1", &["a{1"], &[]);
    check("a{", &["a{"], &[]);
    check("a}]", &["a}]"], &[]);
    check("a{2}", &["aa"], &["a", "aaa"]);
    check("a{2,}b{0,1}", &["aa", "aaab"], &["a", "aabb"]);
    check("größe #x", &["größe #x"], &[]);
}

#[test]
fn classes_have_no_operations() {
    check("[a&&b]", &["a", "&", "b"], &["x"]);
    check("[+--b]", &["+", ",", "-", "b"], &["a"]);
    check("[a~~b]", &["a", "~", "b"], &[]);
    check("[[a]]", &["[]", "a]"], &["a", "[a]"]);
    check("[]a]", &["]", "a"], &["b"]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[-a]", &["a", "-"], &["b"]);
    check(r"[\d-z]", &["1", "-", "z"], &["y"]);
    check(r"[a\]]", &["a", "]"], &["\\"]);
    check(r"[\x41-\x43\.]", &["B", "."], &["D"]);
    check("[[:alpha:]_]+", &["a_"], &["1", "ä"]);
    check("[[:^alpha:]]", &["1"], &["a"]);
    check("[[:word:]]", &["_"], &["-"]);
    check("[[:]", &["[", ":"], &[]);
    check("[#&&.]", &["#", "&", "."], &["x"]);
}

#[test]
fn groups_and_flags_are_those_of_go() {
    check("(?P<n>a)(?<m>b)(?:c)(d)", &["abcd"], &[]);
    check("(?i)a(?-i)b", &["Ab"], &["AB"]);
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("(?ii)a", &["A"], &[]);
    check("(?U)a+", &["aa"], &[]);
    check("(?i-s:a.)", &["Ab"], &["a\n"]);
    check("()|a", &["", "a"], &[]);
    check("(a*)*", &["aaa", ""], &[]);
    check("a+?b*?c??d{2}?", &["abcdd"], &[]);
    check("(?s)a", &["a"], &[]);
}

#[test]
fn what_go_refuses_is_refused() {
    for pattern in [
        "(",
        ")",
        "a)(b",
        "(a",
        "a)",
        "[",
        "[a",
        "[]",
        "[^]",
        "*",
        "+a",
        "?",
        "(*a)",
        "a|*",
        "a**",
        "a*+",
        "a++",
        "a+*",
        "a??*",
        "a{2}{3}",
        "a{2}*",
        "a{1001}",
        "a{1,1001}",
        "a{2,1}",
        "a{99999999999}",
        "(a{100}){11}",
        "((a{10}){10}){11}",
        r"\",
        r"\1",
        r"\8",
        r"\C",
        r"\Z",
        r"\G",
        r"\K",
        r"\e",
        r"\h",
        r"\ü",
        r"\x4",
        r"\x{}",
        r"\x{110000}",
        r"\x{d800}",
        r"\p",
        r"\p{",
        r"\p{greek}",
        r"\p{Nothing}",
        r"\p{script=Greek}",
        r"[\p{Nothing}]",
        "(?x)a",
        "(?u)a",
        "(?R)a",
        "(?-)a",
        "(?i-)a",
        "(?i--s)a",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)",
        "(?#a)",
        "(?P=n)",
        "(?P<>a)",
        "(?P<a b>a)",
        "(?P<n>a)(?P<n>b)",
        "[b-a]",
        "[a--b]",
        r"[a-\d]",
        r"[\Qa\E]",
        r"[\b]",
        "[[:foo:]]",
        r"[\8]",
        "(?i",
        "(?",
        "(?P<n",
        r"\Qa",
    ] {
        assert!(compile(pattern).is_err(), "{pattern}");
    }
    let error = compile("ab(c").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid syntax at byte 4: missing closing )"
    );
    let error = compile(r"a\C").unwrap_err();
    assert_eq!(
        error.to_string(),
        r"invalid syntax at byte 1: \C is not supported"
    );
}

#[test]
fn a_compiled_pattern_has_a_limit() {
    assert!(compile(r"[\pL\d]{1000}").is_err());
    assert!(compile("(a{1,1000}){1,1000}").is_err());
    assert!(compile("a{1000}").is_ok());
}

/// No text makes the translation panic, or makes something of it that the engine can't read for
/// another reason than its size.
#[test]
fn any_pattern_is_read_or_refused() {
    let parts = [
        "a", "(", ")", "[", "]", "{", "}", "*", "?", "+", "|", "^", "-", "\\", "d", "Q", "E", "p",
        "L", "1", ",", ":", "i", "ü", "&&", "~", "x", "<", ">", "P", "#", " ", ".", "$", "b",
    ];
    // A linear congruential generator is enough.
    let mut state = 7_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut good = 0;
    for _ in 0..20_000 {
        let len = 1 + next(8);
        let pattern: String = (0..len).map(|_| parts[next(parts.len())]).collect();
        match compile(&pattern) {
            Ok(_) => good += 1,
            Err(PatternError(Kind::Syntax { .. })) => {}
            Err(error) => assert!(
                pattern.contains("\\p") || pattern.contains("\\P") || pattern.contains('<'),
                "{pattern}: {error}"
            ),
        }
    }
    assert!(good > 1_000, "{good}");
}
