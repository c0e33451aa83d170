//! Feeds the service levels with the health and the metrics, and stores their counts and decisions.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_health::{CheckReport, Importance, Status};
use campanile_series::Now;
use campanile_sla::{
    AdjustError, Adjustment, GaugeRecorder, Lint, MaintenanceWindow, RestoreError, ServiceLevels,
    UptimeRecorder,
};
use campanile_store::{Batch, Store, StoreError};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use self::stored::{Stored, TooLarge};
use crate::selector::Selector;
use crate::{Problem, Sources, response};

mod body;
mod csv;
mod html;
mod stored;

pub(crate) use self::body::{SlaBody, SloBody};
pub(crate) use self::csv::csv;
pub(crate) use self::html::html;

/// Feeds the service levels, and stores their counts.
pub(crate) struct SloDriver {
    sources: Sources,
    gauges: Vec<(Selector, GaugeRecorder)>,
    /// Of one check, or of the service.
    uptimes: Vec<(Option<String>, UptimeRecorder)>,
    /// Whether the stored counts were read: until then nothing overwrites them.
    is_restored: AtomicBool,
    /// The counts in the store. Its lock is held over a commit, so that changes are always those of the stored snapshot.
    stored: tokio::sync::Mutex<Stored>,
    /// The decisions that are not in the journal yet.
    entries: Mutex<Vec<String>>,
    /// The number of steps of the clock.
    clock_steps: AtomicU64,
    /// The number of times that the process stood still.
    stalls: AtomicU64,
    /// The number of failed writes to the store.
    store_failures: AtomicU64,
    /// The number of decisions that were dropped before they were in the journal.
    store_dropped: AtomicU64,
    /// The SLOs of which a lint was logged.
    logged: Mutex<BTreeSet<String>>,
}

/// The limit of decisions that wait for the journal.
const MAX_ENTRIES: usize = 1_000;

/// The counter of the SLOs' events.
const EVENTS: &str = "campanile_slo_events_total";
/// The metric of steps of the clock.
const CLOCK_STEPS: &str = "campanile_clock_steps_total";
/// The metric of how often the process stood still.
const STALLS: &str = "campanile_stalls_total";
/// The interval between looks at the health and the time. They don't wait for the store, unlike the ticks.
const LOOK: Duration = Duration::from_secs(5);

impl SloDriver {
    pub(crate) fn new(sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let sla = sources.sla();
        for lint in sla.lints() {
            tracing::warn!("{lint}");
        }
        let mut gauges = Vec::new();
        for (slo, series) in sla.series() {
            let selector = Selector::parse(series).and_then(|(selector, rest)| match rest {
                "" => Ok(selector),
                rest => Err(format!("unexpected {rest:?} after the selector")),
            });
            match (selector, sla.gauge_recorder(slo)) {
                (Ok(selector), Ok(gauge)) => gauges.push((selector, gauge)),
                (Err(reason), _) => problems.push(Problem::Series {
                    slo: slo.to_owned(),
                    series: series.to_owned(),
                    reason,
                }),
                // Only gauges have series.
                (_, Err(_)) => {}
            }
        }
        let mut uptimes = Vec::new();
        let report = sources.health().report();
        for (slo, check) in sla.uptimes() {
            let is_check = |name: &str| report.checks.iter().any(|check| *check.name == *name);
            if let Some(check) = check.filter(|check| !is_check(check)) {
                let known = report.checks.iter().map(|check| check.name.to_string());
                problems.push(Problem::Check {
                    slo: slo.to_owned(),
                    check: check.to_owned(),
                    known: known.collect(),
                });
            }
            if let Ok(uptime) = sla.uptime_recorder(slo) {
                uptimes.push((check.map(str::to_owned), uptime));
            }
        }
        for (name, help) in [
            (EVENTS, "SLO events by result."),
            (
                CLOCK_STEPS,
                "Detected steps of the wall clock and suspends of the machine.",
            ),
            (STALLS, "Pauses of the process of more than 30 s."),
        ] {
            sources.metrics().describe(name, help);
        }
        Self {
            sources: sources.clone(),
            gauges,
            uptimes,
            is_restored: AtomicBool::new(false),
            stored: tokio::sync::Mutex::default(),
            entries: Mutex::default(),
            clock_steps: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            store_dropped: AtomicU64::new(0),
            logged: Mutex::default(),
        }
    }

