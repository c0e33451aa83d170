/// A pattern for exported metric names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameMatch {
    /// Matches this name.
    Exact(String),
    /// Matches all names that start with this string.
    Prefix(String),
    /// Matches all names that end with this string.
    Suffix(String),
}

impl NameMatch {
    /// Returns the precedence of a match: exact, then the longest prefix, then the longest suffix.
    pub(crate) fn precedence(&self, name: &str) -> Option<(u8, usize)> {
        match self {
            Self::Exact(exact) => (name == exact).then_some((2, 0)),
            Self::Prefix(prefix) => name.starts_with(prefix).then_some((1, prefix.len())),
            Self::Suffix(suffix) => name.ends_with(suffix).then_some((0, suffix.len())),
        }
    }
}
