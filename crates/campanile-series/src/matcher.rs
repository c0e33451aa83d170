use std::fmt;

use regex::Regex;

use crate::LabelSet;
use crate::labels::is_label_name;
use crate::pattern::{self, PatternError};

mod parse;

/// A condition on one label, as in PromQL selectors and in Alertmanager's routes and silences.
///
/// A missing label has the value `""`. A pattern is a regular expression in the syntax of Go's RE2,
/// as in Prometheus and Alertmanager, and must match the whole value. `\d`, `\w`, `\s` and `\b` are
/// ASCII, and `.` also matches a line break.
#[derive(Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    /// The compiled pattern, for the operators with a pattern.
    pattern: Option<Regex>,
}

/// The operator of a [`Matcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`: the value is equal.
    Equal,
    /// `!=`: the value is not equal.
    NotEqual,
    /// `=~`: the pattern matches the whole value.
    Regex,
    /// `!~`: the pattern does not match the whole value.
    NotRegex,
}

/// The limit of a pattern, in bytes.
const MAX_PATTERN: usize = 1_024;

impl Matcher {
    /// Creates a matcher.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not valid in Prometheus. Returns an error if the pattern of
    /// `=~` or `!~` is not valid, is longer than 1,024 bytes, or compiles to more than 1 MiB.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        let (name, value) = (name.into(), value.into());
        if !is_label_name(&name) {
            return Err(MatcherError::InvalidName { name });
        }
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex if value.len() > MAX_PATTERN => {
                return Err(MatcherError::PatternTooLong {
                    name,
                    bytes: value.len(),
                });
            }
            MatchOp::Regex | MatchOp::NotRegex => match pattern::compile(&value) {
                Ok(pattern) => Some(pattern),
                Err(source) => {
                    return Err(MatcherError::Pattern {
                        pattern: value,
                        source,
                    });
                }
            },
        };
        Ok(Self {
            name,
            op,
            value,
            pattern,
        })
    }

    /// Returns whether the labels match.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or_default())
    }

    /// Returns whether a value of the matcher's label matches.
    pub fn matches_value(&self, value: &str) -> bool {
        let is_same = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => self.value == value,
        };
        is_same == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// Returns the label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the operator.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns the value or the pattern.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// Writes the matcher in the syntax of both [`Matcher::parse_promql`] and [`Matcher::parse_all`].
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self
            .value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        write!(f, "{}{}\"{value}\"", self.name, self.op)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A matcher is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatcherError {
    /// The syntax is not valid.
    #[error("invalid matchers at byte {offset}: expected {expected}")]
    Syntax {
        /// The position, in bytes from the start of the string.
        offset: usize,
        /// The expected syntax.
        expected: &'static str,
    },
    /// The label name is not valid in Prometheus.
    #[error("invalid label name {name:?}: expected [a-zA-Z_][a-zA-Z0-9_]*")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The pattern is too long.
    #[error("too long pattern for label {name:?}, {bytes} bytes: expected at most {MAX_PATTERN}")]
    PatternTooLong {
        /// The label's name.
        name: String,
        /// The length of the pattern.
        bytes: usize,
    },
    /// The pattern is not a valid regular expression, or takes too much memory.
    #[error("invalid pattern {pattern:?}: expected a regular expression in RE2 syntax")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The cause.
        source: PatternError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<String> {
        Matcher::parse_all(text)
            .unwrap()
            .iter()
            .map(Matcher::to_string)
            .collect()
    }

    #[test]
    fn lists_are_read() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(parse(text), expected, "{text}");
            // And what is written is read back as the same.
            let written = format!("{{{}}}", expected.join(","));
            assert_eq!(parse(&written), expected);
        }
        check("", &[]);
        check("{}", &[]);
        check("severity=critical", &[r#"severity="critical""#]);
        check(
            r#"{a="1", b!="2",c=~"x|y",d!~"z",}"#,
            &[r#"a="1""#, r#"b!="2""#, r#"c=~"x|y""#, r#"d!~"z""#],
        );
        check(" { a = 1 , b =~ .* } ", &[r#"a="1""#, r#"b=~".*""#]);
        check(r#"a="""#, &[r#"a="""#]);
        check("a=", &[r#"a="""#]);
        check(r#"a="\\ \" \n""#, &[r#"a="\\ \" \n""#]);
        check(r#"a=~"x\.y""#, &[r#"a=~"x\\.y""#]);
        check(r#"a="},{\"""#, &[r#"a="},{\"""#]);
        check("a=größe", &[r#"a="größe""#]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_place() {
        #[track_caller]
        fn check(text: &str, offset: usize, expected: &str) {
            match Matcher::parse_all(text) {
                Err(MatcherError::Syntax {
                    offset: at,
                    expected: what,
                }) => assert_eq!((at, what), (offset, expected), "{text}"),
                other => panic!("{text} gave {other:?}"),
            }
        }
        check("=x", 0, "a label name");
        check("1a=x", 0, "a label name");
        check("a", 1, "one of = != =~ !~");
        check("a ~ x", 2, "one of = != =~ !~");
        check("{a=x", 4, "a closing brace");
        check("a=x}", 3, "the end");
        check("{a=x} b", 4, "the end");
        check(r#"a="x"#, 2, "a value, with its quotes closed");
        check(r#"a="x\"#, 2, "a value, with its quotes closed");
        check(r#"a="x" b="y""#, 6, "a comma or the end");
        check("a=1,,b=2", 4, "a label name");
        check("größe=x", 2, "one of = != =~ !~");
    }

    #[test]
    fn patterns_have_limits_and_their_errors_a_cause() {
        use std::error::Error;
        let matcher = |pattern: &str| Matcher::new("a", MatchOp::Regex, pattern);
        for pattern in ["(", "a)(b", "[", "*", "(a{1,1000}){1,1000}"] {
            let error = matcher(pattern).unwrap_err();
            assert!(
                matches!(error, MatcherError::Pattern { .. }) && error.source().is_some(),
                "{pattern}: {error}"
            );
        }
        assert!(matcher(&"x".repeat(1_024)).is_ok());
        let error = matcher(&"x".repeat(1_025)).unwrap_err();
        assert_eq!(
            error,
            MatcherError::PatternTooLong {
                name: "a".into(),
                bytes: 1_025
            }
        );
        assert!(Matcher::new("a b", MatchOp::Equal, "x").is_err());
    }

    #[test]
    fn matching() {
        let labels = LabelSet::new([("a", "foo"), ("b", "two\nlines")]).unwrap();
        #[track_caller]
        fn check(labels: &LabelSet, text: &str, expected: bool) {
            let matchers = Matcher::parse_all(text).unwrap();
            assert_eq!(
                matchers.iter().all(|matcher| matcher.matches(labels)),
                expected,
                "{text}"
            );
        }
        check(&labels, "a=foo", true);
        check(&labels, "a=fo", false);
        check(&labels, "a!=foo", false);
        check(&labels, "a!=bar", true);
        check(&labels, "a=~fo", false);
        check(&labels, "a=~fo.*", true);
        check(&labels, "a=~bar|foo", true);
        check(&labels, "a=~bar|fo", false);
        check(&labels, "a!~fo", true);
        check(&labels, "a!~f.*", false);
        check(&labels, "b=~two.lines", true);
        check(&labels, "missing=", true);
        check(&labels, "missing!=", false);
        check(&labels, "missing=~.*", true);
        check(&labels, "missing=~.+", false);
        check(&labels, "missing!=x", true);
        check(&labels, "a=foo,missing=", true);
        check(&labels, "a=foo,b=", false);
    }
}
