//! A strict reader of Prometheus' text format 0.0.4.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::constant_labels::ConstantLabels;
use crate::kind::Kind;
use crate::name::{LabelText, sample_names, sanitised, sanitised_label};
use crate::snapshot::{FamilySnapshot, HistogramSnapshot, SeriesSnapshot, SummarySnapshot, Value};

/// The values that were read from a text.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Sorted by name.
    families: Vec<ExternalFamily>,
    /// Lines that the format does not allow, and lines of a second series with the same labels.
    pub(crate) invalid: u64,
    /// Lines past a limit.
    pub(crate) over: u64,
    /// Lines of families with a name of another family.
    pub(crate) taken: u64,
}

/// A family that was read from a text.
#[derive(Debug, PartialEq)]
pub(crate) struct ExternalFamily {
    pub(crate) family: FamilySnapshot,
    /// The number of lines with its samples.
    pub(crate) lines: u64,
}

impl ExternalFamily {
    /// Returns all names of the family in any format.
    pub(crate) fn names(&self) -> Vec<String> {
        let FamilySnapshot { name, kind, .. } = &self.family;
        match kind.is_counter() && !name.ends_with("_total") {
            // It has no other name in any format.
            true => sample_names(name, Kind::Gauge),
            false => sample_names(name, *kind),
        }
    }
}

impl Reading {
    /// Parses a text with some lines past a limit already, up to a number of series.
    pub(crate) fn new(text: &str, over: u64, series: usize, constant: &ConstantLabels) -> Self {
        let mut reader = Reader {
            families: BTreeMap::new(),
            current: None,
            help: None,
            room: series,
            constant,
        };
        let mut reading = Self {
            over,
            ..Self::default()
        };
        for line in text.split('\n') {
            match reader.line(line) {
                Some(Line::Read) => {}
                Some(Line::Over) => reading.over += 1,
                None => reading.invalid += 1,
            }
        }
        let mut names = HashSet::new();
        for (name, block) in reader.families {
            let (theirs, invalid) = block.finish(name);
            reading.invalid += invalid;
            let all = theirs.names();
            if theirs.family.series.is_empty() {
                continue;
            }
            if all.iter().any(|name| names.contains(name)) {
                reading.taken += theirs.lines;
                continue;
            }
            names.extend(all);
            reading.families.push(theirs);
        }
        reading
    }

    pub(crate) fn families(&self) -> &[ExternalFamily] {
        &self.families
    }

    pub(crate) fn get(&self, name: &str) -> Option<&ExternalFamily> {
        let at = self
            .families
            .binary_search_by(|of| (*of.family.name).cmp(name));
        self.families.get(at.ok()?)
    }

    /// Returns the families after a name.
    pub(crate) fn after(&self, name: Option<&str>) -> &[ExternalFamily] {
        let is_before = |of: &ExternalFamily| name.is_some_and(|name| *of.family.name <= *name);
        &self.families[self.families.partition_point(is_before)..]
    }
}

/// The result of a line that the format allows.
enum Line {
    Read,
    Over,
}

struct Reader<'a> {
    families: BTreeMap<&'a str, Block>,
    /// The family of the next samples.
    current: Option<&'a str>,
    /// The last description.
    help: Option<(&'a str, String)>,
    /// The number of series below the limit.
    room: usize,
    constant: &'a ConstantLabels,
}

/// The lines of a family.
struct Block {
    kind: Kind,
    help: Option<String>,
    series: BTreeMap<String, Parts>,
}

/// The lines of a series.
#[derive(Default)]
struct Parts {
    lines: u64,
    value: Option<Number>,
    /// The values of the bounds of a histogram or the quantiles of a summary.
    marks: Vec<(f64, Number)>,
    sum: Option<Number>,
    count: Option<Number>,
}

/// The value of a sample. Integers are exact.
#[derive(Clone, Copy)]
struct Number {
    whole: Option<u64>,
    float: f64,
}

impl<'a> Reader<'a> {
    /// Parses a line, or returns `None` if the format does not allow it.
    fn line(&mut self, line: &'a str) -> Option<Line> {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            self.help = Some((name, unescaped_help(help)));
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            self.current = None;
            let (name, kind) = of.split_once(' ')?;
            let kind = match kind {
                "counter" => Kind::Counter,
                "gauge" | "untyped" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                "summary" => Kind::Summary,
                _ => return None,
            };
            // A second kind of a name is rejected with its samples.
            if sanitised(name) != name || self.families.contains_key(name) {
                return None;
            }
            let help = self.help.take().filter(|(of, _)| *of == name);
            let block = Block {
                kind,
                help: help.map(|(_, help)| help),
                series: BTreeMap::new(),
            };
            self.families.insert(name, block);
            self.current = Some(name);
        } else if !line.is_empty() && !line.starts_with('#') {
            return self.sample(line);
        }
        Some(Line::Read)
    }

    fn sample(&mut self, line: &'a str) -> Option<Line> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let family = self.current?;
        let block = self.families.get_mut(family)?;
        let suffix = name.strip_prefix(family)?;
        let (mut labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let number = Number::new(rest.strip_prefix(' ')?)?;
        let mark = match (block.kind, suffix) {
            (Kind::Histogram, "_bucket") => Some("le"),
            (Kind::Summary, "") => Some("quantile"),
            (Kind::Histogram | Kind::Summary, "_sum" | "_count")
            | (Kind::Counter | Kind::Gauge, "") => None,
            _ => return None,
        };
        let mark = match mark {
            Some(mark) => {
                let at = labels.iter().position(|(name, _)| *name == mark)?;
                Some(labels.remove(at).1.parse::<f64>().ok()?)
            }
            None => None,
        };
        labels.retain(|(name, value)| !self.constant.has(name, value));
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), &**value))
            .collect();
        let labels = LabelText::new(family, block.kind, &mut labels, usize::MAX).ok()?;
        if !block.series.contains_key(&labels.text) {
            let Some(room) = self.room.checked_sub(1) else {
                return Some(Line::Over);
            };
            self.room = room;
        }
        let parts = block.series.entry(labels.text).or_default();
        let part = match (mark, suffix) {
            (Some(mark), _) => {
                parts.marks.push((mark, number));
                parts.lines += 1;
                return Some(Line::Read);
            }
            (None, "_sum") => &mut parts.sum,
            (None, "_count") => &mut parts.count,
            (None, _) => &mut parts.value,
        };
        // The first of equal series is kept.
        if part.is_some() {
            return None;
        }
        *part = Some(number);
        parts.lines += 1;
        Some(Line::Read)
    }
}

