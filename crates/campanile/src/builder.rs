use std::fmt;
use std::sync::Arc;

use campanile_correlation::CorrelationIdLayer;
#[cfg(feature = "health")]
use campanile_health::Health;
use campanile_http::{BoxObserver, ObserveBuilder, ObserveLayer, Observer};
#[cfg(feature = "metrics")]
use campanile_metrics::collectors::OverheadMetrics;
#[cfg(feature = "metrics")]
use campanile_metrics::{HttpClientMetrics, HttpMetrics, Registry};
#[cfg(feature = "monitor")]
use campanile_monitor::Sources;
#[cfg(feature = "sla")]
use campanile_sla::ServiceLevels;

#[cfg(any(
    feature = "health",
    feature = "metrics",
    feature = "sla",
    feature = "telemetry"
))]
use self::collect_error::collect_error;
#[cfg(feature = "metrics")]
use crate::background::Background;
use crate::campanile::Parts;
#[cfg(all(feature = "metrics", feature = "telemetry"))]
use crate::layer::LogGuard;
use crate::runs::Runs;
use crate::{BuildError, Campanile, CampanileLayer, Observers, Problem};

#[cfg(any(
    feature = "health",
    feature = "metrics",
    feature = "sla",
    feature = "telemetry"
))]
mod collect_error;
#[cfg(feature = "monitor")]
mod monitor;
#[cfg(feature = "telemetry")]
mod telemetry;

/// Settings of a [`Campanile`].
///
/// Setters that add something or take a closure can be called several times, and all calls count. Of other setters, the
/// last call counts.
///
/// | setting | default |
/// |---|---|
/// | [`version`](Self::version), [`environment`](Self::environment) | none |
/// | [`registry`](Self::registry) | [`Registry::new`] |
/// | [`check`](Self::check) | none |
/// | [`slo`](Self::slo) | none |
/// | [`rule`](Self::rule), [`rules`](Self::rules) | none |
/// | [`channel`](Self::channel) | the log |
/// | [`store`](Self::store) | memory |
/// | [`token`](Self::token) | none |
/// | [`trust_loopback`](Self::trust_loopback) | true without tokens |
/// | [`routes_at`](Self::routes_at) | no prefix |
/// | [`evaluation_interval`](Self::evaluation_interval) | 5 s |
/// | [`request_spans`](Self::request_spans) | a span and a line per request |
/// | [`telemetry`](Self::telemetry) | none; with [`install`](Self::install) JSON on the standard output |
/// | [`from_env`](Self::from_env) | ignored; [`install`](Self::install) reads `RUST_LOG` |
/// | [`collector`](Self::collector) | none |
/// | [`disk`](Self::disk) | `/` |
/// | [`correlation`](Self::correlation) | [`CorrelationIdLayer::new`] |
/// | [`observer`](Self::observer) | none |
/// | [`observe`](Self::observe) | every request, with the route from `MatchedPath` or an extension |
#[must_use = "a builder does nothing until `build` or `install` is called"]
pub struct Builder {
    name: String,
    #[cfg(feature = "metrics")]
    registry: Option<Registry>,
    #[cfg(feature = "metrics")]
    disks: Vec<String>,
    #[cfg(feature = "health")]
    health: campanile_health::HealthBuilder,
    #[cfg(feature = "sla")]
    sla: campanile_sla::ServiceLevelsBuilder,
    #[cfg(feature = "monitor")]
    monitor: monitor::Settings,
    correlation: CorrelationIdLayer,
    #[cfg(feature = "telemetry")]
    telemetry: telemetry::Settings,
    observe: Configure,
    observer: Option<BoxObserver>,
    #[cfg(feature = "axum")]
    prefix: String,
}

