//! The watchdog's measurements and threads.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::probes::{self, Respond};
use crate::check::Kind;
use crate::{Check, Outcome, clock};

/// The interval between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// The value of `lag` before the first measurement.
const NEVER: u64 = u64::MAX;

/// The state that the watchdog's threads and the runtime share.
#[derive(Debug)]
pub(crate) struct WatchdogState {
    timeout: Duration,
    listener: Option<TcpListener>,
    start: Instant,
    /// Wakes the task in the runtime.
    requested: Notify,
    exchange: Mutex<Exchange>,
    /// Wakes the watchdog's thread.
    replied: Condvar,
    /// The start of the measurement in progress, in nanoseconds since `start`; 0 for none.
    requested_at: AtomicU64,
    /// The last measurement, in nanoseconds.
    lag: AtomicU64,
    /// The number of the active run; 0 for none.
    run: AtomicU64,
    runs: AtomicU64,
    /// Whether a thread could not be started.
    has_failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Exchange {
    has_reply: bool,
    is_closed: bool,
}

impl WatchdogState {
    pub(super) fn new(timeout: Duration, listener: Option<TcpListener>) -> Self {
        Self {
            timeout,
            listener,
            start: clock::now(),
            requested: Notify::new(),
            exchange: Mutex::default(),
            replied: Condvar::new(),
            requested_at: AtomicU64::new(0),
            lag: AtomicU64::new(NEVER),
            run: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Replies to the watchdog's thread, as a task in the runtime.
    pub(crate) async fn reply(&self) {
        loop {
            self.requested.notified().await;
            self.exchange().has_reply = true;
            self.replied.notify_all();
        }
    }

    /// Starts the threads, which end when the returned guard is dropped.
    pub(crate) fn start(self: &Arc<Self>, respond: Respond) -> WatchdogThreads {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        self.run.store(run, Ordering::Relaxed);
        self.exchange().is_closed = false;
        let state = Arc::clone(self);
        let measuring = spawn("campanile-watchdog", move || state.measure());
        self.has_failed
            .store(measuring.is_none(), Ordering::Relaxed);
        let (serving, ended) = oneshot::channel();
        if self.listener.is_some() {
            let state = Arc::clone(self);
            let serve = move || state.serve_probes(&respond, ended);
            if spawn("campanile-probes", serve).is_none() {
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
        WatchdogThreads {
            state: Arc::clone(self),
            measuring,
            _serving: serving,
        }
    }

    /// Serves probes until the run ends.
    fn serve_probes(&self, respond: &Respond, ended: oneshot::Receiver<()>) {
        let Some(listener) = &self.listener else {
            return;
        };
        if let Err(error) = probes::serve(listener, respond, ended) {
            tracing::warn!(%error, "failed to start the watchdog's listener");
            self.has_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the port of the listener. `None` if it listens on a loopback address.
    pub(crate) fn public_port(&self) -> Option<u16> {
        let address = self.listener.as_ref()?.local_addr().ok()?;
        (!address.ip().to_canonical().is_loopback()).then(|| address.port())
    }

    fn has_ended(&self) -> bool {
        self.run.load(Ordering::Relaxed) == 0
    }

    /// Measures the runtime's delay once per interval, until the run ends.
    fn measure(&self) {
        let mut exchange = self.exchange();
        while !exchange.is_closed {
            let begun = clock::now();
            exchange.has_reply = false;
            self.requested_at
                .store(self.nanoseconds(begun).max(1), Ordering::Relaxed);
            self.requested.notify_one();
            while !exchange.has_reply && !exchange.is_closed {
                exchange = self.wait(exchange, INTERVAL);
            }
            let lag = clock::now().saturating_duration_since(begun);
            self.lag.store(nanoseconds(lag), Ordering::Relaxed);
            self.requested_at.store(0, Ordering::Relaxed);
            let next = begun + INTERVAL;
            while !exchange.is_closed {
                let left = next.saturating_duration_since(clock::now());
                if left.is_zero() {
                    break;
                }
                exchange = self.wait(exchange, left);
            }
        }
    }

    fn wait<'a>(
        &self,
        exchange: MutexGuard<'a, Exchange>,
        timeout: Duration,
    ) -> MutexGuard<'a, Exchange> {
        let waited = self.replied.wait_timeout(exchange, timeout);
        waited.map_or_else(|error| error.into_inner().0, |(exchange, _)| exchange)
    }

    /// Returns the last measurement, or the one in progress if that takes longer already. `None`
    /// while there is no run.
    pub(crate) fn lag(&self) -> Option<Duration> {
        if self.has_ended() {
            return None;
        }
        let in_progress = match self.requested_at.load(Ordering::Relaxed) {
            0 => 0,
            begun => self.nanoseconds(clock::now()).saturating_sub(begun),
        };
        let last = match self.lag.load(Ordering::Relaxed) {
            NEVER => 0,
            last => last,
        };
        Some(Duration::from_nanos(last.max(in_progress)))
    }

    /// Returns how long the runtime has been stuck. `None` if it is not.
    fn stuck_for(&self) -> Option<Duration> {
        let begun = self.requested_at.load(Ordering::Relaxed);
        if begun == 0 || self.has_ended() {
            return None;
        }
        let elapsed = self.nanoseconds(clock::now()).saturating_sub(begun);
        Some(Duration::from_nanos(elapsed)).filter(|elapsed| *elapsed > self.timeout)
    }

    pub(crate) fn check(self: &Arc<Self>) -> Check {
        let state = Arc::clone(self);
        let evaluate = move || match state.stuck_for() {
            _ if state.has_failed.load(Ordering::Relaxed) => {
                Outcome::unhealthy("failed to start a thread of the watchdog")
            }
            Some(elapsed) => {
                let seconds = elapsed.as_secs();
                Outcome::unhealthy(format!("the runtime has been stuck for {seconds} s"))
            }
            None => Outcome::healthy(),
        };
        let check = Check::with("executor", Kind::Immediate(Box::new(evaluate)));
        check.critical().timeout(self.timeout)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.start))
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        // Code under the lock cannot panic.
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = Builder::new().name(name.to_owned()).spawn(work);
    thread
        .inspect_err(|error| tracing::warn!(%error, name, "failed to start a thread"))
        .ok()
}

/// The guard of the watchdog's threads.
pub(crate) struct WatchdogThreads {
    state: Arc<WatchdogState>,
    measuring: Option<JoinHandle<()>>,
    /// The thread that serves probes ends when this is dropped. It is not joined.
    _serving: oneshot::Sender<()>,
}

impl Drop for WatchdogThreads {
    fn drop(&mut self) {
        self.state.exchange().is_closed = true;
        self.state.run.store(0, Ordering::Relaxed);
        self.state.replied.notify_all();
        if let Some(measuring) = self.measuring.take() {
            // The thread waits for nothing but the condition variable, so this is immediate.
            let _ = measuring.join();
        }
    }
}
