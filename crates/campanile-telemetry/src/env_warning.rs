use std::fmt;

/// An environment variable that was ignored, because its value is invalid.
///
/// The value is not kept, since it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvWarning {
    variable: String,
    reason: String,
}

impl EnvWarning {
    pub(crate) fn new(variable: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            reason: reason.into(),
        }
    }

    /// Returns the variable's name.
    #[must_use]
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// Returns the problem and the expected value.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for EnvWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, reason } = self;
        write!(f, "ignored {variable} in the environment: {reason}")
    }
}
