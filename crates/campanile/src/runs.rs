use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};

/// The runs of one handle. One works at a time, and a service without a run logs a warning.
#[derive(Debug)]
pub(crate) struct Runs {
    built: Instant,
    /// Whether a run began or the warning was logged.
    is_settled: AtomicBool,
    turn: Mutex<()>,
    /// The number of active runs, including those that wait for their turn.
    active: watch::Sender<usize>,
    /// The number of servers that accept requests.
    servers: AtomicUsize,
}

/// The time after the build in which an application should start a run.
const GRACE: Duration = Duration::from_secs(10);

impl Runs {
    pub(crate) fn new(built: Instant) -> Self {
        Self {
            built,
            is_settled: AtomicBool::new(false),
            turn: Mutex::new(()),
            active: watch::Sender::new(0),
            servers: AtomicUsize::new(0),
        }
    }

    /// Counts a server until the return value is dropped.
    pub(crate) fn server(self: &Arc<Self>) -> Server {
        self.servers.fetch_add(1, Ordering::Relaxed);
        Server(Some(Arc::clone(self)))
    }

    /// Notes that a run began.
    pub(crate) fn begin(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Counts a run until the return value is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Run {
        self.active.send_modify(|active| *active += 1);
        Run(Arc::clone(self))
    }

    /// Waits until no run is active.
    #[cfg(feature = "axum")]
    pub(crate) async fn ended(&self) {
        let mut active = self.active.subscribe();
        // The sender is in `self`.
        let _ = active.wait_for(|active| *active == 0).await;
    }

    /// Does the work when no other run does, unless `stop` completes first.
    pub(crate) async fn take_turns(&self, work: impl Future, stop: impl Future<Output = ()>) {
        if let Ok(_turn) = self.turn.try_lock() {
            work.await;
            return;
        }
        tracing::info!("background work is running already; waiting until it ends");
        let turn = tokio::select! {
            turn = self.turn.lock() => turn,
            () = stop => return,
        };
        work.await;
        drop(turn);
    }

    /// Logs a warning once if requests are handled without a run. Returns whether it logged.
    #[inline]
    pub(crate) fn request_ended(&self, at: Instant) -> bool {
        !self.is_settled.load(Ordering::Relaxed) && self.warn(at)
    }

    #[cold]
    fn warn(&self, at: Instant) -> bool {
        if at.saturating_duration_since(self.built) < GRACE
            || self.is_settled.swap(true, Ordering::Relaxed)
        {
            return false;
        }
        tracing::warn!(
            "background work is not running: no health checks, rules, notifications or collectors; \
             serve with `Campanile::serve` or `Campanile::make_service`, or spawn `Campanile::run`"
        );
        true
    }
}

/// An active run.
#[derive(Debug)]
pub(crate) struct Run(Arc<Runs>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.active.send_modify(|active| *active -= 1);
    }
}

/// A server that accepts requests.
#[derive(Debug)]
pub(crate) struct Server(Option<Arc<Runs>>);

impl Server {
    /// Uncounts the server. Returns whether it was the last one of the handle.
    pub(crate) fn stops(mut self) -> bool {
        self.leave()
    }

    fn leave(&mut self) -> bool {
        let left = self
            .0
            .take()
            .map(|runs| runs.servers.fetch_sub(1, Ordering::AcqRel));
        left == Some(1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_service_without_a_run_logs_one_warning() {
        let built = crate::builder::instant();
        let late = built + GRACE;
        let runs = Runs::new(built);
        assert!(!runs.request_ended(built + Duration::from_secs(9)));
        assert!(runs.request_ended(late));
        assert!(!runs.request_ended(late));
        let runs = Runs::new(built);
        runs.begin();
        assert!(!runs.request_ended(late));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_run_works_when_the_first_has_ended() {
        let runs = Runs::new(crate::builder::instant());
        let sleep = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let (first_ended, second_began) = (Cell::new(false), Cell::new(false));
        let first = async {
            sleep(5).await;
            first_ended.set(true);
        };
        let second = async {
            assert!(first_ended.get());
            second_began.set(true);
        };
        // A run that is stopped while it waits does no work.
        let stopped = async { panic!("the first run works") };
        tokio::join!(
            runs.take_turns(first, sleep(60)),
            runs.take_turns(second, sleep(60)),
            runs.take_turns(stopped, sleep(1))
        );
        assert!(second_began.get());
    }

    #[test]
    fn one_of_two_servers_that_stop_at_once_is_the_last() {
        for _ in 0..10_000 {
            let runs = Arc::new(Runs::new(crate::builder::instant()));
            let barrier = std::sync::Barrier::new(2);
            let servers = [runs.server(), runs.server()];
            let last = std::thread::scope(|scope| {
                let threads = servers.map(|server| {
                    scope.spawn(|| {
                        barrier.wait();
                        server.stops()
                    })
                });
                let last = threads.into_iter().map(|thread| thread.join().unwrap());
                last.filter(|is_last| *is_last).count()
            });
            assert_eq!(last, 1);
        }
    }
}
