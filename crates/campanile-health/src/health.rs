use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::check::Kind;
use crate::group::Resolved;
use crate::phase::Life;
use crate::report::of_service;
use crate::watchdog::Guarding;
use crate::watched::Watched;
use crate::{
    Check, CheckReport, HealthBuilder, Phase, Report, StartupHold, Status, Transition, Transitions,
    clock, transitions,
};

/// A service's checks and what they have found.
///
/// A clone is the same health (an `Arc`).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

pub(crate) struct Inner {
    start: Instant,
    pub(crate) checks: Vec<Watched>,
    pub(crate) groups: Vec<Resolved>,
    pub(crate) life: Life,
    jitter: f64,
    concurrency: usize,
    is_running: AtomicBool,
    /// How many runs there are, those that wait among them, and what wakes one of these.
    runs: AtomicUsize,
    freed: Notify,
    transitions: broadcast::Sender<Transition>,
    transitions_so_far: AtomicU64,
    /// Its number is another one whenever something is not as it was.
    changes: watch::Sender<u64>,
    watchdog: Option<Arc<Guarding>>,
}

/// What a health is built of, once that is known to be valid.
pub(crate) struct Parts {
    pub(crate) checks: Vec<(Check, Vec<usize>)>,
    pub(crate) groups: Vec<Resolved>,
    pub(crate) jitter: f64,
    pub(crate) concurrency: usize,
    pub(crate) watchdog: Option<Arc<Guarding>>,
}

/// How often it is looked whether a result has become too old, or a heartbeat is missing.
const TICK: Duration = Duration::from_millis(500);

/// The limit of time for cancelling calls at the end of a run.
const STOP: Duration = Duration::from_secs(1);