type Configure = Box<dyn FnOnce(ObserveBuilder<Observers>) -> ObserveBuilder<Observers> + Send>;

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            registry: None,
            #[cfg(feature = "metrics")]
            disks: Vec::new(),
            #[cfg(feature = "health")]
            health: Health::builder(),
            #[cfg(feature = "sla")]
            sla: ServiceLevels::builder(),
            #[cfg(feature = "monitor")]
            monitor: monitor::Settings::default(),
            correlation: CorrelationIdLayer::new(),
            #[cfg(feature = "telemetry")]
            telemetry: telemetry::Settings::default(),
            observe: Box::new(|layer| layer),
            observer: None,
            #[cfg(feature = "axum")]
            prefix: String::new(),
        }
    }

    /// Sets the version of the service: 1 to 64 printable ASCII characters. JSON log lines, exports and
    /// `/health/detailed` have it.
    ///
    /// ```
    /// use campanile::Campanile;
    ///
    /// let campanile = Campanile::builder("orders").version(env!("CARGO_PKG_VERSION")).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to none.
    #[cfg(any(feature = "health", feature = "telemetry"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "health", feature = "telemetry"))))]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        let version = version.into();
        #[cfg(feature = "telemetry")]
        {
            self.telemetry.version = Some(version.clone());
        }
        #[cfg(feature = "health")]
        {
            self.health = self.health.version(version);
        }
        self
    }

    /// Sets the deployment environment of the service, such as `prod`. JSON log lines and exports have it.
    ///
    /// Defaults to none.
    #[cfg(feature = "telemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.telemetry.environment = Some(environment.into());
        self
    }

    /// Sets the registry of the metrics, for other limits or buckets than the defaults.
    ///
    /// Defaults to [`Registry::new`].
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Adds a disk to the [system metrics](campanile_metrics::collectors::SystemMetrics): the path of a file system. While a file system does
    /// not respond, for example a network disk, the system metrics keep their last values.
    ///
    /// Defaults to `/`. Any disk replaces it.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn disk(mut self, mountpoint: impl Into<String>) -> Self {
        self.disks.push(mountpoint.into());
        self
    }

    /// Adds a health check. [`serve`](Campanile::serve) and [`run`](Campanile::run) run it in the background; probes read
    /// its last result.
    ///
    /// Defaults to none.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn check(mut self, check: campanile_health::Check) -> Self {
        self.health = self.health.check(check);
        self
    }

    /// Configures the health: groups, heartbeats, a watchdog of the runtime.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use campanile::health::{Group, Heartbeat, Select, Watchdog};
    /// use std::time::Duration;
    ///
    /// let consumer = Heartbeat::new("consumer", Duration::from_secs(60));
    /// let campanile = Campanile::builder("orders")
    ///     .health(|health| health.heartbeat(&consumer).watchdog(Watchdog::new()).group(Group::new("core", Select::liveness())))
    ///     .build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to the checks alone. All calls count.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn health(
        mut self,
        configure: impl FnOnce(campanile_health::HealthBuilder) -> campanile_health::HealthBuilder,
    ) -> Self {
        self.health = configure(self.health);
        self
    }

    /// Adds an SLO. The layer counts requests for it, unless it has another
    /// [source](campanile_sla::Source).
    ///
    /// Defaults to none; all requests are counted nevertheless. Limit: 100 SLOs.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    pub fn slo(mut self, slo: campanile_sla::Slo) -> Self {
        self.sla = self.sla.slo(slo);
        self
    }

    /// Sets the layer of correlation ids: the headers, the generator, and which clients are trusted.
    ///
    /// ```
    /// use campanile::Campanile;
    /// use campanile::correlation::{CorrelationIdLayer, Trust};
    ///
    /// // A public service: ids of clients are replaced.
    /// let ids = CorrelationIdLayer::new().trust(Trust::Never);
    /// let campanile = Campanile::builder("orders").correlation(ids).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// With [`reject_invalid`](CorrelationIdLayer::reject_invalid), [`wrap`](Campanile::wrap) responds to a malformed id
    /// with 400 and observes the response. With [`layer`](Campanile::layer), the application finds an
    /// `InvalidCorrelationId` in the request's extensions and responds itself.
    ///
    /// Defaults to [`CorrelationIdLayer::new`].
    pub fn correlation(mut self, layer: impl Into<CorrelationIdLayer>) -> Self {
        self.correlation = layer.into();
        self
    }

    /// Sets a prefix for our routes, such as `/orders` for `/orders/metrics` and `/orders/health`. Use it behind a proxy
    /// that forwards a path prefix.
    ///
    /// ```
    /// use campanile::Campanile;
    ///
    /// let campanile = Campanile::builder("orders").routes_at("/orders").build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// The prefix starts with `/` and does not end with one. Its segments are 1 to 64 characters of `[A-Za-z0-9._~-]`, and
    /// it has at most 8 segments.
    ///
    /// Defaults to no prefix.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes_at(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Adds a custom observer. The layer calls it after its own observers, in the same pass. It costs one allocation per
    /// request.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use campanile::Campanile;
    /// use campanile::http::{End, RequestHead, Observer};
    ///
    /// /// Counts the bytes of all responses.
    /// #[derive(Default)]
    /// struct Sent(AtomicU64);
    ///
    /// impl Observer for Sent {
    ///     type Exchange = ();
    ///
    ///     fn begin(&self, _: &mut RequestHead<'_>) {}
    ///
    ///     fn end(&self, (): (), end: &End) {
    ///         self.0.fetch_add(end.body_bytes(), Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let campanile = Campanile::builder("orders").observer(Sent::default()).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to none. Each call adds one.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(match self.observer.take() {
            Some(before) => BoxObserver::new((before, observer)),
            None => BoxObserver::new(observer),
        });
        self
    }

    /// Configures the observing layer: which requests it excludes, and where it reads their routes.
    ///
    /// ```
    /// use campanile::Campanile;
    ///
    /// let campanile = Campanile::builder("orders").observe(|layer| layer.exclude_probes_and_scrapes()).build()?;
    /// # Ok::<_, campanile::BuildError>(())
    /// ```
    ///
    /// Defaults to every request. All calls count: each closure gets the builder that the previous one returned.
    pub fn observe(
        mut self,
        observe: impl FnOnce(ObserveBuilder<Observers>) -> ObserveBuilder<Observers> + Send + 'static,
    ) -> Self {
        let first = self.observe;
        self.observe = Box::new(|builder| observe(first(builder)));
        self
    }

    /// Reads the [environment](crate#environment). Settings of the code take precedence, whatever the
    /// order of the calls. Tokens of the environment are added to those of the code.
    ///
    /// An invalid variable is ignored and never stops the service. The log and `/health/detailed`
    /// name it. If the file of the store cannot be opened, the store is in memory. If tokens cannot
    /// be read, loopback clients need a token, too. A token with the name or the secret of an earlier
    /// one is ignored. The tokens of the code come first, then those of `CAMPANILE_TOKENS`.
    ///
    /// Defaults to reading nothing; [`install`](Self::install) reads `RUST_LOG`.
    #[cfg_attr(
        not(any(feature = "monitor", feature = "telemetry")),
        expect(unused_mut, reason = "no feature reads the environment")
    )]
    pub fn from_env(mut self) -> Self {
        #[cfg(feature = "monitor")]
        {
            self.monitor.from_env = true;
        }
        #[cfg(feature = "telemetry")]
        {
            self.telemetry.from_env = true;
        }
        self
    }

    /// Creates the handle. It changes no global state, so a process may have several handles.
    ///
    /// [`install`](Self::install) also sets the process's recorder and subscriber. `build_with_layer`, of
    /// feature `telemetry`, also returns the layer of the log for an application's own subscriber.
    ///
    /// # Errors
    ///
    /// If settings are invalid. The error lists all of them.
    pub fn build(self) -> Result<Campanile, BuildError> {
        let mut problems = Vec::new();
        if self.name.is_empty()
            || self.name.chars().count() > 255
            || self.name.contains(char::is_control)
        {
            problems.push(Problem::ServiceName {
                name: self.name.clone(),
            });
        }
        #[cfg(feature = "axum")]
        if !crate::wrap::is_prefix(&self.prefix) {
            problems.push(Problem::RoutePrefix {
                prefix: self.prefix.clone(),
            });
        }
        #[cfg(feature = "metrics")]
        let registry = self.registry.unwrap_or_default();
        #[cfg(feature = "telemetry")]
        let spans = self.telemetry.spans.clone();
        #[cfg(feature = "telemetry")]
        let telemetry = match self.telemetry {
            settings if settings.is_wanted(&self.name) => {
                let built = settings.build(
                    &self.name,
                    #[cfg(feature = "metrics")]
                    &registry,
                );
                collect_error(built, &mut problems)
            }
            _ => None,
        };
        #[cfg(feature = "telemetry")]
        let _subscriber = telemetry.as_ref().and_then(telemetry::while_building);
        #[cfg(feature = "metrics")]
        let (overhead, http_metrics, client_metrics) = (
            collect_error(OverheadMetrics::register(&registry), &mut problems),
            collect_error(HttpMetrics::register(&registry), &mut problems),
            collect_error(HttpClientMetrics::register(&registry), &mut problems),
        );
        #[cfg(feature = "health")]
        let health = collect_error(self.health.build(), &mut problems);
        #[cfg(feature = "sla")]
        let sla = match problems.is_empty() {
            true => self.sla.service(&self.name),
            // The name may be invalid.
            false => self.sla,
        };
        #[cfg(feature = "sla")]
        let sla = collect_error(sla.build(), &mut problems);
        #[cfg(feature = "monitor")]
        let built = {
            // Another problem must not hide one of the monitor.
            let health = health
                .clone()
                .map_or_else(|| Health::builder().build().ok(), Some);
            let sla = sla
                .clone()
                .map_or_else(|| ServiceLevels::builder().build().ok(), Some);
            let sources = health.zip(sla);
            let sources = sources.map(|(health, sla)| Sources::new(registry.clone(), health, sla));
            let warnings = || {
                #[cfg(feature = "telemetry")]
                let ignored = telemetry
                    .as_ref()
                    .map_or(&[][..], |telemetry| telemetry.env_warnings());
                #[cfg(feature = "telemetry")]
                return ignored
                    .iter()
                    .map(|of| format!("{}: {}", of.variable(), of.reason()))
                    .collect();
                #[cfg(not(feature = "telemetry"))]
                Vec::new()
            };
            sources.and_then(|sources| self.monitor.build(&sources, warnings(), &mut problems))
        };
        #[cfg(feature = "metrics")]
        let disks = match self.disks {
            disks if disks.is_empty() => vec!["/".to_owned()],
            disks => disks,
        };
        #[cfg(all(feature = "metrics", feature = "telemetry"))]
        let log = LogGuard::default();
        let runs = Arc::new(Runs::new(instant()));
        let parts = || {
            #[cfg(feature = "monitor")]
            let (monitor, business) = built?;
            Some(Parts {
                layer: {
                    let observers = Observers::new(
                        Arc::clone(&runs),
                        #[cfg(feature = "metrics")]
                        http_metrics?,
                        #[cfg(feature = "metrics")]
                        overhead.clone()?,
                        #[cfg(all(feature = "metrics", feature = "telemetry"))]
                        log.clone(),
                        #[cfg(feature = "telemetry")]
                        spans,
                        #[cfg(feature = "sla")]
                        sla.as_ref()?,
                        self.observer,
                    );
                    let observe = (self.observe)(ObserveLayer::builder(observers));
                    CampanileLayer::new(self.correlation, observe.build())
                },
                name: self.name,
                #[cfg(feature = "axum")]
                prefix: self.prefix,
                runs,
                #[cfg(feature = "telemetry")]
                telemetry: telemetry.clone(),
                #[cfg(all(feature = "metrics", feature = "telemetry"))]
                log: log.clone(),
                #[cfg(all(feature = "health", feature = "metrics"))]
                transitions: std::sync::Mutex::new(health.as_ref().map(Health::transitions)),
                #[cfg(feature = "health")]
                health: health?,
                #[cfg(feature = "metrics")]
                background: Background::new(
                    &registry,
                    overhead.as_ref()?,
                    disks,
                    #[cfg(feature = "telemetry")]
                    telemetry,
                ),
                #[cfg(feature = "metrics")]
                registry,
                #[cfg(feature = "metrics")]
                client_metrics: client_metrics?,
                #[cfg(feature = "monitor")]
                monitor,
                #[cfg(feature = "monitor")]
                business,
                #[cfg(feature = "sla")]
                sla: sla?,
            })
        };
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        parts().map(Campanile::new).ok_or(BuildError { problems })
    }

    /// Creates the handle and installs it globally: the registry becomes the process's recorder, so the `metrics` macros
    /// work everywhere, and the telemetry becomes the `tracing` subscriber.
    ///
    /// Without [`telemetry`](Self::telemetry), the log is JSON on the standard output. If the process has a subscriber
    /// already, it stays. The log closes when the last clone of the handle and the last service with its layer are
    /// dropped.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build). Also if the process has a recorder already, or if it has a subscriber and
    /// `telemetry` was called.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn install(self) -> Result<Campanile, crate::InstallError> {
        #[cfg(feature = "telemetry")]
        let campanile = self.build_with_log()?;
        #[cfg(not(feature = "telemetry"))]
        let campanile = self.build()?;
        campanile.metrics().install()?;
        #[cfg(feature = "telemetry")]
        campanile.install_log()?;
        Ok(campanile)
    }
}

