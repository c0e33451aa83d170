use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::Outcome;

mod call;

/// A check of something that a service needs, such as a database.
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`critical`](Self::critical), [`informational`](Self::informational) | neither: a failure degrades the service | |
/// | [`timeout`](Self::timeout) | 5 s | more than 0 |
/// | [`interval`](Self::interval) | 30 s | more than 0 |
/// | [`retry_interval`](Self::retry_interval) | 2 s, doubled up to the interval | more than 0 |
/// | [`stale_after`](Self::stale_after) | 3 intervals and the timeout | at least the interval with jitter, and the timeout |
/// | [`failure_threshold`](Self::failure_threshold), [`success_threshold`](Self::success_threshold) | 1 | at least 1 |
/// | [`tag`](Self::tag), [`depends_on`](Self::depends_on) | none | |
pub struct Check {
    pub(crate) name: String,
    pub(crate) importance: Importance,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) retry_interval: Duration,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) thresholds: Thresholds,
    pub(crate) tags: Vec<String>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) kind: Kind,
}

/// The effect of a failed check on its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Importance {
    /// The service is unhealthy.
    Critical,
    /// The service is degraded.
    Degrading,
    /// None: the check is only shown.
    Informational,
}

/// The numbers of results in a row that change a check's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) failures: u32,
    pub(crate) successes: u32,
}

/// How a check gets its outcome.
pub(crate) enum Kind {
    Async(Arc<dyn HealthCheck>),
    Blocking(Arc<dyn Fn() -> Outcome + Send + Sync>),
    /// The outcome is read from memory whenever it is needed, so the check is never scheduled.
    Immediate(Box<dyn Fn() -> Outcome + Send + Sync>),
}

/// The implementation of a check, for checks that are types with their own settings.
///
/// ```
/// use campanile_health::{Check, HealthCheck, HealthFuture, Outcome};
///
/// struct License {
///     days_left: u32,
/// }
///
/// impl HealthCheck for License {
///     fn check(&self) -> HealthFuture<'_> {
///         Box::pin(async {
///             match self.days_left {
///                 0 => Outcome::unhealthy("the license has expired"),
///                 1..15 => Outcome::degraded("the license expires soon"),
///                 _ => Outcome::healthy().detail("days_left", self.days_left),
///             }
///         })
///     }
/// }
///
/// let check = Check::from_impl("license", License { days_left: 7 });
/// # drop(check);
/// ```
pub trait HealthCheck: Send + Sync + 'static {
    /// Runs the check. It must not block its thread. The future may be dropped at any time.
    fn check(&self) -> HealthFuture<'_>;
}

/// The future of a [`HealthCheck`].
pub type HealthFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl<F: Fn() -> HealthFuture<'static> + Send + Sync + 'static> HealthCheck for F {
    fn check(&self) -> HealthFuture<'_> {
        self()
    }
}

