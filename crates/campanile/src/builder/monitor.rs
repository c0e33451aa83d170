use std::sync::Arc;
use std::time::Duration;

use campanile_alerts::{Channel, LogChannel, Rule};
use campanile_metrics::collectors::{BusinessCollector, BusinessMetrics};
use campanile_monitor::{Monitor, MonitorBuilder, Sources, Token};
use campanile_store::Store;

use super::collect_error::collect_error;
use crate::{Builder, Problem};

/// The settings of the monitor, in order.
#[derive(Default)]
pub(super) struct Settings {
    settings: Vec<Setting>,
    has_channel: bool,
    collectors: Vec<BusinessCollector>,
    store: Option<Arc<dyn Store>>,
    tokens: Vec<Token>,
    pub(super) from_env: bool,
}

type Setting = Box<dyn FnOnce(MonitorBuilder, &Sources) -> MonitorBuilder + Send>;

#[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
impl Builder {
    /// Adds an alert rule: an expression over the metrics, or a closure.
    /// [`Threshold`](campanile_monitor::Threshold) documents the expressions.
    ///
    /// Defaults to none. The limit is 1,000 rules.
    pub fn rule(self, rule: Rule) -> Self {
        self.rules(|_| [rule])
    }

    /// Adds alert rules from a closure, which gets the service's metrics, health and SLOs.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use campanile::Campanile;
    /// use campanile::alerts::{Rule, Severity};
    ///
    /// let minute = Duration::from_secs(60);
    /// let campanile = Campanile::builder("orders")
    ///     .rules(move |sources| {
    ///         let sla = sources.sla().clone();
    ///         let error_rate = move |now| sla.counts_at(minute, now).error_rate().filter(|rate| *rate > 0.05);
    ///         [Rule::when("HighErrorRate", error_rate).look_back(minute).severity(Severity::High)]
    ///     })
    ///     .build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to none.
    pub fn rules<R: IntoIterator<Item = Rule>>(
        mut self,
        rules: impl FnOnce(&Sources) -> R + Send + 'static,
    ) -> Self {
        let add = |builder, sources: &Sources| {
            rules(sources)
                .into_iter()
                .fold(builder, MonitorBuilder::rule)
        };
        self.monitor.settings.push(Box::new(add));
        self
    }

    /// Adds a channel, which gets every notification of an alert.
    ///
    /// Defaults to a [`LogChannel`] named `log`. Any channel replaces it. The limit is 100 channels.
    pub fn channel(mut self, channel: impl Channel) -> Self {
        self.monitor.has_channel = true;
        let add = |builder: MonitorBuilder, _: &Sources| builder.channel(channel);
        self.monitor.settings.push(Box::new(add));
        self
    }

    /// Sets the store of alerts, notifications and SLO counts.
    ///
    /// Defaults to memory, whose contents end with the process. The log, `/health/detailed` and
    /// `campanile_store_durable` report it.
    pub fn store(mut self, store: impl Store) -> Self {
        self.monitor.store = Some(Arc::new(store));
        self
    }

    /// Adds an access token. Names and secrets must be unique. With a token, clients on the same machine need one too.
    ///
    /// Defaults to none. The limit is 1,000 tokens.
    pub fn token(mut self, token: Token) -> Self {
        self.monitor.tokens.push(token);
        self
    }

    /// Sets whether clients on the same machine may read without a token, if no token is configured. See
    /// [`MonitorBuilder::trust_loopback`].
    ///
    /// Defaults to true.
    pub fn trust_loopback(mut self, trust: bool) -> Self {
        let set = move |builder: MonitorBuilder, _: &Sources| builder.trust_loopback(trust);
        self.monitor.settings.push(Box::new(set));
        self
    }

    /// Adds a collector of business metrics. [`serve`](crate::Campanile::serve) and [`run`](crate::Campanile::run) call it
    /// in the background. Its values are gauges on `/metrics` and the response of `/metrics/business`.
    ///
    /// Defaults to none.
    pub fn collector(mut self, collector: BusinessCollector) -> Self {
        self.monitor.collectors.push(collector);
        self
    }

    /// Sets the interval between evaluations of the rules.
    ///
    /// Defaults to 5 s. The limits are 100 ms and 1 h.
    pub fn evaluation_interval(mut self, interval: Duration) -> Self {
        let add = move |builder: MonitorBuilder, _: &Sources| builder.evaluation_interval(interval);
        self.monitor.settings.push(Box::new(add));
        self
    }
}

impl Settings {
    pub(super) fn build(
        self,
        sources: &Sources,
        env_warnings: Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<(Monitor, BusinessMetrics)> {
        let business = self
            .collectors
            .into_iter()
            .fold(BusinessMetrics::builder(), |business, collector| {
                business.collector(collector)
            });
        let business = collect_error(business.register(sources.metrics()), problems);
        let mut builder = Monitor::builder(sources.clone());
        let mut store = self.store;
        let mut warnings = env_warnings;
        let mut tokens = self.tokens;
        if self.from_env {
            let env = crate::env::Env::read(store.is_none(), &tokens);
            store = store.or(env.store);
            tokens.extend(env.tokens);
            if env.lacks_tokens {
                builder = builder.trust_loopback(false);
            }
            warnings.extend(env.warnings);
        }
        builder = tokens.into_iter().fold(builder, MonitorBuilder::token);
        builder = builder.env_warnings(warnings);
        if let Some(store) = store {
            builder = builder.store(store);
        }
        if !self.has_channel {
            builder = builder.channel(LogChannel::new("log"));
        }
        let settings = self.settings.into_iter();
        let builder = settings.fold(builder, |builder, set| set(builder, sources));
        let builder = builder.business(business.clone().unwrap_or_default());
        collect_error(builder.build(), problems).zip(business)
    }
}