impl Health {
    /// Returns a builder.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::new()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let start = clock::now();
        let watched = |(check, depends_on)| Watched::new(check, depends_on, start);
        Self(Arc::new(Inner {
            start,
            checks: parts.checks.into_iter().map(watched).collect(),
            groups: parts.groups,
            life: Life::default(),
            jitter: parts.jitter,
            concurrency: parts.concurrency,
            is_running: AtomicBool::new(false),
            runs: AtomicUsize::new(0),
            freed: Notify::new(),
            transitions: broadcast::channel(transitions::WAITING).0,
            transitions_so_far: AtomicU64::new(0),
            changes: watch::channel(0).0,
            watchdog: parts.watchdog,
        }))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Runs the checks until `shutdown` completes: each immediately, then once a period, and after a
    /// failure [earlier](Check::retry). After the last run the service has
    /// [stopped](Phase::Stopped). A run after that starts over.
    ///
    /// A check that blocks its thread delays the return by at most 1 s.
    ///
    /// Each has a task of its own, which ends with this future, and at most as many are called at a time as the builder
    /// [says](HealthBuilder::concurrency). Only one call of a check is in progress at a time; for the same reason a second `run`
    /// beside the first waits, and goes on when that ends. The [watchdog](crate::Watchdog)'s threads live as long.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let _run = Run::begin(self);
        loop {
            // Before it is asked, so that no end is missed.
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(_running) = Running::start(&self.0) {
                return self.work(shutdown).await;
            }
            tokio::select! {
                () = shutdown.as_mut() => return,
                () = freed => {}
            }
        }
    }

    async fn work(&self, shutdown: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        let places = Arc::new(Semaphore::new(self.0.concurrency));
        for number in 0..self.0.checks.len() {
            let (inner, places) = (Arc::clone(&self.0), Arc::clone(&places));
            if !inner.checks[number].check.is_alive() {
                tasks.spawn(async move { inner.watch(number, &places).await });
            }
        }
        let inner = Arc::clone(&self.0);
        tasks.spawn(async move { inner.look().await });
        let _guarded = self.0.watchdog.as_ref().map(|watchdog| {
            let guarding = Arc::clone(watchdog);
            tasks.spawn(async move { guarding.answer().await });
            watchdog.start(self)
        });
        shutdown.await;
        // A call that blocks its thread can't be cancelled.
        let _ = timeout(STOP, tasks.shutdown()).await;
    }

    /// Returns how the service is, from what the checks found last; no check runs for it.
    pub fn report(&self) -> Report {
        let now = clock::now();
        let statuses: Vec<_> = self.0.checks.iter().map(|of| of.status(now)).collect();
        let culprits = self.0.culprits(&statuses);
        let known = (&*statuses, &*culprits);
        let checks = self.0.checks.iter().enumerate();
        let checks = checks.map(|(number, watched)| self.0.report(number, watched, known, now));
        let checks: Vec<_> = checks.collect();
        let of_checks = checks
            .iter()
            .map(|check| of_service(check.importance, check.status));
        Report {
            status: of_checks.max().unwrap_or(Status::Healthy),
            checks,
            phase: self.phase(),
            uptime: now.saturating_duration_since(self.0.start),
            is_running: self.0.is_running.load(Ordering::Relaxed),
        }
    }

    /// Returns how the checks of a group are, whatever the [phase](Self::phase); `None` if there is none of this name.
    pub fn group(&self, name: &str) -> Option<Status> {
        let group = self.0.group(name)?;
        Some(self.0.status_of(group, clock::now(), |_| true))
    }

    /// Returns where the service is in its life.
    pub fn phase(&self) -> Phase {
        self.0.phase(clock::now())
    }

    /// Keeps the service [starting](Phase::Starting) until what this returns is dropped: for what has to be done first, such as a
    /// migration. Once it has started this changes nothing.
    pub fn hold_startup(&self) -> StartupHold {
        self.0.life.hold()
    }

    /// Makes the service [draining](Phase::Draining): readiness fails from now on, for good.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Completes when the service starts to drain, or has stopped: for handlers that end long
    /// responses by themselves, such as event streams.
    ///
    /// ```
    /// # async fn send(_: u32) {}
    /// # async fn example(health: campanile_health::Health, mut events: tokio::sync::mpsc::Receiver<u32>) {
    /// let draining = health.draining();
    /// tokio::pin!(draining);
    /// loop {
    ///     tokio::select! {
    ///         () = &mut draining => break,
    ///         Some(event) = events.recv() => send(event).await,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let health = self.clone();
        async move {
            let mut changes = health.0.changes.subscribe();
            // The sender lives as long as the health.
            while health.0.life.phase() < Phase::Draining && changes.changed().await.is_ok() {}
        }
    }

    /// Waits for `signal`, [drains](Self::drain), and waits until whoever balances the load has noticed: for axum's
    /// `with_graceful_shutdown`, tonic's `serve_with_shutdown`, or before hyper's `graceful_shutdown`.
    ///
    /// Kubernetes takes some seconds to notice; 5 s are usual. [`drain_on_signals`](Self::drain_on_signals) waits for the process's signals.
    ///
    /// ```no_run
    /// # async fn serve(health: campanile_health::Health, signal: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// let app = axum::Router::new();
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    /// let drained = async move { health.drain_after(signal, Duration::from_secs(5)).await };
    /// axum::serve(listener, app).with_graceful_shutdown(drained).await
    /// # }
    /// ```
    pub async fn drain_after(&self, signal: impl Future<Output = ()>, delay: Duration) {
        signal.await;
        self.drain();
        tokio::time::sleep(delay).await;
    }

    /// Waits for SIGTERM or SIGINT, [drains](Self::drain), and waits for that long, or for a second signal.
    ///
    /// # Errors
    ///
    /// If the handlers of the signals can't be registered.
    #[cfg(unix)]
    pub async fn drain_on_signals(&self, delay: Duration) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut signal = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signal().await;
        self.drain();
        let _ = timeout(delay, signal()).await;
        Ok(())
    }

    /// Returns what becomes of the checks from now on. It is only known while [`run`](Self::run) is running.
    pub fn transitions(&self) -> Transitions {
        Transitions::new(self.0.transitions.subscribe())
    }

    /// Returns how many [transitions](Self::transitions) there were.
    pub fn transitions_so_far(&self) -> u64 {
        self.0.transitions_so_far.load(Ordering::Relaxed)
    }

    /// Returns what changes whenever a check or the phase is not as it was.
    #[cfg_attr(
        not(feature = "tonic"),
        expect(dead_code, reason = "gRPC's `Watch` waits for it")
    )]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Has a check called now, and not only when it is due: once for all who ask before it begins. Returns whether there is one of this name.
    pub fn hurry(&self, check: &str) -> bool {
        let found = self.0.checks.iter().find(|of| &*of.name == check);
        found.map(|of| of.hurry.notify_one()).is_some()
    }

    /// Returns how long the runtime takes to come to something new, if there is a [watchdog](crate::Watchdog) and [`run`](Self::run) is
    /// running: the last measurement, or how long one has taken so far if that is longer.
    pub fn executor_lag(&self) -> Option<Duration> {
        self.0.watchdog.as_ref()?.lag()
    }

    pub(crate) fn watchdog_port(&self) -> Option<u16> {
        self.0.watchdog.as_ref()?.public_port()
    }

    fn advance(&self, phase: Phase) {
        if self.0.life.advance(phase) {
            tracing::info!(phase = phase.as_str(), "the service's phase");
            self.0.changes.send_modify(|number| *number += 1);
        }
    }
}