    /// Feeds the SLOs, updates their state, and publishes their counts.
    pub(crate) fn tick(&self, now: Now) {
        for (selector, gauge) in &self.gauges {
            match selector.samples(self.sources.metrics()) {
                Ok(samples) if !samples.is_empty() => {
                    let sum = samples.iter().map(|sample| sample.value).sum();
                    gauge.observe_at(sum, now.mono);
                }
                // A gauge that is not set yet has no value.
                _ => {}
            }
        }
        self.look_at_health(now);
        self.sources.sla().tick(now);
        let steps = self.sources.sla().clock_steps();
        if self.clock_steps.swap(steps, Ordering::Relaxed) < steps {
            tracing::warn!(steps, "the clock was set, or the machine was suspended");
        }
        let stalls = self.sources.sla().stalls();
        if self.stalls.swap(stalls, Ordering::Relaxed) < stalls {
            tracing::warn!(stalls, "process was paused or blocked for more than 30 s");
        }
        // A host that has a name for something else keeps it.
        for (name, count) in [(CLOCK_STEPS, steps), (STALLS, stalls)] {
            if let Ok(counter) = self.sources.metrics().counter(name, &[]) {
                counter.absolute(count);
            }
        }
        for lint in self.sources.sla().lints() {
            self.warn_of_routes(&lint);
        }
        for (slo, total) in self.sources.sla().totals_at(now) {
            for (result, count) in [("good", total.good()), ("bad", total.bad())] {
                let labels = [("slo", slo), ("result", result)];
                if let Ok(counter) = self.sources.metrics().counter(EVENTS, &labels) {
                    counter.absolute(count);
                }
            }
        }
    }

    /// Logs once per SLO that its routes are unmatched, or that events were ignored.
    fn warn_of_routes(&self, lint: &Lint) {
        let (Lint::UnmatchedRoute { slo, .. } | Lint::IgnoredEvents { slo }) = lint else {
            return;
        };
        let logged = self.logged.lock();
        let mut logged = logged.unwrap_or_else(PoisonError::into_inner);
        if logged.insert(slo.clone()) {
            tracing::warn!("{lint}");
        }
    }

