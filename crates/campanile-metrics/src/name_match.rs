/// Names of metrics, as they are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Names {
    /// This one.
    Exactly(String),
    /// All that begin so.
    Beginning(String),
    /// All that end so.
    Ending(String),
}

impl Names {
    /// Returns how well a name fits, if it does: exactly, with a longer beginning, with a longer end.
    pub(crate) fn fit(&self, name: &str) -> Option<(u8, usize)> {
        match self {
            Self::Exactly(exactly) => (name == exactly).then_some((2, 0)),
            Self::Beginning(part) => name.starts_with(part).then_some((1, part.len())),
            Self::Ending(part) => name.ends_with(part).then_some((0, part.len())),
        }
    }
}
