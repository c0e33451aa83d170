use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::Outcome;

/// Something that a service needs, and how to find out whether it is there.
///
/// | setting | default |
/// |---|---|
/// | [`critical`](Self::critical), [`informational`](Self::informational) | neither: a failure degrades |
/// | [`timeout`](Self::timeout) | 5 s |
/// | [`interval`](Self::interval) | 30 s |
/// | [`retry_interval`](Self::retry_interval) | 2 s, doubled up to the period |
/// | [`stale_after`](Self::stale_after) | 3 periods and the timeout |
/// | [`failure_threshold`](Self::failure_threshold), [`success_threshold`](Self::success_threshold) | 1 |
/// | [`tag`](Self::tag), [`depends_on`](Self::depends_on) | none |
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

/// What a failure of a check means for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Importance {
    /// The service is unhealthy.
    Critical,
    /// The service is degraded.
    Degrading,
    /// Nothing: it is only shown.
    Informational,
}

/// The numbers of results in a row that change a check's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) failures: u32,
    pub(crate) successes: u32,
}

/// How a check finds out.
pub(crate) enum Kind {
    Async(Arc<dyn HealthCheck>),
    Blocking(Arc<dyn Fn() -> Outcome + Send + Sync>),
    /// It is known at any time, and never called.
    Immediate(Box<dyn Fn() -> Outcome + Send + Sync>),
}

/// A check as a type: for those that have settings, or are made of others.
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
    /// Finds out. It must not block its thread, and may be dropped at any time.
    fn check(&self) -> HealthFuture<'_>;
}

/// What a [`HealthCheck`] returns.
pub type HealthFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl<F: Fn() -> HealthFuture<'static> + Send + Sync + 'static> HealthCheck for F {
    fn check(&self) -> HealthFuture<'_> {
        self()
    }
}

impl Check {
    /// Returns a check that calls an async closure, which returns `()` or an [`Outcome`], and takes an error for a failure.
    ///
    /// The name has 1 to 64 characters of `[A-Za-z0-9._-]`. The closure is called once a period; a call that takes too long is
    /// dropped, and a panic is a failure. It must not block its thread.
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

    /// Returns a check of a type of its own.
    pub fn from_impl(name: impl Into<String>, check: impl HealthCheck) -> Self {
        Self::with(name, Kind::Async(Arc::new(check)))
    }

    /// Returns a check that blocks its thread: each call has one of its own, `campanile-check`.
    ///
    /// A call that takes too long can't be ended. It counts as failed, and the next call waits for it; nothing else does, the end of the process
    /// neither.
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

    /// Makes the service unhealthy, and not only degraded, when the check fails.
    ///
    /// Readiness then fails too. If all replicas share the dependency, its outage makes all of them unready at once, and even requests that
    /// don't need it fail. A [`Group`](crate::Group) of the name `readiness` can leave it out.
    ///
    /// Defaults to degraded.
    #[must_use]
    pub fn critical(mut self) -> Self {
        self.importance = Importance::Critical;
        self
    }

    /// Shows the check and nothing more: the service is well without it.
    ///
    /// Defaults to degraded.
    #[must_use]
    pub fn informational(mut self) -> Self {
        self.importance = Importance::Informational;
        self
    }

    /// Sets how long a call may take; more than zero.
    ///
    /// Defaults to 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time from the beginning of one call to that of the next; more than zero. It comes up to a tenth later than that, so that those
    /// of many instances are spread ([`HealthBuilder::jitter`](crate::HealthBuilder::jitter)). A call that takes longer delays the next.
    ///
    /// Defaults to 30 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the delay from the start of a call that failed to the start of the next, more than zero.
    ///
    /// The delay doubles with each further failure, up to the [period](Self::interval), and starts
    /// over when the result changes. It also applies to successes that the
    /// [threshold](Self::success_threshold) does not accept as a recovery yet. Calls come up to a tenth
    /// later, as with the period. Defaults to 2 s.
    #[must_use]
    pub fn retry_interval(mut self, delay: Duration) -> Self {
        self.retry_interval = delay;
        self
    }

    /// Sets how old a result may be before it is unknown what the check would find: at least the period, with the jitter, and the timeout.
    ///
    /// Defaults to 3 periods and the timeout.
    #[must_use]
    pub fn stale_after(mut self, stale_after: Duration) -> Self {
        self.stale_after = Some(stale_after);
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

    /// Adds a tag, by which [groups](crate::Group) select checks: 1 to 64 characters of `[A-Za-z0-9._-]`.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Says that this can't be well if another check isn't. Then a failure of both is said to be that one's.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn depends_on(mut self, check: impl Into<String>) -> Self {
        self.depends_on.push(check.into());
        self
    }

    /// Returns whether it is one of what is well as long as the process works.
    pub(crate) fn is_liveness(&self) -> bool {
        matches!(self.kind, Kind::Immediate(_))
    }

    /// Returns how old a result may be.
    pub(crate) fn longest(&self) -> Duration {
        let usual = || self.interval.saturating_mul(3).saturating_add(self.timeout);
        self.stale_after.unwrap_or_else(usual)
    }

    /// Calls the check once. The place is given back when it is over; that may be later.
    pub(crate) async fn run(&self, place: OwnedMutexGuard<()>) -> Outcome {
        let late = || Outcome::unhealthy(format!("no answer within {:?}", self.timeout));
        match &self.kind {
            Kind::Async(check) => {
                let call = Call::begin(&**check);
                let outcome = tokio::time::timeout(self.timeout, call).await;
                outcome.unwrap_or_else(|_| late())
            }
            Kind::Blocking(check) => {
                let check = Arc::clone(check);
                let (sender, outcome) = oneshot::channel();
                let thread = std::thread::Builder::new().name("campanile-check".to_owned());
                let started = thread.spawn(move || {
                    let outcome = catch_unwind(AssertUnwindSafe(|| check()));
                    // The receiver may be gone by then.
                    let _ = sender.send(outcome.unwrap_or_else(|_| panicked()));
                    drop(place);
                });
                if let Err(error) = started {
                    return Outcome::unhealthy(format!("there is no thread for it: {error}"));
                }
                match tokio::time::timeout(self.timeout, outcome).await {
                    Ok(outcome) => outcome.unwrap_or_else(|_| panicked()),
                    Err(_) => late(),
                }
            }
            Kind::Immediate(check) => check(),
        }
    }
}

fn panicked() -> Outcome {
    Outcome::unhealthy("the check panicked")
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

/// A call whose panic is a failure, wherever it comes from: the call, a poll, or the end of a call that took too long.
struct Call<'a>(Option<HealthFuture<'a>>);

impl<'a> Call<'a> {
    fn begin(check: &'a dyn HealthCheck) -> Self {
        Self(catch_unwind(AssertUnwindSafe(|| check.check())).ok())
    }
}

impl Future for Call<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(call) = &mut self.0 else {
            return Poll::Ready(panicked());
        };
        // After a panic it is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(panicked()))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let call = self.0.take();
        // Its result is known, or it is too late for one.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
    }
}
