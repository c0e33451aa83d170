use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use campanile_store::{Memory, Store};

use crate::Alerts;
use crate::channel::Channel;
use crate::delivery::DeliveryQueue;
use crate::error::{BuildError, Problem};
use crate::evaluate::ExprEngine;
use crate::rule::Rule;

/// Settings of [`Alerts`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`rule`](Self::rule) | none | 1,000 |
/// | [`channel`](Self::channel) | none | 100 |
/// | [`expr_engine`](Self::expr_engine) | none | |
/// | [`store`](Self::store) | [`Memory`] | |
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct AlertsBuilder {
    rules: Vec<Rule>,
    channels: Vec<Arc<dyn Channel>>,
    expr_engine: Option<Arc<dyn ExprEngine>>,
    store: Option<Arc<dyn Store>>,
}

/// The maximum number of rules.
const MAX_RULES: usize = 1_000;
/// The maximum number of channels.
const MAX_CHANNELS: usize = 100;

impl Alerts {
    /// Creates a builder.
    pub fn builder() -> AlertsBuilder {
        AlertsBuilder::default()
    }
}

impl AlertsBuilder {
    /// Adds a rule. Its name must be unique. The limit is 1,000 rules.
    ///
    /// Defaults to none.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a channel, which gets every notification. Its name must be unique. The limit is 100 channels.
    ///
    /// Defaults to none.
    pub fn channel(mut self, channel: impl Channel) -> Self {
        self.channels.push(Arc::new(channel));
        self
    }

    /// Sets the engine that evaluates the expressions of rules.
    ///
    /// Defaults to none: then a [`Rule::expr`] is an error of [`build`](Self::build).
    pub fn expr_engine(mut self, engine: impl ExprEngine) -> Self {
        self.expr_engine = Some(Arc::new(engine));
        self
    }

    /// Sets the store of alerts, queued notifications and the journal.
    ///
    /// Defaults to [`Memory`], whose contents end with the process.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Creates the alerts.
    ///
    /// # Errors
    ///
    /// If settings are invalid. The error lists all of them.
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
        let engine = self.expr_engine.as_deref();
        let rules = self.rules.into_iter();
        let rules: Vec<_> = rules
            .filter_map(|rule| rule.check(engine, &mut problems))
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
            if let Err(source) = channel.check() {
                problems.push(Problem::Channel {
                    channel: name.to_owned(),
                    source,
                });
            }
        }
        if !problems.is_empty() {
            return Err(BuildError::new(problems));
        }
        let queues = self.channels.into_iter().map(DeliveryQueue::new).collect();
        let store = self.store.unwrap_or_else(|| Arc::new(Memory::new()));
        Ok(Alerts::new(rules, queues, store))
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

#[cfg(test)]
mod tests;
