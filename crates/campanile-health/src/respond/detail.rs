use crate::Value;

/// The details that a response has, besides the names and statuses of the checks, which every client may see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Whether to show what well checks said, their figures, how long they took and when: not for everybody.
    pub messages: bool,
    /// Whether to show what the others failed with: for those who are known.
    pub errors: bool,
    /// More members of the answer of `/health/detailed`, each a name and a value.
    pub notes: Vec<(&'static str, Value)>,
}
