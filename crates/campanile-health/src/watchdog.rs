//! A thread that sees whether the runtime still comes to what it is to do.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::probes::Respond;
use crate::check::Kind;
use crate::{Check, Outcome, Problem, clock};

/// Sees whether the runtime is stuck, from a thread of its own, `campanile-watchdog`: once a second it gives the runtime something to do, and
/// measures how long that takes. If it takes too long, [liveness](crate::Group) fails.
///
/// A runtime that is stuck can't answer a probe either, and a probe that isn't answered fails too; but one that has to wait for a timeout, and
/// behind a proxy, says nothing of the reason. So the watchdog can [listen](Self::listen) itself.
///
/// | setting | default |
/// |---|---|
/// | [`timeout`](Self::timeout) | 10 s |
/// | [`listen`](Self::listen) | nowhere |
#[derive(Debug)]
#[must_use = "a watchdog is there once a health is built with it"]
pub struct Watchdog {
    timeout: Duration,
    address: Option<SocketAddr>,
}

/// How far two measurements are apart.
const EVERY: Duration = Duration::from_secs(1);

impl Watchdog {
    /// Returns a watchdog with all settings at their defaults.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            address: None,
        }
    }

    /// Sets how long the runtime may take; more than zero.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, longest: Duration) -> Self {
        self.timeout = longest;
        self
    }

    /// Answers the probes at an address of its own too, even if the runtime is stuck: over HTTP/1.1, one request for each connection, without details.
    ///
    /// A thread `campanile-probes` serves up to 256 connections at a time, each for at most 1 s. A further one replaces the oldest, so that silent
    /// connections delay no probe.
    ///
    /// Defaults to no address.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Binds the listener.
    pub(crate) fn bind(self) -> Result<Arc<Guarding>, Problem> {
        let bind = |address| {
            TcpListener::bind(address).map_err(|error| Problem::Listen {
                address,
                source: Arc::new(error),
            })
        };
        let listener = self.address.map(bind).transpose()?;
        Ok(Arc::new(Guarding {
            timeout: self.timeout,
            listener,
            start: clock::now(),
            asked: Notify::new(),
            state: Mutex::default(),
            answered: Condvar::new(),
            asked_at: AtomicU64::new(0),
            lag: AtomicU64::new(NEVER),
            run: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }))
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

/// What the watchdog and the runtime share.
#[derive(Debug)]
pub(crate) struct Guarding {
    timeout: Duration,
    listener: Option<TcpListener>,
    start: Instant,
    /// Wakes the runtime.
    asked: Notify,
    state: Mutex<State>,
    /// Wakes the watchdog.
    answered: Condvar,
    /// When the runtime was asked for something that it has not done yet, in nanoseconds since the start; 0 if there is nothing.
    asked_at: AtomicU64,
    /// How long it took the last time, in nanoseconds.
    lag: AtomicU64,
    /// The number of the run that there is; 0 if there is none.
    run: AtomicU64,
    runs: AtomicU64,
    /// Whether a thread of it could not be started.
    has_failed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_answered: bool,
    is_closed: bool,
}

const NEVER: u64 = u64::MAX;

impl Guarding {
    /// Answers whenever the runtime comes to it.
    pub(crate) async fn answer(&self) {
        loop {
            self.asked.notified().await;
            self.state().is_answered = true;
            self.answered.notify_all();
        }
    }

    /// Starts the threads, which end when what this returns is dropped.
    pub(crate) fn start(self: &Arc<Self>, respond: Respond) -> Guarded {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        self.run.store(run, Ordering::Relaxed);
        self.state().is_closed = false;
        let guarding = Arc::clone(self);
        let watching = started("campanile-watchdog", move || guarding.watch());
        self.has_failed.store(watching.is_none(), Ordering::Relaxed);
        let (probing, ended) = oneshot::channel();
        if self.listener.is_some() {
            let guarding = Arc::clone(self);
            let answer = move || guarding.answer_probes(&respond, ended);
            if started("campanile-probes", answer).is_none() {
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
        Guarded {
            guarding: Arc::clone(self),
            watching,
            _probing: probing,
        }
    }

    /// Answers probes for as long as this run lasts.
    fn answer_probes(&self, respond: &Respond, ended: oneshot::Receiver<()>) {
        let Some(listener) = &self.listener else {
            return;
        };
        if let Err(error) = probes::serve(listener, respond, ended) {
            tracing::warn!(%error, "failed to start the watchdog's listener");
            self.has_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the port of the listener, unless it can be reached from this machine only.
    pub(crate) fn public_port(&self) -> Option<u16> {
        let address = self.listener.as_ref()?.local_addr().ok()?;
        (!address.ip().to_canonical().is_loopback()).then(|| address.port())
    }

    fn has_ended(&self) -> bool {
        self.run.load(Ordering::Relaxed) == 0
    }

    fn watch(&self) {
        let mut state = self.state();
        while !state.is_closed {
            let asked = clock::now();
            state.is_answered = false;
            self.asked_at
                .store(self.nanoseconds(asked).max(1), Ordering::Relaxed);
            self.asked.notify_one();
            while !state.is_answered && !state.is_closed {
                state = self.wait(state, EVERY);
            }
            let lag = clock::now().saturating_duration_since(asked);
            self.lag.store(nanoseconds(lag), Ordering::Relaxed);
            self.asked_at.store(0, Ordering::Relaxed);
            let next = asked + EVERY;
            while !state.is_closed {
                let left = next.saturating_duration_since(clock::now());
                if left.is_zero() {
                    break;
                }
                state = self.wait(state, left);
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, longest: Duration) -> MutexGuard<'a, State> {
        let waited = self.answered.wait_timeout(state, longest);
        waited.map_or_else(|error| error.into_inner().0, |(state, _)| state)
    }

    /// Returns how long the runtime takes.
    pub(crate) fn lag(&self) -> Option<Duration> {
        if self.has_ended() {
            return None;
        }
        let so_far = match self.asked_at.load(Ordering::Relaxed) {
            0 => 0,
            asked => self.nanoseconds(clock::now()).saturating_sub(asked),
        };
        let last = match self.lag.load(Ordering::Relaxed) {
            NEVER => 0,
            last => last,
        };
        Some(Duration::from_nanos(last.max(so_far)))
    }

    fn is_stuck(&self) -> Option<Duration> {
        let asked = self.asked_at.load(Ordering::Relaxed);
        if asked == 0 || self.has_ended() {
            return None;
        }
        let so_far = self.nanoseconds(clock::now()).saturating_sub(asked);
        Some(Duration::from_nanos(so_far)).filter(|so_far| *so_far > self.timeout)
    }

    pub(crate) fn check(self: &Arc<Self>) -> Check {
        let guarding = Arc::clone(self);
        let find = move || match guarding.is_stuck() {
            _ if guarding.has_failed.load(Ordering::Relaxed) => {
                Outcome::unhealthy("a thread of the watchdog can't be started")
            }
            Some(so_far) => {
                let seconds = so_far.as_secs();
                Outcome::unhealthy(format!("the runtime has been stuck for {seconds} s"))
            }
            None => Outcome::healthy(),
        };
        let check = Check::with("executor", Kind::Immediate(Box::new(find)));
        check.critical().timeout(self.timeout)
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.start))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

fn started(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = Builder::new().name(name.to_owned()).spawn(work);
    thread
        .inspect_err(
            |error| tracing::warn!(%error, name, "a thread of the watchdog can't be started"),
        )
        .ok()
}

/// The threads, while they are there.
pub(crate) struct Guarded {
    guarding: Arc<Guarding>,
    watching: Option<JoinHandle<()>>,
    /// The thread that answers probes ends when this is dropped. It is not joined.
    _probing: oneshot::Sender<()>,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guarding.state().is_closed = true;
        self.guarding.run.store(0, Ordering::Relaxed);
        self.guarding.answered.notify_all();
        if let Some(watching) = self.watching.take() {
            // It waits for nothing else.
            let _ = watching.join();
        }
    }
}

mod probes;

#[cfg(test)]
mod tests;