impl Inner {
    /// Returns a group by its name, or one of the other spellings.
    pub(crate) fn group(&self, name: &str) -> Option<&Resolved> {
        let name = match name {
            "ready" => "readiness",
            "live" => "liveness",
            name => name,
        };
        self.groups.iter().find(|group| group.name == name)
    }

    /// Returns what a group's checks make of it, as far as they are counted.
    pub(crate) fn status_of(
        &self,
        group: &Resolved,
        now: Instant,
        is_counted: impl Fn(&Watched) -> bool,
    ) -> Status {
        let members = group.members.iter().map(|&number| &self.checks[number]);
        let members = members.filter(|watched| is_counted(watched));
        let statuses = members.map(|of| of_service(of.check.importance, of.status(now)));
        statuses.max().unwrap_or(Status::Healthy)
    }

    pub(crate) fn phase(&self, now: Instant) -> Phase {
        if self.life.phase() == Phase::Starting && !self.life.is_held() {
            let startup = self.group("startup");
            let is_well = startup
                .is_none_or(|group| self.status_of(group, now, |_| true) != Status::Unhealthy);
            if is_well && self.life.advance(Phase::Ready) {
                tracing::info!(phase = Phase::Ready.as_str(), "the service's phase");
                self.changes.send_modify(|number| *number += 1);
            }
        }
        self.life.phase()
    }

