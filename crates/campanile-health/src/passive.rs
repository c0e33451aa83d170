use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_http::{End, Observer, Outcome as RequestOutcome, RequestHead};

use self::window::Window;
use crate::{BuildError, Check, HealthFuture, Outcome, Problem, clock};

mod window;

/// A check derived from real requests to a dependency. It calls its probe only if fewer than five
/// requests were sent in the last minute.
///
/// It is an [`Observer`] for a tower stack of outgoing requests, and creates a [`Check`].
///
/// ```
/// use campanile_health::{Health, PassiveCheck};
/// use campanile_http::ObserveLayer;
///
/// let payments = PassiveCheck::new();
/// // Around the client of the dependency:
/// let layer = ObserveLayer::new(payments.clone());
/// // The probe, for the times with few requests:
/// let check = payments.check("payments", || async { Ok::<_, std::io::Error>(()) });
/// let health = Health::builder().check(check.critical()).build()?;
/// # drop((layer, health));
/// # Ok::<_, campanile_health::BuildError>(())
/// ```
///
/// A request fails by a status of 500 or more, a gRPC status of a server failure, an error or a
/// panic. A request that is cancelled before its response head does not count. Put timeouts within
/// this layer, so that they are errors.
///
/// By default, the check is unhealthy if half of the last minute's requests failed, and degraded if
/// a tenth did. [`builder`](Self::builder) changes these numbers.
///
/// While the check is not healthy and too few requests were sent in the last 10 s, it also calls
/// the probe: a service that is not ready gets no requests that could show a recovery. If that
/// probe succeeds, earlier requests no longer count.
///
/// A clone shares the counts (an `Arc`).
#[derive(Clone, Debug)]
pub struct PassiveCheck {
    settings: PassiveCheckBuilder,
    window: Arc<Mutex<Window>>,
}

/// The time, in seconds, in which enough requests must be sent to show that a failure persists.
const FRESH: u64 = 10;

/// The limit of the window, in seconds.
const MAX_WINDOW: u64 = 600;

impl PassiveCheck {
    /// Creates a passive check with the default settings, without any request.
    pub fn new() -> Self {
        Self::with(PassiveCheckBuilder::default())
    }

    /// Creates a builder.
    pub fn builder() -> PassiveCheckBuilder {
        PassiveCheckBuilder::default()
    }

    fn with(settings: PassiveCheckBuilder) -> Self {
        let length = usize::try_from(settings.seconds().clamp(1, MAX_WINDOW)).unwrap_or(1);
        Self {
            settings,
            window: Arc::new(Mutex::new(Window::new(length, clock::now()))),
        }
    }

    /// Records a request that did not pass the layer.
    pub fn record(&self, is_good: bool) {
        self.lock().record(is_good, clock::now());
    }

