use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_series::{LabelError, format_duration};
use campanile_store::{Memory, Store};

use crate::lane::Lane;
use crate::{Alerts, Evaluate, ExprError, Notify, Rule, SettingsError};

/// Settings of [`Alerts`].
///
/// | setting | default |
/// |---|---|
/// | [`rule`](Self::rule) | none |
/// | [`channel`](Self::channel) | none |
/// | [`evaluate`](Self::evaluate) | none |
/// | [`store`](Self::store) | [`Memory`] |
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct AlertsBuilder {
    rules: Vec<Rule>,
    channels: Vec<Arc<dyn Notify>>,
    evaluate: Option<Arc<dyn Evaluate>>,
    store: Option<Arc<dyn Store>>,
}

/// The limit of rules.
const MAX_RULES: usize = 1_000;
/// The limit of channels.
const MAX_CHANNELS: usize = 100;

impl AlertsBuilder {
    /// Adds a rule, 1,000 at most, whose name no other has.
    ///
    /// Defaults to none.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a channel, 100 at most, to which all notices are sent.
    ///
    /// Defaults to none.
    pub fn channel(mut self, channel: impl Notify) -> Self {
        self.channels.push(Arc::new(channel));
        self
    }

    /// Sets which expressions rules may have.
    ///
    /// Defaults to none: rules are closures.
    pub fn evaluate(mut self, evaluate: Arc<dyn Evaluate>) -> Self {
        self.evaluate = Some(evaluate);
        self
    }

    /// Sets where alerts, notices that wait, and the journal are kept.
    ///
    /// Defaults to [`Memory`], which ends with the process.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Returns the alerts.
    ///
    /// # Errors
    ///
    /// If a setting is not valid: the error lists all of them.
    pub fn build(self) -> Result<Alerts, BuildError> {
        let mut problems = Vec::new();
        if self.rules.len() > MAX_RULES {
            problems.push(Problem::TooManyRules {
                rules: self.rules.len(),
            });
        }
        if self.channels.len() > MAX_CHANNELS {
            problems.push(Problem::TooManyChannels {
                channels: self.channels.len(),
            });
        }
        let evaluate = self.evaluate.as_deref();
        let rules = self.rules.into_iter();
        let rules: Vec<_> = rules
            .filter_map(|rule| rule.check(evaluate, &mut problems))
            .collect();
        let mut names = HashSet::new();
        for rule in &rules {
            if !names.insert(rule.name.as_str()) {
                problems.push(Problem::DuplicateRule {
                    rule: rule.name.clone(),
                });
            }
        }
        let mut names = HashSet::new();
        for channel in &self.channels {
            let name = channel.name();
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(is_valid) {
                problems.push(Problem::ChannelName {
                    channel: name.to_owned(),
                });
            } else if !names.insert(name) {
                problems.push(Problem::DuplicateChannel {
                    channel: name.to_owned(),
                });
            }
            if let Err(error) = channel.check() {
                problems.push(Problem::Channel {
                    channel: name.to_owned(),
                    error,
                });
            }
        }
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        let lanes = self.channels.into_iter().map(Lane::new).collect();
        let store = self.store.unwrap_or_else(|| Arc::new(Memory::new()));
        Ok(Alerts::new(rules, lanes, store))
    }
}

impl fmt::Debug for AlertsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertsBuilder")
            .field("rules", &self.rules)
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

/// The settings of [`Alerts`] are not valid: all that is wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    /// Returns what is wrong; at least one.
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

/// One mistake in the settings of [`Alerts`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A rule's name can't be one.
    #[error("the rule's name {rule:?} is not valid: use 1 to 128 characters of [A-Za-z0-9_:.-]")]
    RuleName {
        /// The name.
        rule: String,
    },
    /// Two rules have one name.
    #[error("there are two rules named {rule:?}: give each a name of its own")]
    DuplicateRule {
        /// The name.
        rule: String,
    },
    /// A rule holds for too long.
    #[error("the rule {rule:?} holds for {}: give at most 10y", format_duration(*hold))]
    Hold {
        /// The rule's name.
        rule: String,
        /// The time.
        hold: Duration,
    },
    /// A rule's label can't be one; `alertname` and `severity` are the rule's name and severity.
    #[error("the rule {rule:?} has a label that is not valid: {error}")]
    Label {
        /// The rule's name.
        rule: String,
        /// What is wrong.
        error: LabelError,
    },
    /// A rule's text is too long.
    #[error(
        "the annotation {annotation:?} of the rule {rule:?} has {bytes} bytes: give at most 4096"
    )]
    Annotation {
        /// The rule's name.
        rule: String,
        /// The annotation's name.
        annotation: String,
        /// Its length.
        bytes: usize,
    },
    /// A rule's expression can't be read.
    #[error("the expression {expr:?} of the rule {rule:?} is not valid: {error}")]
    Expr {
        /// The rule's name.
        rule: String,
        /// The expression.
        expr: String,
        /// What is wrong.
        error: ExprError,
    },
    /// A channel's name can't be one.
    #[error(
        "the channel's name {channel:?} is not valid: use 1 to 64 characters of [A-Za-z0-9._-]"
    )]
    ChannelName {
        /// The name.
        channel: String,
    },
    /// Two channels have one name.
    #[error("there are two channels named {channel:?}: give each a name of its own")]
    DuplicateChannel {
        /// The name.
        channel: String,
    },
    /// A channel can't work as it is set.
    #[error("the channel {channel:?} can't work: {error}")]
    Channel {
        /// The channel's name.
        channel: String,
        /// What is wrong.
        error: SettingsError,
    },
    /// There are too many rules.
    #[error("there are {rules} rules: give at most 1000")]
    TooManyRules {
        /// How many there are.
        rules: usize,
    },
    /// There are too many channels.
    #[error("there are {channels} channels: give at most 100")]
    TooManyChannels {
        /// How many there are.
        channels: usize,
    },
}

#[cfg(test)]
mod tests;