    /// Calls a check again and again.
    async fn watch(&self, number: usize, places: &Semaphore) {
        let watched = &self.checks[number];
        loop {
            // A call that could not be ended has it still.
            let place = Arc::clone(&watched.place).lock_owned().await;
            let begun = {
                // It is never closed.
                let _one_of_so_many = places.acquire().await;
                // Whoever has asked for a call so far gets this one.
                pin!(watched.hurry.notified()).enable();
                let begun = clock::now();
                let outcome = watched.check.run(place).await;
                let now = clock::now();
                let duration = now.saturating_duration_since(begun);
                watched.note(outcome, duration, now, clock::wall());
                self.tell(watched, now);
                begun
            };
            let delay = watched.delay();
            let later = delay.mul_f64(self.jitter * fastrand::f64());
            let next = begun.checked_add(delay.saturating_add(later));
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = watched.hurry.notified() => {}
            }
        }
    }

    /// Looks at what changes by itself, with the time.
    async fn look(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            for watched in &self.checks {
                self.tell(watched, now);
            }
            self.phase(now);
        }
    }

    /// Tells of a check that is not as it was.
    fn tell(&self, watched: &Watched, now: Instant) {
        let mut told = None;
        watched.if_changed(now, |from, to| {
            let last = watched.last();
            let reason = match to {
                Status::Unknown => Some("there is no result any more".to_owned()),
                _ => last.and_then(|last| last.outcome.message),
            };
            let transition = Transition {
                check: Arc::clone(&watched.name),
                importance: watched.check.importance,
                from,
                to,
                reason: reason.map(Arc::from),
                at: clock::wall(),
            };
            self.transitions_so_far.fetch_add(1, Ordering::Relaxed);
            // Nobody may listen.
            let _ = self.transitions.send(transition.clone());
            told = Some(transition);
        });
        let Some(Transition {
            check,
            from,
            to,
            reason,
            ..
        }) = told
        else {
            return;
        };
        let error = reason.as_deref().unwrap_or_default();
        match to {
            Status::Healthy if from == Status::Unknown => {}
            Status::Healthy => tracing::info!(check = &*check, "a health check is well again"),
            Status::Degraded | Status::Unknown | Status::Unhealthy => {
                let status = to.as_str();
                tracing::warn!(check = &*check, status, error, "a health check fails");
            }
        }
        self.changes.send_modify(|number| *number += 1);
        self.phase(now);
    }

    pub(crate) fn report(
        &self,
        number: usize,
        watched: &Watched,
        (statuses, culprits): (&[Status], &[bool]),
        now: Instant,
    ) -> CheckReport {
        let last = watched.last();
        let outcome = last.as_ref().map(|last| &last.outcome);
        let is_known = matches!(watched.check.kind, Kind::Known(_));
        CheckReport {
            name: Arc::clone(&watched.name),
            importance: watched.check.importance,
            status: statuses[number],
            works: watched.works(now),
            message: outcome.and_then(|outcome| outcome.message.clone()),
            is_error: outcome.is_some_and(|outcome| !outcome.is_healthy()),
            details: outcome.map_or_else(Vec::new, |outcome| outcome.details.clone()),
            duration: last
                .as_ref()
                .filter(|_| !is_known)
                .map(|last| last.duration),
            age: last.as_ref().map(|_| match is_known {
                true => Duration::ZERO,
                false => watched.age(now),
            }),
            at: last.map(|last| last.wall),
            impaired_by: self.to_blame(number, statuses, culprits),
        }
    }

    /// Returns for each check whether it is to blame: it is not healthy, and all that it depends on is.
    pub(crate) fn culprits(&self, statuses: &[Status]) -> Vec<bool> {
        let is_down = |number: usize| statuses[number] != Status::Healthy;
        // Whether anything below is down, once that is known. No check is below itself.
        let mut below = vec![None; statuses.len()];
        for start in 0..statuses.len() {
            let mut open = vec![start];
            while let Some(&number) = open.last() {
                let mut has_down = false;
                let mut unknown = None;
                for &next in &self.checks[number].depends_on {
                    match below[next] {
                        Some(more) => has_down |= more || is_down(next),
                        None => unknown = Some(next),
                    }
                }
                match unknown.filter(|_| below[number].is_none()) {
                    Some(next) => open.push(next),
                    None => {
                        below[number] = Some(has_down);
                        open.pop();
                    }
                }
            }
        }
        let below = below.into_iter().enumerate();
        let all = below.map(|(number, below)| is_down(number) && below != Some(true));
        all.collect()
    }

    /// Returns the checks that a failed one depends on, directly or not, and that are to blame.
    fn to_blame(&self, number: usize, statuses: &[Status], culprits: &[bool]) -> Vec<Arc<str>> {
        if statuses[number] == Status::Healthy || culprits[number] {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut open = self.checks[number].depends_on.clone();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(&self.checks[next].depends_on);
            }
        }
        let found = seen.into_iter().filter(|&number| culprits[number]);
        found
            .map(|number| Arc::clone(&self.checks[number].name))
            .collect()
    }
}

/// A run, be it one that waits.
struct Run<'a>(&'a Health);

impl<'a> Run<'a> {
    fn begin(health: &'a Health) -> Self {
        let is_first = health.0.runs.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && health.0.life.restart() {
            health.0.changes.send_modify(|number| *number += 1);
        }
        Self(health)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.0.0.runs.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.advance(Phase::Stopped);
        }
    }
}

/// The mark of the one run that works.
struct Running<'a>(&'a Inner);

impl<'a> Running<'a> {
    fn start(inner: &'a Inner) -> Option<Self> {
        let was_running = inner.is_running.swap(true, Ordering::Relaxed);
        (!was_running).then(|| Self(inner))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("checks", &self.0.checks.len())
            .field("phase", &self.0.life.phase())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
