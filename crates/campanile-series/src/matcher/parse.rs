use super::{MatchOp, Matcher, MatcherError};
use crate::labels::is_label_name;

/// Parses a value, and returns it with the rest, or the expected syntax.
type ReadValue = fn(&str) -> Result<(String, &str), &'static str>;

/// The operators, each before its own prefixes.
const OPS: [(&str, MatchOp); 4] = [
    ("=~", MatchOp::Regex),
    ("!~", MatchOp::NotRegex),
    ("!=", MatchOp::NotEqual),
    ("=", MatchOp::Equal),
];

impl Matcher {
    /// Parses PromQL matchers, separated by commas, with or without braces:
    /// `{severity="critical", team=~'a|b'}`.
    ///
    /// A value is a PromQL string: `"…"` or `'…'` with Go's escapes, or `` `…` `` without escapes.
    /// An empty list is valid.
    ///
    /// # Errors
    ///
    /// Returns an error if the syntax is not valid in PromQL, and as [`new`](Self::new).
    pub fn parse_promql(text: &str) -> Result<Vec<Self>, MatcherError> {
        list(text, promql_value)
    }

    /// Parses Alertmanager matchers, separated by commas, with or without braces:
    /// `{severity="critical", team=~"a|b"}`, `severity=critical`.
    ///
    /// A value is a string in double quotes with Go's escapes; a backslash before any other
    /// character is literal. A value without quotes ends at white space, a comma or a brace, and
    /// contains none of ``{ } ! = ~ \ " ' ` ``. An empty list is valid.
    ///
    /// # Errors
    ///
    /// Returns an error if the syntax is not valid, and as [`new`](Self::new).
    pub fn parse_all(text: &str) -> Result<Vec<Self>, MatcherError> {
        list(text, alertmanager_value)
    }
}

/// Parses matchers separated by commas, with or without braces.
fn list(text: &str, read_value: ReadValue) -> Result<Vec<Matcher>, MatcherError> {
    let error = |at: &str, expected| MatcherError::Syntax {
        offset: text.len() - at.len(),
        expected,
    };
    let mut rest = text.trim_start();
    let braced = rest.starts_with('{');
    if braced {
        rest = rest[1..].trim_start();
    }
    let mut matchers = Vec::new();
    while !rest.is_empty() && !rest.starts_with('}') {
        let name_len = rest
            .find(|char: char| !char.is_ascii_alphanumeric() && char != '_')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_len);
        if !is_label_name(name) {
            return Err(error(rest, "a label name"));
        }
        let after = after.trim_start();
        let found = OPS
            .into_iter()
            .find_map(|(sign, op)| Some((op, after.strip_prefix(sign)?)));
        let (op, after) = found.ok_or_else(|| error(after, "one of = != =~ !~"))?;
        let after = after.trim_start();
        let (value, after) = read_value(after).map_err(|expected| error(after, expected))?;
        matchers.push(Matcher::new(name, op, value)?);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.is_empty() || rest.starts_with('}') => {}
            None => return Err(error(rest, "a comma or the end")),
        }
    }
    match (braced, rest.strip_prefix('}')) {
        (true, Some(after)) if after.trim_start().is_empty() => Ok(matchers),
        (false, None) => Ok(matchers),
        (true, None) => Err(error(rest, "a closing brace")),
        (_, Some(_)) => Err(error(rest, "the end")),
    }
}

const UNCLOSED: &str = "a value, with its quotes closed";

/// Parses a PromQL string: `"…"` or `'…'` with Go's escapes, or `` `…` `` without escapes.
fn promql_value(text: &str) -> Result<(String, &str), &'static str> {
    let (quote, content, rest) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (content, rest) = quoted(text, quote).ok_or(UNCLOSED)?;
            (quote, content, rest)
        }
        Some('`') => {
            let (content, rest) = text[1..].split_once('`').ok_or(UNCLOSED)?;
            return Ok((content.to_owned(), rest));
        }
        _ => return Err("a value in quotes"),
    };
    let expected = "a value in quotes, without line breaks and with Go's escapes";
    let value = go_unquoted(content, quote).ok_or(expected)?;
    Ok((value, rest))
}

/// Parses an Alertmanager value: in double quotes, or up to white space, a comma, a brace or the
/// end.
fn alertmanager_value(text: &str) -> Result<(String, &str), &'static str> {
    if text.starts_with('"') {
        let (content, rest) = quoted(text, '"').ok_or(UNCLOSED)?;
        // As Alertmanager does, a string that Go rejects falls back to the older syntax.
        let value = go_unquoted(content, '"').unwrap_or_else(|| lenient(content));
        return Ok((value, rest));
    }
    let is_end = |char: char| char.is_whitespace() || char == ',' || char == '}';
    let end = text.find(is_end).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    if value.contains(['{', '!', '=', '~', '\\', '"', '\'', '`']) {
        return Err("a value in double quotes, or one without any of { } ! = ~ \\ \" ' `");
    }
    Ok((value.to_owned(), rest))
}

