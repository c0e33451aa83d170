use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_alerts::{Alerts, AlertsBuilder, Channel, Rule};
use campanile_metrics::collectors::BusinessMetrics;
use campanile_store::{Memory, Store};

use crate::auth::Authorizer;
use crate::catch_panic::CatchPanic;
use crate::error::{BuildError, Problem};
use crate::monitor::{Monitor, Parts};
use crate::slo_driver::SloDriver;
use crate::sources::Sources;
use crate::threshold::Threshold;
use crate::token::Token;

/// Settings of a [`Monitor`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`rule`](Self::rule) | none | 1,000 |
/// | [`channel`](Self::channel) | none | 100 |
/// | [`store`](Self::store) | [`Memory`] | |
/// | [`token`](Self::token) | none | 1,000 |
/// | [`trust_loopback`](Self::trust_loopback) | true without tokens | |
/// | [`evaluation_interval`](Self::evaluation_interval) | 5 s | 100 ms to 1 h |
/// | [`business`](Self::business) | none | |
#[must_use = "a builder does nothing until `build` is called"]
pub struct MonitorBuilder {
    sources: Sources,
    alerts: AlertsBuilder,
    store: Option<Arc<dyn Store>>,
    tokens: Vec<Token>,
    trusts_loopback: bool,
    evaluation_interval: Duration,
    business: BusinessMetrics,
    env_warnings: Vec<String>,
}

/// The maximum number of tokens.
const MAX_TOKENS: usize = 1_000;
/// The limits of the evaluation interval.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);

impl Monitor {
    /// Creates a builder.
    pub fn builder(sources: Sources) -> MonitorBuilder {
        MonitorBuilder::new(sources)
    }
}

impl MonitorBuilder {
    fn new(sources: Sources) -> Self {
        Self {
            sources,
            alerts: Alerts::builder(),
            store: None,
            tokens: Vec::new(),
            trusts_loopback: true,
            evaluation_interval: Duration::from_secs(5),
            business: BusinessMetrics::default(),
            env_warnings: Vec::new(),
        }
    }

    /// Adds a rule. [`Threshold`] evaluates its expression.
    ///
    /// Defaults to none. The limit is 1,000 rules.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.alerts = self.alerts.rule(rule);
        self
    }

    /// Adds a channel, which gets every notification.
    ///
    /// Defaults to none: alerts are listed, and no notification is sent. The limit is 100 channels.
    pub fn channel(mut self, channel: impl Channel) -> Self {
        self.alerts = self.alerts.channel(channel);
        self
    }

    /// Sets the store of alerts, notifications and SLO counts.
    ///
    /// Defaults to [`Memory`], whose contents end with the process.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Adds a token. Its name must be unique.
    ///
    /// Defaults to none: only clients on the same machine can read, and no client can write. With a token, clients on
    /// the same machine need one too. The limit is 1,000 tokens.
    pub fn token(mut self, token: Token) -> Self {
        self.tokens.push(token);
        self
    }

    /// Sets whether clients on the same machine may read without a token, if no [`token`](Self::token) is configured.
    ///
    /// Turn it off if a proxy on the same machine forwards requests without the headers that
    /// [the crate's docs](crate#access) list. nginx does by default.
    ///
    /// Defaults to true.
    pub fn trust_loopback(mut self, trust: bool) -> Self {
        self.trusts_loopback = trust;
        self
    }

    /// Sets the interval between evaluations of the rules.
    ///
    /// Defaults to 5 s. The limits are 100 ms and 1 h.
    pub fn evaluation_interval(mut self, interval: Duration) -> Self {
        self.evaluation_interval = interval;
        self
    }

    /// Sets the business metrics of `/metrics/business`. [`BusinessMetrics::run`] runs their collectors; the monitor does not.
    ///
    /// Defaults to none.
    pub fn business(mut self, business: BusinessMetrics) -> Self {
        self.business = business;
        self
    }

    /// Adds warnings about ignored environment variables. A warning has the name and the reason, never the value.
    ///
    /// `/health/detailed` shows their number as `env_warnings`, and the warnings to clients with a token. Defaults to
    /// none.
    pub fn env_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.env_warnings.extend(warnings);
        self
    }

    /// Creates the monitor.
    ///
    /// # Errors
    ///
    /// If settings are invalid. The error lists all of them.
    pub fn build(self) -> Result<Monitor, BuildError> {
        let mut problems = Vec::new();
        let store: Arc<dyn Store> = match self.store {
            Some(store) => Arc::new(CatchPanic(store)),
            None => Arc::new(Memory::new()),
        };
        let threshold = Threshold::new(self.sources.metrics().clone());
        let alerts = self.alerts.expr_engine(threshold);
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
        // A token that was added twice is one problem, not two.
        let same = same.filter(|(token, other)| token.name() != other.name());
        if let Some((token, other)) = same {
            problems.push(Problem::SameSecret {
                token: token.name().to_owned(),
                other: other.name().to_owned(),
            });
        }
        let interval = self.evaluation_interval;
        if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
            problems.push(Problem::EvaluationInterval { interval });
        }
        let levels = SloDriver::new(&self.sources, &mut problems);
        match alerts {
            Ok(alerts) if problems.is_empty() => Ok(Monitor::new(Parts {
                sources: self.sources,
                alerts,
                store,
                authorizer: Authorizer::new(self.tokens, self.trusts_loopback),
                evaluation_interval: interval,
                business: self.business,
                levels,
                env_warnings: self.env_warnings,
            })),
            _ => Err(BuildError::new(problems)),
        }
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorBuilder")
            .field("alerts", &self.alerts)
            .field("tokens", &self.tokens)
            .field("trusts_loopback", &self.trusts_loopback)
            .field("evaluation_interval", &self.evaluation_interval)
            .finish_non_exhaustive()
    }
}
