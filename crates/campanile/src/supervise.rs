#![cfg_attr(
    not(any(feature = "health", feature = "metrics")),
    expect(dead_code, reason = "there is no background work")
)]

use std::future::Future;
use std::time::Duration;

#[cfg(feature = "metrics")]
use campanile_metrics::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The time between a panic of a part and its next start.
const PAUSE: Duration = Duration::from_secs(5);

/// The parts of the background work: each is a task, so that one that panics or blocks stops no other.
///
/// Dropping it aborts all of them.
pub(crate) struct Parts {
    tasks: JoinSet<()>,
    stopped: watch::Receiver<bool>,
    #[cfg(feature = "metrics")]
    registry: Registry,
}

impl Parts {
    pub(crate) fn new(
        stopped: &watch::Receiver<bool>,
        #[cfg(feature = "metrics")] registry: &Registry,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            stopped: stopped.clone(),
            #[cfg(feature = "metrics")]
            registry: registry.clone(),
        }
    }

    /// Starts a part, which ends when the future that it is given completes. After a panic it starts again.
    pub(crate) fn start<F>(
        &mut self,
        name: &'static str,
        part: impl Fn(BoxFuture) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let stopped = self.stopped.clone();
        #[cfg(feature = "metrics")]
        let registry = self.registry.clone();
        // From 0 on, so that the first panic is an increase.
        #[cfg(feature = "metrics")]
        count(&registry, name, 0);
        self.tasks.spawn(async move {
            let stop = || stop(stopped.clone());
            loop {
                let mut task = JoinSet::new();
                task.spawn(part(Box::pin(stop())));
                match task.join_next().await {
                    Some(Err(error)) if error.is_panic() => {}
                    _ => return,
                }
                tracing::error!(part = name, restart_after = ?PAUSE, "background work panicked");
                #[cfg(feature = "metrics")]
                count(&registry, name, 1);
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = stop() => return,
                }
            }
        });
    }

    /// Waits until all parts have ended.
    pub(crate) async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

pub(crate) type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Completes when the work shall stop.
pub(crate) async fn stop(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone stops it, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(feature = "metrics")]
fn count(registry: &Registry, part: &str, panics: u64) {
    const PANICS: &str = "campanile_background_panics_total";
    registry.describe(
        PANICS,
        "Panics of background work, each followed by a restart.",
    );
    // An application that has this name for something else keeps it.
    if let Ok(counter) = registry.counter(PANICS, &[("part", part)]) {
        counter.increment(panics);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_restarts_its_part_and_stops_no_other() {
        let (stopping, stopped) = watch::channel(false);
        #[cfg(feature = "metrics")]
        let registry = Registry::new();
        let mut parts = Parts::new(
            &stopped,
            #[cfg(feature = "metrics")]
            &registry,
        );
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        parts.start("rules", move |stop| {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert_ne!(start, 0, "the first start panics");
                stop.await;
            }
        });
        parts.start("checks", |stop| stop);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        #[cfg(feature = "metrics")]
        assert_eq!(
            registry.get("campanile_background_panics_total", &[("part", "rules")]),
            Some(campanile_metrics::Value::Counter(1))
        );
        stopping.send_replace(true);
        parts.join().await;
    }
}
