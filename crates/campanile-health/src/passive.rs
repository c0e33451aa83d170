use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campanile_http::{End, Head, Observer, Outcome as Ended};
use tokio::time::Instant;

use crate::{Check, HealthFuture, Outcome, clock};

/// How a dependency is, by the requests that the service sends to it anyway: no probe is sent while there are any.
///
/// It is an [`Observer`] for an outbound tower stack, and makes a [`Check`].
///
/// ```
/// use campanile_health::{Health, Passive};
/// use campanile_http::ObserveLayer;
///
/// let payments = Passive::new();
/// // Around the client that calls them:
/// let layer = ObserveLayer::new(payments.clone());
/// // Without requests, this is asked instead.
/// let check = payments.check("payments", || async { Ok::<_, std::io::Error>(()) });
/// let health = Health::builder().check(check.critical()).build()?;
/// # drop((layer, health));
/// # Ok::<_, campanile_health::BuildError>(())
/// ```
///
/// Of the requests of the last minute, it is unhealthy if at least as many as one in two failed, and degraded if one in ten did: by a
/// status of 500 or more, a failure of gRPC's server, an error or a panic. Requests that were cancelled before an answer began say nothing: put a
/// timeout within this layer, where it is an error. If there were fewer than five, the probe is called.
///
/// While it is not healthy and fewer than five requests came in the last 10 s, the probe is called too: a service that is
/// not ready gets no requests that could show a recovery. If that probe succeeds, the requests before it count no more.
///
/// A clone is the same (an `Arc`).
#[derive(Clone, Debug)]
pub struct Passive(Arc<Mutex<Seen>>);

/// Seconds, and what was seen in each of them.
#[derive(Debug)]
struct Seen {
    start: Instant,
    seconds: [(u64, u32, u32); WINDOW as usize],
}

/// How many seconds are known.
const WINDOW: u64 = 60;

/// How many requests it takes to know something.
const ENOUGH: u32 = 5;

/// The seconds in which that many requests must have come to show that a failure persists.
const FRESH: u64 = 10;

impl Passive {
    /// Returns one that has seen nothing.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            start: clock::now(),
            seconds: [(u64::MAX, 0, 0); WINDOW as usize],
        })))
    }

    /// Counts a request that was sent otherwise.
    pub fn record(&self, is_good: bool) {
        let mut seen = self.seen();
        let second = seen.second();
        let place = &mut seen.seconds[(second % WINDOW) as usize];
        if place.0 != second {
            *place = (second, 0, 0);
        }
        let count = if is_good { &mut place.1 } else { &mut place.2 };
        *count = count.saturating_add(1);
    }

    /// Returns the check, which calls the closure only if there is nothing else to know it by.
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
        Check::of(name, move || -> HealthFuture<'static> {
            if let Some(outcome) = seen.judge() {
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

    /// Returns what the requests say; `None` if too few came.
    fn judge(&self) -> Option<Outcome> {
        let seen = self.seen();
        let (good, bad) = seen.counts(WINDOW);
        let (fresh_good, fresh_bad) = seen.counts(FRESH);
        drop(seen);
        let is_fresh = fresh_good.saturating_add(fresh_bad) >= ENOUGH;
        let all = good.saturating_add(bad);
        if all < ENOUGH {
            return None;
        }
        let text = || format!("{bad} of {all} requests failed");
        let outcome = if bad >= all.div_ceil(2) {
            Outcome::unhealthy(text())
        } else if bad >= all.div_ceil(10) {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Default for Passive {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Passive {
    type Exchange = ();

    fn begin(&self, _: &mut Head<'_>) {}

    fn end(&self, (): (), end: &End) {
        let is_good = match (end.outcome(), end.grpc()) {
            // Nobody waited for the head.
            (Ended::Cancelled, _) if end.status().as_u16() == 499 => return,
            // A body that nobody reads says nothing of the head.
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
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::outcome::Level;

    #[tokio::test(start_paused = true)]
    async fn traffic_goes_before_probes() {
        let passive = Passive::new();
        let probes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&probes);
        let check = passive.check("payments", move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>("refused") }
        });
        let found = async || crate::checks::called(&check).await;
        // Nobody knows, so the probe is asked.
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

    /// A service that is not ready gets no requests, so nothing but the probe can show the recovery.
    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_a_failure_that_no_request_contradicts() {
        let passive = Passive::new();
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
    async fn a_head_says_enough() {
        use campanile_http::ObserveLayer;
        use tower::{Layer, ServiceExt, service_fn};

        let passive = Passive::new();
        let service = service_fn(async |_: http::Request<String>| {
            let answer = http::Response::builder()
                .status(503)
                .body("try later".to_owned());
            Ok::<_, std::convert::Infallible>(answer.expect("it is one"))
        });
        let service = ObserveLayer::new(passive.clone()).layer(service);
        for _ in 0..ENOUGH {
            // The body is not read.
            let answer = service
                .clone()
                .oneshot(http::Request::new(String::new()))
                .await;
            drop(answer);
        }
        assert_eq!(
            passive.judge().map(|outcome| outcome.level),
            Some(Level::Unhealthy)
        );
        let never = service_fn(async |_: http::Request<String>| {
            std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>().await
        });
        let other = Passive::new();
        let service = ObserveLayer::new(other.clone()).layer(never);
        let request = service.oneshot(http::Request::new(String::new()));
        assert!(
            tokio::time::timeout(Duration::from_millis(1), request)
                .await
                .is_err()
        );
        assert!(other.judge().is_none());
    }
}