    /// Feeds uptimes with each change of the health, and advances the time even while ticks wait for the store.
    pub(crate) async fn follow_health(&self, stop: impl Future<Output = ()>) {
        let follow = async {
            let mut transitions = self.sources.health().transitions();
            while transitions.next().await.is_some() {
                self.look_at_health(crate::clock::now());
            }
            std::future::pending().await
        };
        let look = async {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let now = crate::clock::now();
                self.look_at_health(now);
                self.sources.sla().tick(now);
            }
        };
        tokio::select! {
            () = stop => {}
            () = follow => {}
            () = look => {}
        }
    }

    fn look_at_health(&self, now: Now) {
        if self.uptimes.is_empty() {
            return;
        }
        let report = self.sources.health().report();
        let is_critical = |check: &&CheckReport| check.importance == Importance::Critical;
        let mut critical = report.checks.iter().filter(is_critical);
        let has_failed = |check: &CheckReport| works(check) == Some(false);
        let of_service = match report.status {
            Status::Healthy | Status::Degraded => Some(true),
            // Before the critical checks have run, the service only seems to be down.
            Status::Unhealthy | Status::Unknown => critical.any(has_failed).then_some(false),
        };
        for (check, uptime) in &self.uptimes {
            let up = match check {
                None => of_service,
                Some(name) => {
                    let mut checks = report.checks.iter();
                    let check = checks.find(|check| *check.name == **name);
                    check.and_then(works)
                }
            };
            uptime.set_at(up, now.mono);
        }
    }

    /// Writes the counts and the waiting decisions to the store. Counts are not written before the stored ones were read.
    pub(crate) async fn write(&self, store: &dyn Store, now: Now) {
        if !self.is_restored.load(Ordering::Acquire) {
            self.restore(store, now).await;
        }
        let mut batch = Batch::new();
        let entries = std::mem::take(&mut *self.entries());
        for entry in &entries {
            batch.append(entry.as_str());
        }
        if let Err(error) = self.commit(store, batch, now).await {
            tracing::error!(%error, "failed to write the service levels' counts");
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            let mut waiting = self.entries();
            waiting.splice(0..0, entries);
            let excess = waiting.len().saturating_sub(MAX_ENTRIES);
            waiting.truncate(MAX_ENTRIES);
            self.store_dropped
                .fetch_add(excess as u64, Ordering::Relaxed);
        }
    }

    /// Writes as [`write`](Self::write) does, but all counts and not their changes: an older version can read a snapshot only.
    pub(crate) async fn write_all(&self, store: &dyn Store, now: Now) {
        self.stored.lock().await.forget();
        self.write(store, now).await;
    }

    /// Commits a batch together with the counts. Those from before are only replaced once they were read.
    async fn commit(
        &self,
        store: &dyn Store,
        mut batch: Batch,
        now: Now,
    ) -> Result<(), StoreError> {
        if !self.is_restored.load(Ordering::Acquire) {
            return store.commit(batch).await;
        }
        let mut stored = self.stored.lock().await;
        let sla = self.sources.sla();
        let mut written = put(&mut stored, &mut batch, sla, now).await;
        // Counts that no SLO uses must not prevent the others from being written.
        if written.is_err() && sla.discard_unused_counts() {
            tracing::warn!("dropped stored counts that no SLO uses: too many counts to store");
            written = put(&mut stored, &mut batch, sla, now).await;
        }
        if let Err(TooLarge { bytes }) = written {
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(bytes, "too many counts to store: expected fewer routes");
        }
        let committed = store.commit(batch).await;
        stored.committed(committed.is_ok());
        committed
    }

    /// Takes up the counts from before. What can't be read is set aside; what the store doesn't give is asked for again before anything is
    /// written.
    ///
    /// Counts are taken up once, however often it runs.
    pub(crate) async fn restore(&self, store: &dyn Store, now: Now) {
        if self.is_restored.load(Ordering::Acquire) {
            return;
        }
        let read = match stored::read(store).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "the service levels' counts from before can't be read yet");
                self.store_failures.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let mut aside = Batch::new();
        if let Some(changes) = read.unreadable {
            stored::keep_changes(&mut aside, changes);
        }
        if let Some(snapshot) = read.snapshot {
            match self.sources.sla().restore_at(&snapshot, now) {
                Ok(()) => {
                    tracing::info!("the service levels' counts from before were taken up");
                    let unused = self.sources.sla().unused_counts();
                    if !unused.is_empty() {
                        tracing::info!(
                            ?unused,
                            "retaining stored counts that no SLO uses for 93 days"
                        );
                    }
                }
                // By another run at the same time, or by the application itself.
                Err(RestoreError::Duplicate) => {
                    tracing::info!("service levels were restored before; stored counts not added");
                }
                Err(error) => {
                    tracing::error!(
                        %error,
                        kept = stored::ASIDE,
                        "the service levels' counts from before are not readable: they are set aside"
                    );
                    stored::keep_snapshot(&mut aside, &snapshot);
                }
            }
        }
        if !aside.is_empty()
            && let Err(error) = store.commit(aside).await
        {
            tracing::error!(%error, "failed to set aside stored counts that can't be read");
            return;
        }
        self.is_restored.store(true, Ordering::Release);
    }

    pub(crate) async fn exclude_failures(
        &self,
        store: &dyn Store,
        slo: &str,
        adjustment: Adjustment,
        now: Now,
    ) -> Result<(), DecisionError> {
        let entry = json!({
            "at": response::timestamp(now.wall),
            "event": "failures_excluded",
            "slo": slo,
            "of": response::timestamp(adjustment.at),
            "bad": adjustment.bad,
            "reason": adjustment.reason,
            "author": adjustment.author,
        });
        self.sources
            .sla()
            .exclude_failures_at(slo, adjustment, now)?;
        self.keep(store, &entry, now).await
    }

    pub(crate) async fn schedule_maintenance(
        &self,
        store: &dyn Store,
        maintenance: MaintenanceWindow,
        now: Now,
    ) -> Result<(), DecisionError> {
        let entry = json!({
            "at": response::timestamp(now.wall),
            "event": "maintenance_scheduled",
            "from": response::timestamp(maintenance.from),
            "until": response::timestamp(maintenance.until),
            "reason": maintenance.reason,
            "author": maintenance.author,
        });
        self.sources
            .sla()
            .schedule_maintenance_at(maintenance, now)?;
        self.keep(store, &entry, now).await
    }

    /// Returns whether there was a maintenance to end.
    pub(crate) async fn end_maintenance(
        &self,
        store: &dyn Store,
        author: &str,
        now: Now,
    ) -> Result<bool, DecisionError> {
        if !self.sources.sla().end_maintenance_at(now) {
            return Ok(false);
        }
        let entry = json!({
            "at": response::timestamp(now.wall),
            "event": "maintenance_ended",
            "author": author.chars().take(128).collect::<String>(),
        });
        self.keep(store, &entry, now).await.map(|()| true)
    }

    /// Writes a decision down, with the counts that have it.
    async fn keep(&self, store: &dyn Store, entry: &Value, now: Now) -> Result<(), DecisionError> {
        let entry = entry.to_string();
        let mut batch = Batch::new();
        batch.append(entry.as_str());
        self.commit(store, batch, now).await.map_err(|error| {
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            let mut entries = self.entries();
            if entries.len() < MAX_ENTRIES {
                entries.push(entry);
            } else {
                self.store_dropped.fetch_add(1, Ordering::Relaxed);
            }
            DecisionError::Store(error)
        })
    }

    /// Returns the number of writes that the store did not take.
    pub(crate) fn store_failures(&self) -> u64 {
        self.store_failures.load(Ordering::Relaxed)
    }

    /// Returns the number of decisions that were dropped before they were in the journal.
    pub(crate) fn store_dropped(&self) -> u64 {
        self.store_dropped.load(Ordering::Relaxed)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<String>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the counts into a batch, on a thread for blocking work if that takes long.
async fn put(
    stored: &mut Stored,
    batch: &mut Batch,
    sla: &ServiceLevels,
    now: Now,
) -> Result<(), TooLarge> {
    if !stored.is_large() {
        return stored.put(batch, sla, now);
    }
    let (mut moved, sla_of_work) = (std::mem::take(stored), sla.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut counts = Batch::new();
        let written = moved.put(&mut counts, &sla_of_work, now);
        (moved, counts, written)
    });
    let Ok((moved, counts, written)) = work.await else {
        // Nothing is known of the stored snapshot, and a new one needs no comparison.
        return stored.put(batch, sla, now);
    };
    *stored = moved;
    batch.extend(counts);
    written
}

/// Returns whether what a check is about works; `None` if it has never run. A check that hangs is as good as failed once its last result is
/// stale.
fn works(check: &CheckReport) -> Option<bool> {
    check.works.or(check.at.map(|_| false))
}

/// A decision about service levels was not applied, or not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// The decision is not valid; nothing has changed.
    #[error(transparent)]
    Adjust(#[from] AdjustError),
    /// The store failed. The decision is applied, and stored with the next counts.
    #[error("applied but not yet persisted")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
