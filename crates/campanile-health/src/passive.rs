use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_http::{End, Observer, Outcome as Ended, RequestHead};
use tokio::time::Instant;

use crate::{BuildError, Check, HealthFuture, Outcome, Problem, clock};

/// A check by the requests that the service sends to a dependency. It calls its probe only if there are too few.
///
/// It is an [`Observer`] for an outbound tower stack, and makes a [`Check`].
///
/// ```
/// use campanile_health::{Health, PassiveCheck};
/// use campanile_http::ObserveLayer;
///
/// let payments = PassiveCheck::new();
/// // Around the client that calls them:
/// let layer = ObserveLayer::new(payments.clone());
/// // The probe, which is called if there are too few requests.
/// let check = payments.check("payments", || async { Ok::<_, std::io::Error>(()) });
/// let health = Health::builder().check(check.critical()).build()?;
/// # drop((layer, health));
/// # Ok::<_, campanile_health::BuildError>(())
/// ```
///
/// A request fails by a status of 500 or more, a failure of a gRPC server, an error or a panic. A request that is
/// cancelled before its response head is not counted. Put timeouts within this layer, where they are errors.
///
/// By default, the check is unhealthy if half of the last minute's requests failed, and degraded if a tenth did. It
/// calls the probe if there were fewer than five. [`builder`](Self::builder) changes these numbers.
///
/// While the check is not healthy and too few requests came in the last 10 s, it calls the probe, too: a service that
/// is not ready gets no requests that could show a recovery. If that probe succeeds, earlier requests no longer count.
///
/// A clone shares the counts (an `Arc`).
#[derive(Clone, Debug)]
pub struct PassiveCheck {
    settings: PassiveCheckBuilder,
    seen: Arc<Mutex<Seen>>,
}

/// The good and the failed requests of recent seconds.
#[derive(Debug)]
struct Seen {
    start: Instant,
    /// A second, and its good and failed requests; the place is the second modulo the length.
    seconds: Vec<(u64, u32, u32)>,
}

/// The seconds in which enough requests must have come to show that a failure persists.
const FRESH: u64 = 10;

/// The limit of the window, in seconds.
const MAX_WINDOW: u64 = 600;

/// Settings of a [`PassiveCheck`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`window`](Self::window) | 60 s | 1 s to 10 min |
/// | [`min_requests`](Self::min_requests) | 5 | at least 1 |
/// | [`unhealthy_from`](Self::unhealthy_from) | 0.5 | above 0, at most 1 |
/// | [`degraded_from`](Self::degraded_from) | 0.1 | above 0, at most that of unhealthy |
///
/// ```
/// use std::time::Duration;
///
/// use campanile_health::PassiveCheck;
///
/// // A critical dependency with little traffic: three failures make nothing unready.
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
    /// Sets the time whose requests count, rounded up to seconds: 1 s to 10 min.
    ///
    /// Defaults to 60 s.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the number of requests below which the probe is called; at least 1.
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

impl PassiveCheck {
    /// Returns one with the default settings, without any request.
    pub fn new() -> Self {
        Self::with(PassiveCheckBuilder::default())
    }

    /// Returns a builder.
    pub fn builder() -> PassiveCheckBuilder {
        PassiveCheckBuilder::default()
    }

    fn with(settings: PassiveCheckBuilder) -> Self {
        let length = usize::try_from(settings.seconds().clamp(1, MAX_WINDOW)).unwrap_or(1);
        let seen = Seen {
            start: clock::now(),
            seconds: vec![(u64::MAX, 0, 0); length],
        };
        Self {
            settings,
            seen: Arc::new(Mutex::new(seen)),
        }
    }

    /// Counts a request that did not pass the layer.
    pub fn record(&self, is_good: bool) {
        let mut seen = self.seen();
        let second = seen.second();
        let length = seen.seconds.len();
        let place = &mut seen.seconds[(second % length as u64) as usize];
        if place.0 != second {
            *place = (second, 0, 0);
        }
        let count = if is_good { &mut place.1 } else { &mut place.2 };
        *count = count.saturating_add(1);
    }