pub(crate) fn instant() -> std::time::Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time to start a run begins with the build"
    )]
    std::time::Instant::now()
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_can_be_shared() {
        fn check<T: Send + Sync + fmt::Debug + 'static>() {}
        check::<(Campanile, CampanileLayer, Observers, BuildError, Problem)>();
        fn check_send<T: Send + fmt::Debug + 'static>() {}
        check_send::<Builder>();
        check_send::<crate::Serve<()>>();
    }

    #[test]
    fn the_service_name_is_checked() {
        #[track_caller]
        fn check(name: &str, valid: bool) {
            match Campanile::builder(name).build() {
                Ok(campanile) => assert_eq!((campanile.name(), valid), (name, true)),
                Err(error) => {
                    assert!(!valid);
                    let [Problem::ServiceName { name: rejected }] = error.problems() else {
                        panic!("{error}");
                    };
                    assert_eq!(rejected, name);
                    assert!(error.to_string().contains(&format!("{name:?}")));
                }
            }
        }
        check("orders", true);
        check("Bestellungen für Köln", true);
        check(&"ü".repeat(255), true);
        check(&"u".repeat(256), false);
        check("", false);
        check("orders\n", false);
    }

    #[cfg(feature = "health")]
    #[test]
    fn all_mistakes_are_told_together() {
        let check = || campanile_health::Check::new("a b", || async { Ok::<_, &str>(()) });
        let error = Campanile::builder("").check(check()).build().unwrap_err();
        assert!(
            matches!(
                error.problems(),
                [Problem::ServiceName { .. }, Problem::Health(_)]
            ),
            "{error}"
        );
    }
}
