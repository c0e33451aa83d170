use std::collections::{BTreeMap, BTreeSet};

/// A sample of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The family's type.
    pub kind: String,
    /// The sample's name.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Parses a scrape response in Prometheus' text format 0.0.4, or in OpenMetrics 1.0.0, which ends
/// with `# EOF`. The parser is strict: unusual forms are errors.
///
/// # Errors
///
/// The line, and what is wrong with it.
pub fn parse(page: &str) -> Result<Vec<Sample>, String> {
    let is_open = page.ends_with("# EOF\n");
    let page = page.strip_suffix("# EOF\n").unwrap_or(page);
    let mut parser = Parser {
        is_open,
        ..Parser::default()
    };
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in page.split_terminator('\n') {
        let read = match line.strip_prefix("# ") {
            Some(comment) => parser.comment(comment),
            None => parser.sample(line),
        };
        read.map_err(|wrong| format!("{wrong}: {line}"))?;
    }
    Ok(parser.samples)
}

#[derive(Default)]
struct Parser {
    is_open: bool,
    family: String,
    kind: String,
    families: BTreeSet<String>,
    series: BTreeSet<(String, BTreeMap<String, String>)>,
    samples: Vec<Sample>,
}

impl Parser {
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let (word, rest) = comment.split_once(' ').ok_or("a comment")?;
        let (name, text) = rest.split_once(' ').ok_or("no text")?;
        match word {
            "HELP" => unescape(text, self.is_open).map(drop),
            "TYPE" => {
                if !self.families.insert(name.to_owned()) {
                    return Err("a second TYPE".to_owned());
                }
                (self.family, self.kind) = (name.to_owned(), text.to_owned());
                Ok(())
            }
            "UNIT" if self.is_open && name.ends_with(&format!("_{text}")) => Ok(()),
            _ => Err("an unknown comment".to_owned()),
        }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        self.check_name(name)?;
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, after) = rest.split_once("=\"").ok_or("no label")?;
                let is_valid = |char: char| char.is_ascii_alphanumeric() || char == '_';
                if label.is_empty() || !label.chars().all(is_valid) {
                    return Err(format!("the label {label:?}"));
                }
                let end = end_of_quoted(after).ok_or("no closing quote")?;
                let value = unescape(&after[..end], true)?;
                if labels.insert(label.to_owned(), value).is_some() {
                    return Err(format!("two labels {label}"));
                }
                rest = &after[end + 1..];
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                rest = rest.strip_prefix(',').ok_or("no comma")?;
            }
        }
        let value = rest.strip_prefix(' ').ok_or("no space")?;
        let value = match value.split_once(" # ") {
            Some((value, exemplar)) if self.is_open => {
                let (labels, rest) = exemplar.split_once("} ").ok_or("no exemplar")?;
                if !labels.starts_with("{trace_id=\"") || rest.split(' ').count() != 2 {
                    return Err("the exemplar".to_owned());
                }
                value
            }
            Some(_) => return Err("an exemplar".to_owned()),
            None => value,
        };
        let value = number(value)?;
        if !self.series.insert((name.to_owned(), labels.clone())) {
            return Err("a second sample".to_owned());
        }
        self.samples.push(Sample {
            kind: self.kind.clone(),
            name: name.to_owned(),
            labels,
            value,
        });
        Ok(())
    }

    /// Checks that the family may have a sample of this name.
    fn check_name(&self, name: &str) -> Result<(), String> {
        let suffix = name.strip_prefix(&self.family).ok_or("another family")?;
        let suffixes: &[&str] = match (self.kind.as_str(), self.is_open) {
            ("counter", true) => &["_total", "_created"],
            ("histogram" | "summary", true) => &["", "_bucket", "_sum", "_count", "_created"],
            ("histogram" | "summary", false) => &["", "_bucket", "_sum", "_count"],
            ("counter", false) | ("gauge", _) => &[""],
            (kind, _) => return Err(format!("the type {kind}")),
        };
        if !suffixes.contains(&suffix) {
            return Err(format!("the suffix {suffix:?}"));
        }
        Ok(())
    }
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|char| {
        let ends = char == '"' && !is_escaped;
        is_escaped = char == '\\' && !is_escaped;
        ends
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut chars = text.chars();
    let mut unescaped = String::new();
    while let Some(char) = chars.next() {
        unescaped.push(match char {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("the escape {other:?}")),
            },
            '"' if quotes => return Err("a quote".to_owned()),
            char => char,
        });
    }
    Ok(unescaped)
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        text => {
            let plain = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
            let value = text.parse().ok().filter(|_| plain);
            value.ok_or_else(|| format!("the number {text:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_strict_is_refused() {
        for page in [
            "a 1",
            "a 1\n",
            "# TYPE a gauge\na{b=\"1\",} 1\n",
            "# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n",
            "# TYPE a gauge\na{b=\"\\x\"} 1\n",
            "# TYPE a gauge\na 1\na 2\n",
            "# TYPE a gauge\n# TYPE a gauge\n",
            "# TYPE a gauge\nb 1\n",
            "# TYPE a gauge\na inf\n",
            "# TYPE a gauge\na 1 # {trace_id=\"1\"} 1 1\n",
            "# TYPE a counter\na 1\n# EOF\n",
            "# TYPE a histogram\na_created 1\n",
        ] {
            assert!(parse(page).is_err(), "{page}");
        }
        let page = "# HELP a b\n# TYPE a gauge\na{b=\"1\"} -2.5e-7\n";
        assert_eq!(parse(page).unwrap()[0].value, -2.5e-7);
    }
}