/// Returns the content up to the next quote that is not escaped, and the rest.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let text = text.strip_prefix(quote)?;
    let mut is_escaped = false;
    let end = text.find(|char| {
        let is_end = char == quote && !is_escaped;
        is_escaped = char == '\\' && !is_escaped;
        is_end
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// Replaces Go's escapes. Only the string's own quote may be escaped, and a line break must be.
fn go_unquoted(content: &str, quote: char) -> Option<String> {
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find(['\\', '\n']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at..].strip_prefix('\\')?;
        let char = escape.chars().next()?;
        rest = &escape[char.len_utf8()..];
        // Parses digits after the letter; an octal number has no letter.
        let mut code = |digits: usize, radix| {
            let (from, digits) = match radix {
                8 => (escape, escape.get(..digits)?),
                _ => (rest, rest.get(..digits)?),
            };
            rest = &from[digits.len()..];
            let is_number = digits.chars().all(|digit| digit.is_digit(radix));
            u32::from_str_radix(digits, radix)
                .ok()
                .filter(|_| is_number)
        };
        match char {
            'a' => bytes.push(0x07),
            'b' => bytes.push(0x08),
            'f' => bytes.push(0x0c),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(0x0b),
            '\\' => bytes.push(b'\\'),
            _ if char == quote => bytes.push(u8::try_from(char).ok()?),
            'x' => bytes.push(u8::try_from(code(2, 16)?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(code(3, 8)?).ok()?),
            'u' | 'U' => {
                let char = char::from_u32(code(if char == 'u' { 4 } else { 8 }, 16)?)?;
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Replaces `\\`, `\"` and `\n`; any other backslash is literal.
fn lenient(content: &str) -> String {
    let mut value = String::with_capacity(content.len());
    let mut chars = content.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(char @ ('\\' | '"')) => value.push(char),
                Some(char) => value.extend(['\\', char]),
                None => value.push('\\'),
            },
            char => value.push(char),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promql_has_three_kinds_of_strings() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let matchers = Matcher::parse_promql(&format!("{{a={text}}}"));
            let [matcher] = &matchers.unwrap()[..] else {
                panic!("{text}")
            };
            assert_eq!(matcher.value(), expected, "{text}");
            // Both parsers accept the output.
            for read in [Matcher::parse_promql, Matcher::parse_all] {
                assert_eq!(
                    read(&matcher.to_string()).unwrap(),
                    std::slice::from_ref(matcher)
                );
            }
        }
        for text in [r#""orders""#, "'orders'", "`orders`", r#""\x6frders""#] {
            check(text, "orders");
        }
        check(r#""""#, "");
        check("''", "");
        check("``", "");
        check(r#"'a"b`c'"#, "a\"b`c");
        check(r#""a'b`c""#, "a'b`c");
        check(r#"`a'b"c\n`"#, "a'b\"c\\n");
        check("`two\nlines`", "two\nlines");
        check(r#""},{""#, "},{");
        check("'},{'", "},{");
        check("`},{`", "},{");
        check(r#"'\'\\'"#, "'\\");
        check(r#""\"\\""#, "\"\\");
        check(r#""\a\b\f\n\r\t\v""#, "\x07\x08\x0c\n\r\t\x0b");
        check(r#""\101\x41\u0041\U00000041""#, "AAAA");
        check(r#""gr\u00f6\xc3\x9fe""#, "größe");
        check(r#""\U0001f514""#, "🔔");
        check("'größe'", "größe");
    }

    #[test]
    fn what_promql_refuses_is_refused() {
        for text in [
            "orders",
            "",
            "1",
            "\"orders",
            "'orders\"",
            "`orders",
            r#""\""#,
            "\"two\nlines\"",
            "'two\nlines'",
            r#""\'""#,
            r#"'\"'"#,
            r#""\.""#,
            r#""\d""#,
            r#""\8""#,
            r#""\18""#,
            r#""\400""#,
            r#""\x4""#,
            r#""\x+4""#,
            r#""\u004""#,
            r#""\ud800""#,
            r#""\U00110000""#,
            r#""\xff""#,
            r#""a" "b""#,
        ] {
            let error = Matcher::parse_promql(&format!("{{a={text}}}")).unwrap_err();
            assert!(
                matches!(error, MatcherError::Syntax { .. }),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn alertmanager_has_bare_values() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, usize>) {
            let value = match Matcher::parse_all(text) {
                Ok(matchers) => Ok(matchers[0].value().to_owned()),
                Err(MatcherError::Syntax { offset, .. }) => Err(offset),
                Err(error) => panic!("{text}: {error}"),
            };
            assert_eq!(value, expected.map(str::to_owned), "{text}");
        }
        check("a=orders", Ok("orders"));
        check("a=~ord.*|[m-z]+", Ok("ord.*|[m-z]+"));
        check("a=größe, b=1", Ok("größe"));
        check("{a=1}", Ok("1"));
        check("a=", Ok(""));
        check(r#"a="\t\x6f""#, Ok("\to"));
        check(r#"a="x\.y\n""#, Ok("x\\.y\n"));
        check("a=\"two\nlines\"", Ok("two\nlines"));
        for text in [
            "a='x'", "a=`x`", "a=x=y", "a=x~", "a=x!", "a=x\\y", "a=x\"y\"", "a=x{y",
        ] {
            check(text, Err(2));
        }
        check("a=x y", Err(4));
    }
}
