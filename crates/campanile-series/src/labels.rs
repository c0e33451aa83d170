use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The labels of a series, sorted by name, with one value per name.
///
/// A label with an empty value is the same as no label, as in Prometheus. A clone shares the
/// strings (an `Arc`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet(Arc<[(Box<str>, Box<str>)]>);

impl LabelSet {
    /// Creates labels from names and values.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is not valid in Prometheus, or is given twice.
    pub fn new<N, V>(labels: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let labels = labels
            .into_iter()
            .map(|(name, value)| (name.into().into_boxed_str(), value.into().into_boxed_str()));
        let mut labels: Vec<(Box<str>, Box<str>)> = labels.collect();
        if let Some((name, _)) = labels.iter().find(|(name, _)| !is_label_name(name)) {
            return Err(LabelError::InvalidName {
                name: name.to_string(),
            });
        }
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelError::Duplicate {
                name: pair[0].0.to_string(),
            });
        }
        labels.retain(|(_, value)| !value.is_empty());
        Ok(Self(labels.into()))
    }

    /// Creates an empty set of labels.
    pub fn empty() -> Self {
        Self(Arc::new([]))
    }

    /// Returns the value of a label; `None` without a label of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self
            .0
            .binary_search_by(|(label, _)| (**label).cmp(name))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// Returns the names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the labels with one label added or replaced. An empty value removes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not valid in Prometheus.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, LabelError> {
        let others = self.iter().filter(|(label, _)| *label != name);
        Self::new(others.chain([(name, value)]))
    }

    /// Returns the labels whose names match a predicate.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| keep(name))
                .cloned()
                .collect(),
        )
    }

    /// Returns a stable hash, which is equal to the one of Prometheus and Alertmanager.
    ///
    /// It is the 64-bit FNV-1a hash of each name and value, each followed by the byte 0xFF
    /// (`LabelSet.Fingerprint` of prometheus/common).
    pub fn fingerprint(&self) -> Fingerprint {
        let bytes = self
            .0
            .iter()
            .flat_map(|(name, value)| [name, value])
            .flat_map(|text| text.bytes().chain([0xff]));
        Fingerprint(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

impl Default for LabelSet {
    fn default() -> Self {
        Self::empty()
    }
}

/// Writes the labels as PromQL does: `{a="1", b="2"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (number, (name, value)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write!(f, "{comma}{name}=\"{value}\"")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a set of labels, written as 16 hexadecimal digits.
///
/// ```
/// use campanile_series::{Fingerprint, LabelSet};
///
/// let fingerprint = LabelSet::empty().fingerprint();
/// assert_eq!(fingerprint.to_string(), "cbf29ce484222325");
/// assert_eq!("cbf29ce484222325".parse(), Ok::<Fingerprint, _>(fingerprint));
/// # Ok::<_, campanile_series::LabelError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Returns the hash as an integer.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl FromStr for Fingerprint {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let is_hex = text.len() == 16
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hex);
        number.map(Self).ok_or_else(|| LabelError::Fingerprint {
            text: text.chars().take(64).collect(),
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// LabelSet or a fingerprint are not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// A label name is not valid in Prometheus.
    #[error("invalid label name {name:?}: expected [a-zA-Z_][a-zA-Z0-9_]*")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A label name is given twice.
    #[error("duplicate label {name:?}: expected one value per label")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A string is not a fingerprint.
    #[error("invalid fingerprint {text:?}: expected 16 hexadecimal digits in lower case")]
    Fingerprint {
        /// The first 64 characters of the string.
        text: String,
    },
}

/// Returns whether a string is a valid label name.
pub(crate) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::new(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn labels_are_sorted_and_empty_values_are_dropped() {
        let labels = labels(&[("b", "2"), ("a", "1"), ("c", "")]);
        assert!(labels.iter().eq([("a", "1"), ("b", "2")]));
        assert_eq!(
            (labels.get("a"), labels.get("c"), labels.get("d")),
            (Some("1"), None, None)
        );
        assert_eq!(
            (
                labels.len(),
                labels.is_empty(),
                LabelSet::empty().is_empty()
            ),
            (2, false, true)
        );
    }

    #[test]
    fn names_are_validated() {
        for name in ["", "1a", "a-b", "a b", "ä", "a\n"] {
            let error = LabelSet::new([(name, "x")]).unwrap_err();
            assert_eq!(error, LabelError::InvalidName { name: name.into() });
        }
        let error = LabelSet::new([("a", "1"), ("b", ""), ("a", "2")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"duplicate label "a": expected one value per label"#
        );
    }

    #[test]
    fn labels_are_replaced_and_filtered() {
        let one = labels(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.with("b", "3"), Ok(labels(&[("a", "1"), ("b", "3")])));
        assert_eq!(
            one.with("c", "3"),
            Ok(labels(&[("a", "1"), ("b", "2"), ("c", "3")]))
        );
        assert_eq!(one.with("b", ""), Ok(labels(&[("a", "1")])));
        assert!(one.with("not valid", "x").is_err());
        assert_eq!(one.filter(|name| name != "a"), labels(&[("b", "2")]));
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(
            labels(&[("a", "\\ \" \n")]).to_string(),
            r#"{a="\\ \" \n"}"#
        );
        assert_eq!(LabelSet::empty().to_string(), "{}");
    }

    /// From prometheus/common's own tests: `TestLabelsToSignature` and `signature_test.go`.
    #[test]
    fn fingerprints_are_those_of_prometheus() {
        assert_eq!(
            LabelSet::empty().fingerprint().as_u64(),
            14_695_981_039_346_656_037
        );
        let labels = labels(&[("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(labels.fingerprint().as_u64(), 5_799_056_148_416_392_346);
    }

    #[test]
    fn fingerprints_are_parsed() {
        let fingerprint = labels(&[("a", "1")]).fingerprint();
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for text in [
            "",
            "1",
            "cbf29ce48422232",
            "CBF29CE484222325",
            "+bf29ce484222325",
            "cbf29ce4842223255",
            "<script>12345678",
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
