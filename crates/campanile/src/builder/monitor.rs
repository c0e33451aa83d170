use std::sync::Arc;
use std::time::Duration;

use campanile_alerts::{Log, Notify, Rule};
use campanile_metrics::{Business, BusinessCollector};
use campanile_monitor::{Monitor, MonitorBuilder, Sources, Token};
use campanile_store::Store;

use super::noted;
use crate::{Builder, Problem};

/// What goes to the monitor, in its order.
#[derive(Default)]
pub(super) struct Settings {
    settings: Vec<Setting>,
    has_channel: bool,
    collectors: Vec<BusinessCollector>,
    store: Option<Arc<dyn Store>>,
    tokens: Vec<Token>,
    from_env: bool,
}

type Setting = Box<dyn FnOnce(MonitorBuilder, &Sources) -> MonitorBuilder + Send>;

/// What the monitor adds.
#[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
impl Builder {
    /// Adds a rule that compares a metric with a number, or asks a closure of the host's; see
    /// [`Threshold`](campanile_monitor::Threshold) for the expressions.
    ///
    /// Defaults to none.
    pub fn rule(self, rule: Rule) -> Self {
        self.rules(|_| [rule])
    }

    /// Adds rules whose closures read the campanile's own metrics, checks and service levels.
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
    ///         let error_rate = move |now| sla.read(minute, now).error_rate().filter(|rate| *rate > 0.05);
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

    /// Adds a channel, to which all notices of alerts are sent.
    ///
    /// Defaults to a [`Log`] named `log`, which a channel takes the place of.
    pub fn channel(mut self, channel: impl Notify) -> Self {
        self.monitor.has_channel = true;
        let add = |builder: MonitorBuilder, _: &Sources| builder.channel(channel);
        self.monitor.settings.push(Box::new(add));
        self
    }

    /// Sets where alerts, notices that wait, and the counts of service levels are kept.
    ///
    /// Defaults to memory, which ends with the process: the log says so at the start, `/health/detailed` shows it, and
    /// `campanile_store_durable` is 0.
    pub fn store(mut self, store: impl Store) -> Self {
        self.monitor.store = Some(Arc::new(store));
        self
    }

    /// Adds a token, whose bearer may read; at most 1,000. Two tokens with one name or one secret are an error.
    /// With a token, clients on the same machine need one too.
    ///
    /// Defaults to none.
    pub fn token(mut self, token: Token) -> Self {
        self.monitor.tokens.push(token);
        self
    }

    /// Sets whether clients on the same machine may read without a credential while no token is configured, as
    /// [`MonitorBuilder::trust_loopback`] explains.
    ///
    /// Defaults to true.
    pub fn trust_loopback(mut self, trust: bool) -> Self {
        let set = move |builder: MonitorBuilder, _: &Sources| builder.trust_loopback(trust);
        self.monitor.settings.push(Box::new(set));
        self
    }

    /// Adds a collector of business figures, which [`serve`](crate::Campanile::serve) and [`run`](crate::Campanile::run) call in the background; they
    /// are gauges, and the answer of `/metrics/business`.
    ///
    /// Defaults to none.
    pub fn collector(mut self, collector: BusinessCollector) -> Self {
        self.monitor.collectors.push(collector);
        self
    }

    /// Sets the time from one evaluation of the rules to the next, from 100 ms to 1 h.
    ///
    /// Defaults to 5 s.
    pub fn tick(mut self, tick: Duration) -> Self {
        let add = move |builder: MonitorBuilder, _: &Sources| builder.tick(tick);
        self.monitor.settings.push(Box::new(add));
        self
    }

    /// Reads the [environment](crate#environment) when it is built. What the code sets goes before; tokens are added to the code's.
    ///
    /// A variable that is not usable is ignored: it never stops the service. The log and `/health/detailed` name it. If the store's
    /// file can't be opened, the store is in memory. If tokens can't be read, clients on the same machine need a token, too. A token
    /// with the name or the secret of another one is ignored; the code's come first, then `CAMPANILE_TOKENS`.
    ///
    /// Defaults to reading nothing.
    pub fn from_env(mut self) -> Self {
        self.monitor.from_env = true;
        #[cfg(feature = "telemetry")]
        {
            self.telemetry.from_env = true;
        }
        self
    }
}

impl Settings {
    pub(super) fn build(
        self,
        sources: &Sources,
        env_warnings: Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<(Monitor, Business)> {
        let business = noted(Business::new(sources.metrics(), self.collectors), problems);
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
            builder = builder.channel(Log::new("log"));
        }
        let settings = self.settings.into_iter();
        let builder = settings.fold(builder, |builder, set| set(builder, sources));
        let builder = builder.business(business.clone().unwrap_or_default());
        noted(builder.build(), problems).zip(business)
    }
}