impl Block {
    /// Returns the family, and the number of lines that form no complete series.
    fn finish(self, name: &str) -> (ExternalFamily, u64) {
        let is_fraction = |parts: &Parts| parts.value.is_some_and(|value| value.whole.is_none());
        let kind = match self.kind {
            Kind::Counter if self.series.values().any(is_fraction) => Kind::TimeCounter,
            kind => kind,
        };
        let (mut lines, mut invalid) = (0, 0);
        let mut series = Vec::with_capacity(self.series.len());
        for (labels, parts) in self.series {
            let of = parts.lines;
            match parts.value(kind) {
                Some(value) => {
                    lines += of;
                    series.push(SeriesSnapshot {
                        labels: labels.into(),
                        created: None,
                        value,
                    });
                }
                None => invalid += of,
            }
        }
        let family = FamilySnapshot {
            name: Arc::from(name),
            kind,
            help: self.help,
            unit: None,
            series,
        };
        (ExternalFamily { family, lines }, invalid)
    }
}

impl Parts {
    fn value(mut self, kind: Kind) -> Option<Value> {
        self.marks
            .sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let is_twice = |pair: &[(f64, Number)]| pair[0].0 == pair[1].0 && pair[0].0.is_finite();
        if self.marks.windows(2).any(is_twice) {
            return None;
        }
        Some(match kind {
            Kind::Counter => Value::Counter(self.value?.whole?),
            Kind::TimeCounter => Value::TimeCounter(self.value?.time()?),
            Kind::Gauge => Value::Gauge(self.value?.float),
            Kind::Histogram => Value::Histogram(self.histogram()?),
            Kind::Summary => Value::Summary(self.summary()?),
        })
    }

    fn histogram(self) -> Option<HistogramSnapshot> {
        let count = self.count?.whole?;
        let mut buckets = Vec::with_capacity(self.marks.len());
        let mut before = 0;
        for (bound, number) in self.marks {
            let upto = number.whole?;
            if bound.is_nan() || upto < before || upto > count {
                return None;
            }
            before = upto;
            if bound.is_finite() {
                buckets.push((bound, upto));
            } else if bound < 0.0 || upto != count {
                return None;
            }
        }
        Some(HistogramSnapshot {
            buckets,
            count,
            sum: self.sum?.float,
            exemplars: Vec::new(),
        })
    }

    fn summary(self) -> Option<SummarySnapshot> {
        let marks = self.marks.into_iter();
        let quantile = |(quantile, value): (f64, Number)| {
            let is_valid = (0.0..=1.0).contains(&quantile);
            // Removes the sign of a negative zero.
            is_valid.then_some((quantile.abs(), value.float))
        };
        Some(SummarySnapshot {
            quantiles: marks.map(quantile).collect::<Option<_>>()?,
            count: self.count?.whole?,
            sum: self.sum?.float,
        })
    }
}

impl Number {
    /// Reads a value, which a time may follow.
    fn new(text: &str) -> Option<Self> {
        let (value, time) = text.split_once(' ').unwrap_or((text, "0"));
        time.parse::<i64>().ok()?;
        let float = value.parse().ok()?;
        let is_whole = |float: f64| float.trunc() == float && (0.0..=EXACT).contains(&float);
        let whole = value.parse().ok();
        let whole = whole.or_else(|| is_whole(float).then_some(float as u64));
        Some(Self { whole, float })
    }

    fn time(self) -> Option<Duration> {
        match self.whole {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => Duration::try_from_secs_f64(self.float).ok(),
        }
    }
}

/// All integers up to this are exact floats.
const EXACT: f64 = (1_u64 << 53) as f64;

/// Parses labels after the opening brace. Returns them and the text after the closing brace.
fn labels(mut text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut all = Vec::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((all, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        if sanitised_label(name) != name {
            return None;
        }
        let (value, rest) = value(rest)?;
        all.push((name, value));
        text = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None => rest.starts_with('}').then_some(rest)?,
        };
    }
}

/// Parses the value of a label after the opening quote. Returns it and the text after the closing
/// quote.
fn value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                char @ ('\\' | '"') => char,
                _ => return None,
            }),
            (_, char) => value.push(char),
        }
    }
}

fn unescaped_help(text: &str) -> String {
    let mut chars = text.chars();
    let unescaped = std::iter::from_fn(|| match chars.next()? {
        '\\' => match chars.next() {
            Some('n') => Some('\n'),
            char => char.or(Some('\\')),
        },
        char => Some(char),
    });
    unescaped.collect()
}