impl Check {
    /// Creates a check from an async closure that returns `()` or an [`Outcome`], or an error.
    ///
    /// The name has 1 to 64 characters of `[A-Za-z0-9._-]`. The closure is called once per
    /// [interval](Self::interval), and must not block its thread. An error and a panic are
    /// failures. A call that exceeds the [timeout](Self::timeout) is dropped, and is a failure.
    pub fn new<F, T, E>(
        name: impl Into<String>,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Outcome>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let run = move || -> HealthFuture<'static> {
            let check = run();
            Box::pin(async move { check.await.into() })
        };
        Self::from_impl(name, run)
    }

    /// Creates a check from an implementation of [`HealthCheck`].
    pub fn from_impl(name: impl Into<String>, check: impl HealthCheck) -> Self {
        Self::with(name, Kind::Async(Arc::new(check)))
    }

    /// Creates a check from a closure that may block its thread. Each call has its own thread,
    /// `campanile-check`.
    ///
    /// A call that exceeds the timeout cannot be cancelled. It counts as failed, and only the next
    /// call of this check waits for it. The end of the process does not wait for it.
    pub fn blocking<T, E>(
        name: impl Into<String>,
        run: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Self
    where
        T: Into<Outcome>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::with(name, Kind::Blocking(Arc::new(move || run().into())))
    }

    pub(crate) fn with(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            importance: Importance::Degrading,
            timeout: Duration::from_secs(5),
            interval: Duration::from_secs(30),
            retry_interval: Duration::from_secs(2),
            stale_after: None,
            thresholds: Thresholds {
                failures: 1,
                successes: 1,
            },
            tags: Vec::new(),
            depends_on: Vec::new(),
            kind,
        }
    }

    /// Makes the check critical: if it fails, the service is unhealthy and readiness fails.
    ///
    /// If all replicas share the dependency, its outage makes all of them unready at once. Then
    /// even requests that do not need the dependency fail. To avoid this, leave the check out of
    /// the [`Group`](crate::Group) `readiness`.
    ///
    /// Defaults to not critical: a failure degrades the service.
    #[must_use]
    pub fn critical(mut self) -> Self {
        self.importance = Importance::Critical;
        self
    }

    /// Makes the check informational: it is shown, and has no effect on the service's status.
    ///
    /// Defaults to not informational: a failure degrades the service.
    #[must_use]
    pub fn informational(mut self) -> Self {
        self.importance = Importance::Informational;
        self
    }

    /// Sets the time limit of a call; more than zero.
    ///
    /// Defaults to 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time from the start of one call to the start of the next; more than zero.
    ///
    /// Each call is delayed by a random part of a tenth of the interval, so that the calls of many
    /// instances are spread ([`HealthBuilder::jitter`](crate::HealthBuilder::jitter)). A call that
    /// takes longer than the interval delays the next one.
    ///
    /// Defaults to 30 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the time from the start of a failed call to the start of the next; more than zero.
    ///
    /// The delay doubles with each further failure, up to the [interval](Self::interval), and
    /// starts over when the result changes. It also applies to successes that the
    /// [threshold](Self::success_threshold) does not accept as a recovery yet. Jitter applies as
    /// with the interval.
    ///
    /// Defaults to 2 s.
    #[must_use]
    pub fn retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// Sets the age at which a result is outdated and the check becomes
    /// [unknown](crate::Status::Unknown). It must be at least the interval with jitter, and the
    /// timeout.
    ///
    /// Defaults to 3 intervals and the timeout.
    #[must_use]
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after = Some(age);
        self
    }

    /// Sets the number of failures in a row after which the check counts as failed; at least 1. The
    /// first result counts immediately.
    ///
    /// Defaults to 1.
    #[must_use]
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.thresholds.failures = failures;
        self
    }

    /// Sets the number of successes in a row after which a failed check counts as healthy again; at
    /// least 1.
    ///
    /// Defaults to 1.
    #[must_use]
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.thresholds.successes = successes;
        self
    }

    /// Adds a tag, by which [groups](crate::Group) select checks: 1 to 64 characters of
    /// `[A-Za-z0-9._-]`.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a dependency on another check. If both fail, the other one is the
    /// [root cause](crate::CheckReport::root_causes).
    ///
    /// Defaults to none.
    #[must_use]
    pub fn depends_on(mut self, check: impl Into<String>) -> Self {
        self.depends_on.push(check.into());
        self
    }

    /// Returns whether it is a heartbeat or the watchdog, which liveness consists of by default.
    pub(crate) fn is_liveness(&self) -> bool {
        matches!(self.kind, Kind::Immediate(_))
    }

    /// Returns the age from which a result is outdated.
    pub(crate) fn max_age(&self) -> Duration {
        let default = || self.interval.saturating_mul(3).saturating_add(self.timeout);
        self.stale_after.unwrap_or_else(default)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("importance", &self.importance)
            .field("timeout", &self.timeout)
            .field("interval", &self.interval)
            .field("tags", &self.tags)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