    /// Returns the check. It calls the probe only if the requests show too little.
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
        let seen = self.clone();
        Check::from_impl(name, move || -> HealthFuture<'static> {
            if let Some(outcome) = seen.evaluate() {
                return Box::pin(std::future::ready(outcome));
            }
            let (probed, seen, second) = (probe(), seen.clone(), seen.seen().second());
            Box::pin(async move {
                let outcome: Outcome = probed.await.into();
                if outcome.is_healthy() {
                    seen.forget_before(second);
                }
                outcome
            })
        })
    }

    /// Forgets the requests before a second.
    fn forget_before(&self, first: u64) {
        for place in &mut self.seen().seconds {
            if place.0 < first {
                *place = (u64::MAX, 0, 0);
            }
        }
    }

    /// Returns the outcome by the requests; `None` if too few came.
    fn evaluate(&self) -> Option<Outcome> {
        let seen = self.seen();
        let (good, bad) = seen.counts(seen.seconds.len() as u64);
        let (fresh_good, fresh_bad) = seen.counts(FRESH);
        drop(seen);
        let settings = &self.settings;
        let is_fresh = fresh_good.saturating_add(fresh_bad) >= settings.min_requests;
        let all = good.saturating_add(bad);
        if all < settings.min_requests {
            return None;
        }
        let share = f64::from(bad) / f64::from(all);
        let text = || format!("{bad} of {all} requests failed");
        let outcome = if share >= settings.unhealthy_from {
            Outcome::unhealthy(text())
        } else if share >= settings.degraded_from {
            Outcome::degraded(text())
        } else {
            Outcome::healthy()
        };
        if !outcome.is_healthy() && !is_fresh {
            return None;
        }
        Some(outcome.detail("requests", all).detail("failed", bad))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing that can panic runs under the lock.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Returns the good and the bad requests of the last seconds.
    fn counts(&self, seconds: u64) -> (u32, u32) {
        let first = self.second().saturating_sub(seconds - 1);
        let recent = self.seconds.iter();
        let recent = recent.filter(|(second, ..)| *second != u64::MAX && *second >= first);
        recent.fold((0, 0), |(good, bad), (_, more, worse)| {
            (good.saturating_add(*more), bad.saturating_add(*worse))
        })
    }

    fn second(&self) -> u64 {
        clock::now().saturating_duration_since(self.start).as_secs()
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
            (Ended::Cancelled, _) if end.status().as_u16() == 499 => return,
            // A body that is not read does not change the head's status.
            (Ended::Completed | Ended::Cancelled, Some(grpc)) => !grpc.is_server_failure(),
            (Ended::Completed | Ended::Cancelled, None) => !end.status().is_server_error(),
            _ => false,
        };
        self.record(is_good);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::advance;

    use super::*;
    use crate::outcome::Level;

    #[tokio::test(start_paused = true)]
    async fn enough_requests_replace_the_probe() {
        let passive = PassiveCheck::new();
        let probes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&probes);
        let check = passive.check("payments", move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>("refused") }
        });
        let found = async || crate::checks::called(&check).await;
        // There are no requests, so the probe is called.
        assert_eq!(found().await.level, Level::Unhealthy);
        for (good, bad, level) in [
            (9, 0, Level::Healthy),
            (0, 1, Level::Degraded),
            (80, 0, Level::Healthy),
            (0, 80, Level::Degraded),
            (0, 10, Level::Unhealthy),
        ] {
            (0..good).for_each(|_| passive.record(true));
            (0..bad).for_each(|_| passive.record(false));
            assert_eq!(found().await.level, level, "{good} {bad}");
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(probes.load(Ordering::Relaxed), 1);
        advance(Duration::from_secs(60)).await;
        assert_eq!(found().await.message.as_deref(), Some("refused"));
        assert_eq!(probes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn settings_decide_how_many_failures_count() {
        let second = Duration::from_secs(1);
        let passive = PassiveCheck::builder()
            .window(second * 300)
            .min_requests(20)
            .degraded_from(0.25)
            .unhealthy_from(0.75)
            .build()
            .unwrap();
        let level = || passive.evaluate().map(|outcome| outcome.level);
        (0..19).for_each(|_| passive.record(false));
        assert_eq!(level(), None);
        passive.record(false);
        assert_eq!(level(), Some(Level::Unhealthy));
        (0..7).for_each(|_| passive.record(true));
        assert_eq!(level(), Some(Level::Degraded));
        (0..54).for_each(|_| passive.record(true));
        assert_eq!(level(), Some(Level::Healthy));
        advance(second * 299).await;
        assert_eq!(level(), Some(Level::Healthy));
        advance(second).await;
        assert_eq!(level(), None);
    }

    #[test]
    fn a_setting_beyond_its_limit_is_an_error() {
        let build = || PassiveCheck::builder();
        let second = Duration::from_secs(1);
        for (builder, expected) in [
            (
                build().window(Duration::ZERO),
                "invalid window 0ns: expected 1 s to 10 min",
            ),
            (
                build().window(second * 601),
                "invalid window 601s: expected 1 s to 10 min",
            ),
            (
                build().min_requests(0).degraded_from(0.6),
                "invalid min_requests 0: expected at least 1; \
                 invalid degraded_from 0.6: expected a share above 0, at most `unhealthy_from`",
            ),
            (
                build().unhealthy_from(1.5),
                "invalid unhealthy_from 1.5: expected a share above 0, at most 1",
            ),
            (
                build().unhealthy_from(f64::NAN),
                "invalid unhealthy_from NaN: expected a share above 0, at most 1",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().to_string(), expected);
        }
    }

    /// A service that is not ready gets no requests, so nothing but the probe can show the recovery.
    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_a_failure_that_no_request_contradicts() {
        let passive = PassiveCheck::new();
        let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let probed = Arc::clone(&works);
        let check = passive.check("payments", move || {
            let works = probed.load(Ordering::Relaxed);
            async move { works.then_some(()).ok_or("refused") }
        });
        let found = async || crate::checks::called(&check).await;
        (0..10).for_each(|_| passive.record(false));
        assert_eq!(found().await.level, Level::Unhealthy);
        // Requests that fail count for more than a probe that succeeds.
        works.store(true, Ordering::Relaxed);
        for _ in 0..20 {
            advance(Duration::from_secs(1)).await;
            passive.record(false);
            assert_eq!(found().await.level, Level::Unhealthy);
        }
        // No request comes any more.
        advance(Duration::from_secs(10)).await;
        assert_eq!(found().await.level, Level::Healthy);
        // The failures before the probe are not held against it.
        passive.record(true);
        assert_eq!(found().await.level, Level::Healthy);
        (0..5).for_each(|_| passive.record(false));
        assert_eq!(found().await.level, Level::Unhealthy);
    }

    #[tokio::test]
    async fn the_head_alone_decides() {
        use campanile_http::ObserveLayer;
        use tower::{Layer, ServiceExt, service_fn};

        let passive = PassiveCheck::new();
        let service = service_fn(async |_: http::Request<String>| {
            let answer = http::Response::builder()
                .status(503)
                .body("try later".to_owned());
            Ok::<_, std::convert::Infallible>(answer.expect("it is one"))
        });
        let service = ObserveLayer::new(passive.clone()).layer(service);
        for _ in 0..5 {
            // The body is not read.
            let answer = service
                .clone()
                .oneshot(http::Request::new(String::new()))
                .await;
            drop(answer);
        }
        assert_eq!(
            passive.evaluate().map(|outcome| outcome.level),
            Some(Level::Unhealthy)
        );
        let never = service_fn(async |_: http::Request<String>| {
            std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>().await
        });
        let other = PassiveCheck::new();
        let service = ObserveLayer::new(other.clone()).layer(never);
        let request = service.oneshot(http::Request::new(String::new()));
        assert!(
            tokio::time::timeout(Duration::from_millis(1), request)
                .await
                .is_err()
        );
        assert!(other.evaluate().is_none());
    }
}