    /// Creates the check, with a probe that it calls if there are too few requests.
    pub fn check<F, T, E>(
        &self,
        name: impl Into<String>,
        probe: impl Fn() -> F + Send + Sync + 'static,
    ) -> Check
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Outcome>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let passive = self.clone();
        Check::from_impl(name, move || -> HealthFuture<'static> {
            if let Some(outcome) = passive.outcome() {
                return Box::pin(std::future::ready(outcome));
            }
            let second = passive.lock().second(clock::now());
            let (probed, passive) = (probe(), passive.clone());
            Box::pin(async move {
                let outcome: Outcome = probed.await.into();
                if outcome.is_healthy() {
                    passive.lock().forget_before(second);
                }
                outcome
            })
        })
    }

    /// Returns the outcome by the requests. `None` if there are too few.
    fn outcome(&self) -> Option<Outcome> {
        let now = clock::now();
        let window = self.lock();
        let (good, failed) = window.counts(window.length(), now);
        let (fresh_good, fresh_failed) = window.counts(FRESH, now);
        drop(window);
        let settings = &self.settings;
        let is_fresh = fresh_good.saturating_add(fresh_failed) >= settings.min_requests;
        let all = good.saturating_add(failed);
        if all < settings.min_requests {
            return None;
        }
        let share = f64::from(failed) / f64::from(all);
        let message = || format!("{failed} of {all} requests failed");
        let outcome = if share >= settings.unhealthy_from {
            Outcome::unhealthy(message())
        } else if share >= settings.degraded_from {
            Outcome::degraded(message())
        } else {
            Outcome::healthy()
        };
        if !outcome.is_healthy() && !is_fresh {
            return None;
        }
        Some(outcome.detail("requests", all).detail("failed", failed))
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        // Code under the lock cannot panic.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PassiveCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for PassiveCheck {
    type Exchange = ();

    fn begin(&self, _: &mut RequestHead<'_>) {}

    fn end(&self, (): (), end: &End) {
        let is_good = match (end.outcome(), end.grpc()) {
            // The client did not wait for the head.
            (RequestOutcome::Cancelled, _) if end.status().as_u16() == 499 => return,
            // A body that is not read does not change the head's status.
            (RequestOutcome::Completed | RequestOutcome::Cancelled, Some(grpc)) => {
                !grpc.is_server_failure()
            }
            (RequestOutcome::Completed | RequestOutcome::Cancelled, None) => {
                !end.status().is_server_error()
            }
            _ => false,
        };
        self.record(is_good);
    }
}

/// Settings of a [`PassiveCheck`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`window`](Self::window) | 60 s | 1 s to 10 min |
/// | [`min_requests`](Self::min_requests) | 5 | at least 1 |
/// | [`unhealthy_from`](Self::unhealthy_from) | 0.5 | above 0, at most 1 |
/// | [`degraded_from`](Self::degraded_from) | 0.1 | above 0, at most `unhealthy_from` |
///
/// ```
/// use std::time::Duration;
///
/// use campanile_health::PassiveCheck;
///
/// // For a critical dependency with few requests, so that three failures do not fail readiness.
/// let payments = PassiveCheck::builder()
///     .window(Duration::from_secs(300))
///     .min_requests(20)
///     .build()?;
/// # drop(payments);
/// # Ok::<_, campanile_health::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PassiveCheckBuilder {
    window: Duration,
    min_requests: u32,
    degraded_from: f64,
    unhealthy_from: f64,
}

impl PassiveCheckBuilder {
    /// Sets the time window in which requests count, rounded up to seconds; 1 s to 10 min.
    ///
    /// Defaults to 60 s.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the number of requests in the window below which the check calls its probe; at least 1.
    ///
    /// Defaults to 5.
    pub fn min_requests(mut self, requests: u32) -> Self {
        self.min_requests = requests;
        self
    }

    /// Sets the share of failed requests from which the check is degraded; above 0, and at most
    /// [`unhealthy_from`](Self::unhealthy_from).
    ///
    /// Defaults to 0.1.
    pub fn degraded_from(mut self, share: f64) -> Self {
        self.degraded_from = share;
        self
    }

    /// Sets the share of failed requests from which the check is unhealthy; above 0, and at most 1.
    ///
    /// Defaults to 0.5.
    pub fn unhealthy_from(mut self, share: f64) -> Self {
        self.unhealthy_from = share;
        self
    }

    /// Creates the check's source, without any request.
    ///
    /// # Errors
    ///
    /// If a setting is beyond its limit. The error lists every such setting.
    pub fn build(self) -> Result<PassiveCheck, BuildError> {
        let mut problems = Vec::new();
        let mut invalid = |setting, value, expected| {
            problems.push(Problem::InvalidSetting {
                setting,
                value,
                expected,
            });
        };
        if self.window < Duration::from_secs(1) || self.window > Duration::from_secs(MAX_WINDOW) {
            invalid("window", format!("{:?}", self.window), "1 s to 10 min");
        }
        if self.min_requests == 0 {
            invalid("min_requests", "0".to_owned(), "at least 1");
        }
        let is_share = |share: f64, max: f64| share > 0.0 && share <= max;
        if !is_share(self.unhealthy_from, 1.0) {
            let value = self.unhealthy_from.to_string();
            invalid("unhealthy_from", value, "a share above 0, at most 1");
        }
        if !is_share(self.degraded_from, self.unhealthy_from.min(1.0)) {
            let value = self.degraded_from.to_string();
            let expected = "a share above 0, at most `unhealthy_from`";
            invalid("degraded_from", value, expected);
        }
        match problems.is_empty() {
            true => Ok(PassiveCheck::with(self)),
            false => Err(BuildError::new(problems)),
        }
    }

    /// Returns the window in whole seconds.
    fn seconds(&self) -> u64 {
        self.window.as_secs() + u64::from(self.window.subsec_nanos() > 0)
    }
}

impl Default for PassiveCheckBuilder {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            min_requests: 5,
            degraded_from: 0.1,
            unhealthy_from: 0.5,
        }
    }
}

#[cfg(test)]
mod tests;
