use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_alerts::{Alerts, AlertsBuilder, Notify, Rule};
use campanile_metrics::Business;
use campanile_store::{Memory, Store};

use crate::catch_panic::CatchPanic;
use crate::guard::Guard;
use crate::levels::ServiceLevels;
use crate::monitor::Parts;
use crate::{Monitor, Sources, Threshold, Token};

/// Settings of a [`Monitor`].
///
/// | setting | default |
/// |---|---|
/// | [`rule`](Self::rule) | none |
/// | [`channel`](Self::channel) | none: alerts are shown, and no notification is sent |
/// | [`store`](Self::store) | [`Memory`] |
/// | [`token`](Self::token) | none |
/// | [`trust_loopback`](Self::trust_loopback) | yes, while there is no token |
/// | [`tick`](Self::tick) | 5 s |
/// | [`business`](Self::business) | none |
#[must_use = "a builder does nothing until `build` is called"]
pub struct MonitorBuilder {
    sources: Sources,
    alerts: AlertsBuilder,
    store: Option<Arc<dyn Store>>,
    tokens: Vec<Token>,
    trusts_loopback: bool,
    tick: Duration,
    business: Business,
    env_warnings: Vec<String>,
}

/// The limit of tokens.
const MAX_TOKENS: usize = 1_000;

impl MonitorBuilder {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            alerts: Alerts::builder(),
            store: None,
            tokens: Vec::new(),
            trusts_loopback: true,
            tick: Duration::from_secs(5),
            business: Business::default(),
            env_warnings: Vec::new(),
        }
    }

    /// Adds a rule; [`Threshold`] says which expressions it may have.
    ///
    /// Defaults to none.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.alerts = self.alerts.rule(rule);
        self
    }

    /// Adds a channel, to which all notices are sent.
    ///
    /// Defaults to none.
    pub fn channel(mut self, channel: impl Notify) -> Self {
        self.alerts = self.alerts.channel(channel);
        self
    }

    /// Sets where alerts, notices and the counts of service levels are kept.
    ///
    /// Defaults to [`Memory`], which ends with the process.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Adds a token, 1,000 at most, whose name no other has.
    ///
    /// Defaults to none: only clients on the same machine can read, and no client can do more. With a token, clients on the same
    /// machine need one too.
    pub fn token(mut self, token: Token) -> Self {
        self.tokens.push(token);
        self
    }

    /// Sets whether clients on the same machine may read without a credential while no [`token`](Self::token) is configured.
    ///
    /// Turn it off if a proxy on the same machine forwards requests without the headers that
    /// [the crate's docs](crate#who-may-see-what) list, as nginx does by default.
    ///
    /// Defaults to true.
    pub fn trust_loopback(mut self, trust: bool) -> Self {
        self.trusts_loopback = trust;
        self
    }

    /// Sets the time from one evaluation of the rules to the next, from 100 ms to 1 h.
    ///
    /// Defaults to 5 s.
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Sets the business figures that `/metrics/business` shows; their collectors have a [`run`](Business::run) of their own.
    ///
    /// Defaults to none.
    pub fn business(mut self, business: Business) -> Self {
        self.business = business;
        self
    }

    /// Adds variables of the environment that were ignored, each with the reason and without its value.
    ///
    /// `/health/detailed` has their number as `env_warnings`, and their texts for clients with a credential. Defaults to none.
    pub fn env_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.env_warnings.extend(warnings);
        self
    }

    /// Returns the monitor.
    ///
    /// # Errors
    ///
    /// If a setting is not valid: the error lists all of them.
    pub fn build(self) -> Result<Monitor, BuildError> {
        let mut problems = Vec::new();
        let store: Arc<dyn Store> = match self.store {
            Some(store) => Arc::new(CatchPanic(store)),
            None => Arc::new(Memory::new()),
        };
        let threshold = Threshold::new(self.sources.metrics().clone());
        let alerts = self.alerts.evaluate(Arc::new(threshold));
        let alerts = alerts.store(Arc::clone(&store)).build();
        let alerts = alerts.map_err(|error| problems.push(error.into()));
        if self.tokens.len() > MAX_TOKENS {
            problems.push(Problem::TooManyTokens {
                tokens: self.tokens.len(),
            });
        }
        let mut names = HashSet::new();
        for token in &self.tokens {
            if !names.insert(token.name()) {
                problems.push(Problem::DuplicateToken {
                    token: token.name().to_owned(),
                });
            }
        }
        let same = Token::same_secret(&self.tokens);
        // A token that was given twice has one problem, not two.
        let same = same.filter(|(token, other)| token.name() != other.name());
        if let Some((token, other)) = same {
            problems.push(Problem::SameSecret {
                token: token.name().to_owned(),
                other: other.name().to_owned(),
            });
        }
        if self.tick < Duration::from_millis(100) || self.tick > Duration::from_secs(60 * 60) {
            problems.push(Problem::Tick { tick: self.tick });
        }
        let levels = ServiceLevels::new(&self.sources, &mut problems);
        match alerts {
            Ok(alerts) if problems.is_empty() => Ok(Monitor::new(Parts {
                sources: self.sources,
                alerts,
                store,
                guard: Guard::new(self.tokens, self.trusts_loopback),
                tick: self.tick,
                business: self.business,
                levels,
                env_warnings: self.env_warnings,
            })),
            _ => Err(BuildError { problems }),
        }
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorBuilder")
            .field("alerts", &self.alerts)
            .field("tokens", &self.tokens)
            .field("trusts_loopback", &self.trusts_loopback)
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Monitor`] are not valid: all that is wrong, at once.
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

/// One mistake in the settings of a [`Monitor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The rules or the channels are not valid.
    #[error(transparent)]
    Alerts(#[from] campanile_alerts::BuildError),
    /// Two tokens have one name.
    #[error("there are two tokens named {token:?}: give each a name of its own")]
    DuplicateToken {
        /// The name.
        token: String,
    },
    /// Two tokens have the same secret, so that its role would depend on their order.
    #[error(
        "the tokens {token:?} and {other:?} have the same secret: expected one secret for each token"
    )]
    SameSecret {
        /// The name of the first token.
        token: String,
        /// The name of the second token.
        other: String,
    },
    /// There are too many tokens.
    #[error("there are {tokens} tokens: give at most 1000")]
    TooManyTokens {
        /// How many there are.
        tokens: usize,
    },
    /// The series of an objective's gauge can't be read.
    #[error("the series {series:?} of the objective {objective:?} is not valid: {reason}")]
    Series {
        /// The objective.
        objective: String,
        /// The series as given.
        series: String,
        /// What is wrong, and what to give.
        reason: String,
    },
    /// The check of an objective's uptime is none.
    #[error("unknown check {check:?} of the objective {objective:?}: expected {}", expected(.known))]
    Check {
        /// The objective.
        objective: String,
        /// The check as given.
        check: String,
        /// The names of the checks that there are.
        known: Vec<String>,
    },
    /// The tick is too short or too long.
    #[error("the tick {tick:?} is not valid: give 100 ms to 1 h")]
    Tick {
        /// The tick.
        tick: Duration,
    },
}

fn expected(known: &[String]) -> String {
    match known {
        [] => "a check that was added to the health, which has none".to_owned(),
        [one] => format!("{one:?}"),
        _ => format!("one of {known:?}"),
    }
}
