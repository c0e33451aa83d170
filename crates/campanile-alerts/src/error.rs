use std::fmt;
use std::time::Duration;

use campanile_series::{LabelError, format_duration};

use crate::channel::SettingsError;
use crate::evaluate::ExprError;

/// The settings of [`Alerts`](crate::Alerts) are invalid. The error lists every problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems: at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// One invalid setting of [`Alerts`](crate::Alerts).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A rule's name is invalid.
    #[error("invalid rule name {rule:?}: expected 1 to 128 characters of [A-Za-z0-9_:.-]")]
    RuleName {
        /// The rule's name.
        rule: String,
    },
    /// Two rules have the same name.
    #[error("duplicate rule {rule:?}: expected a unique name for each rule")]
    DuplicateRule {
        /// The rule's name.
        rule: String,
    },
    /// A rule's pending time is too long.
    #[error("invalid pending time {} of rule {rule:?}: expected at most 10y", format_duration(*pending_for))]
    PendingFor {
        /// The rule's name.
        rule: String,
        /// The pending time.
        pending_for: Duration,
    },
    /// A rule's label is invalid. `alertname` and `severity` are reserved for the rule's name and severity.
    #[error("invalid label of rule {rule:?}: {source}")]
    Label {
        /// The rule's name.
        rule: String,
        /// The label's error.
        source: LabelError,
    },
    /// A rule's annotation is too long.
    #[error("annotation {annotation:?} of rule {rule:?} too large: {bytes} bytes (limit 4096)")]
    Annotation {
        /// The rule's name.
        rule: String,
        /// The annotation's name.
        annotation: String,
        /// The annotation's length in bytes.
        bytes: usize,
    },
    /// A rule's expression is invalid.
    #[error("invalid expression {expr:?} of rule {rule:?}: {source}")]
    Expr {
        /// The rule's name.
        rule: String,
        /// The expression.
        expr: String,
        /// The engine's error.
        source: ExprError,
    },
    /// A channel's name is invalid.
    #[error("invalid channel name {channel:?}: expected 1 to 64 characters of [A-Za-z0-9._-]")]
    ChannelName {
        /// The channel's name.
        channel: String,
    },
    /// Two channels have the same name.
    #[error("duplicate channel {channel:?}: expected a unique name for each channel")]
    DuplicateChannel {
        /// The channel's name.
        channel: String,
    },
    /// A channel's settings are invalid.
    #[error("invalid channel {channel:?}: {source}")]
    Channel {
        /// The channel's name.
        channel: String,
        /// The channel's error.
        source: SettingsError,
    },
    /// There are too many rules.
    #[error("too many rules: {rules} (limit 1000)")]
    TooManyRules {
        /// The number of rules.
        rules: usize,
    },
    /// There are too many channels.
    #[error("too many channels: {channels} (limit 100)")]
    TooManyChannels {
        /// The number of channels.
        channels: usize,
    },
}
