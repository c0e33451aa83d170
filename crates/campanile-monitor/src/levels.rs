//! What the service levels need of others: the health, the metrics, and a place to survive in.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_health::{CheckReport, Importance, Status};
use campanile_series::Now;
use campanile_sla::{AdjustError, Adjustment, Lint, Maintenance, RestoreError, Slices, Uptime};
use campanile_store::{Batch, Store, StoreError};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::selector::Selector;
use crate::{Problem, Sources, bodies};

mod body;
mod csv;
mod html;

pub(crate) use self::body::{ObjectiveBody, SlaBody};
pub(crate) use self::csv::csv;
pub(crate) use self::html::html;

/// The service levels, with what feeds them and keeps them.
pub(crate) struct ServiceLevels {
    sources: Sources,
    gauges: Vec<(Selector, Slices)>,
    /// Of one check, or of the service.
    uptimes: Vec<(Option<String>, Uptime)>,
    /// Whether what there was before is known: until then nothing is written over it.
    is_restored: AtomicBool,
    /// What was decided and is not in the journal yet.
    entries: Mutex<Vec<String>>,
    /// How often the clock was found elsewhere.
    clock_steps: AtomicU64,
    /// The number of times that the process stood still.
    stalls: AtomicU64,
    /// Writes that the store did not take.
    store_failures: AtomicU64,
    /// Decisions that the journal will never have.
    store_dropped: AtomicU64,
    /// The objectives whose routes were logged as unmatched.
    unmatched: Mutex<BTreeSet<String>>,
}

/// Where the store has the counts: their parts by number.
const TABLE: &str = "sla";
/// What the keys of the parts begin with.
const PART: &str = "windows/";
/// How long a part is: a store takes 1 MiB.
const PART_LEN: usize = 512 * 1_024;
/// The most parts; with the other changes of a batch they are below what it takes.
const MAX_PARTS: usize = 30;
/// What the keys of parts that can't be read begin with.
const ASIDE: &str = "unreadable/";
/// The most decisions that wait for the journal.
const MAX_ENTRIES: usize = 1_000;

/// The metric of what objectives count.
const EVENTS: &str = "campanile_slo_events_total";
/// The metric of how often the clock was found elsewhere.
const CLOCK_STEPS: &str = "campanile_clock_steps_total";
/// The metric of how often the process stood still.
const STALLS: &str = "campanile_stalls_total";
/// The interval between looks at the health and the time. They don't wait for the store, unlike the ticks.
const LOOK: Duration = Duration::from_secs(5);

impl ServiceLevels {
    pub(crate) fn new(sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let sla = sources.sla();
        for lint in sla.lints() {
            tracing::warn!("{lint}");
        }
        let mut gauges = Vec::new();
        for (objective, series) in sla.series() {
            let selector = Selector::parse(series).and_then(|(selector, rest)| match rest {
                "" => Ok(selector),
                rest => Err(format!("there is {rest:?} after it")),
            });
            match (selector, sla.slices(objective)) {
                (Ok(selector), Ok(slices)) => gauges.push((selector, slices)),
                (Err(reason), _) => problems.push(Problem::Series {
                    objective: objective.to_owned(),
                    series: series.to_owned(),
                    reason,
                }),
                // Only gauges have series.
                (_, Err(_)) => {}
            }
        }
        let mut uptimes = Vec::new();
        let report = sources.health().report();
        for (objective, check) in sla.uptimes() {
            let is_check = |name: &str| report.checks.iter().any(|check| *check.name == *name);
            if let Some(check) = check.filter(|check| !is_check(check)) {
                let known = report.checks.iter().map(|check| check.name.to_string());
                problems.push(Problem::Check {
                    objective: objective.to_owned(),
                    check: check.to_owned(),
                    known: known.collect(),
                });
            }
            if let Ok(uptime) = sla.uptime(objective) {
                uptimes.push((check.map(str::to_owned), uptime));
            }
        }
        for (name, help) in [
            (EVENTS, "What objectives count, by result."),
            (
                CLOCK_STEPS,
                "How often the wall clock was set, or the machine suspended.",
            ),
            (
                STALLS,
                "How often the process stood still for more than 30 s.",
            ),
        ] {
            sources.metrics().describe(name, help);
        }
        Self {
            sources: sources.clone(),
            gauges,
            uptimes,
            is_restored: AtomicBool::new(false),
            entries: Mutex::default(),
            clock_steps: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            store_dropped: AtomicU64::new(0),
            unmatched: Mutex::default(),
        }
    }

    /// Reads what is to be counted, takes note of how the objectives stand, and publishes what they count.
    pub(crate) fn tick(&self, now: Now) {
        for (selector, slices) in &self.gauges {
            match selector.samples(self.sources.metrics()) {
                Ok(samples) if !samples.is_empty() => {
                    let sum = samples.iter().map(|sample| sample.value).sum();
                    slices.observe(sum, now.mono);
                }
                // A gauge that is not set yet has no value.
                _ => {}
            }
        }
        self.look_at_health(now);
        self.sources.sla().advance(now);
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
        for (objective, total) in self.sources.sla().totals(now) {
            for (result, count) in [("good", total.good()), ("bad", total.bad())] {
                let labels = [("slo", objective), ("result", result)];
                if let Ok(counter) = self.sources.metrics().counter(EVENTS, &labels) {
                    counter.absolute(count);
                }
            }
        }
    }

    /// Logs once for each objective that no request matches its routes.
    fn warn_of_routes(&self, lint: &Lint) {
        let Lint::UnmatchedRoute { objective, .. } = lint else {
            return;
        };
        let logged = self.unmatched.lock();
        let mut logged = logged.unwrap_or_else(PoisonError::into_inner);
        if logged.insert(objective.clone()) {
            tracing::warn!("{lint}");
        }
    }

    /// Takes note of each change of the health when it comes, and of the time while ticks wait for the store.
    pub(crate) async fn follow_health(&self, stop: impl Future<Output = ()>) {
        let follow = async {
            let mut transitions = self.sources.health().transitions();
            while transitions.next().await.is_some() {
                self.look_at_health(crate::monitor::now());
            }
            std::future::pending().await
        };
        let look = async {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let now = crate::monitor::now();
                self.look_at_health(now);
                self.sources.sla().advance(now);
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
            uptime.set(up, now.mono);
        }
    }

    /// Writes the counts down, and what was decided but could not be; unless it is not known yet what is there.
    pub(crate) async fn write(&self, store: &dyn Store, now: Now) {
        if !self.is_restored.load(Ordering::Acquire) {
            self.restore(store, now).await;
        }
        let mut batch = Batch::new();
        let entries = std::mem::take(&mut *self.entries());
        for entry in &entries {
            batch.append(entry.as_str());
        }
        self.put_counts(&mut batch, now);
        if let Err(error) = store.commit(batch).await {
            tracing::error!(%error, "the service levels' counts can't be written down");
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            let mut waiting = self.entries();
            waiting.splice(0..0, entries);
            let excess = waiting.len().saturating_sub(MAX_ENTRIES);
            waiting.truncate(MAX_ENTRIES);
            self.store_dropped
                .fetch_add(excess as u64, Ordering::Relaxed);
        }
    }

    /// Puts the counts in, in parts, of which each says how many there are. Those from before are only replaced once they were taken up.
    fn put_counts(&self, batch: &mut Batch, now: Now) {
        if !self.is_restored.load(Ordering::Acquire) {
            return;
        }
        let snapshot = self.sources.sla().snapshot(now);
        let parts: Vec<_> = snapshot.chunks(PART_LEN).collect();
        if parts.len() > MAX_PARTS {
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                bytes = snapshot.len(),
                "there is more to count than can be written down: ask for fewer routes"
            );
            return;
        }
        for (number, part) in parts.iter().enumerate() {
            // No more parts than a byte can tell.
            let mut value = vec![parts.len() as u8];
            value.extend(*part);
            batch.put(TABLE, format!("{PART}{number:03}"), value);
        }
    }

    /// Takes up the counts from before. What can't be read is set aside; what the store doesn't give is asked for again before anything is
    /// written.
    ///
    /// Counts are taken up once, however often it runs.
    pub(crate) async fn restore(&self, store: &dyn Store, now: Now) {
        if self.is_restored.load(Ordering::Acquire) {
            return;
        }
        let snapshot = match read(store, PART).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(%error, "the service levels' counts from before can't be read yet");
                self.store_failures.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        if let Some(snapshot) = snapshot {
            match self.sources.sla().restore(&snapshot, now) {
                Ok(()) => {
                    tracing::info!("the service levels' counts from before were taken up");
                    let unused = self.sources.sla().unused_counts();
                    if !unused.is_empty() {
                        tracing::info!(?unused, "stored counts of no objective are kept 93 days");
                    }
                }
                // By another run at the same time, or by the application itself.
                Err(RestoreError::Duplicate) => {
                    tracing::info!("service levels were restored before; stored counts not added");
                }
                Err(error) => {
                    tracing::error!(
                        %error,
                        kept = ASIDE,
                        "the service levels' counts from before are not readable: they are set aside"
                    );
                    let mut batch = Batch::new();
                    for (number, part) in snapshot.chunks(PART_LEN).enumerate() {
                        batch.put(TABLE, format!("{ASIDE}{number:03}"), part);
                    }
                    if let Err(error) = store.commit(batch).await {
                        tracing::error!(%error, "they can't be set aside yet");
                        return;
                    }
                }
            }
        }
        self.is_restored.store(true, Ordering::Release);
    }

    pub(crate) async fn adjust(
        &self,
        store: &dyn Store,
        objective: &str,
        adjustment: Adjustment,
        now: Now,
    ) -> Result<(), DecisionError> {
        let entry = json!({
            "at": bodies::moment(now.wall),
            "event": "budget_adjusted",
            "objective": objective,
            "of": bodies::moment(adjustment.at),
            "bad": adjustment.bad,
            "reason": adjustment.reason,
            "author": adjustment.author,
        });
        self.sources.sla().adjust(objective, adjustment, now)?;
        self.keep(store, &entry, now).await
    }

    pub(crate) async fn maintain(
        &self,
        store: &dyn Store,
        maintenance: Maintenance,
        now: Now,
    ) -> Result<(), DecisionError> {
        let entry = json!({
            "at": bodies::moment(now.wall),
            "event": "maintenance_planned",
            "from": bodies::moment(maintenance.from),
            "until": bodies::moment(maintenance.until),
            "reason": maintenance.reason,
            "author": maintenance.author,
        });
        self.sources.sla().maintain(maintenance, now)?;
        self.keep(store, &entry, now).await
    }

    /// Returns whether there was a maintenance to end.
    pub(crate) async fn end_maintenance(
        &self,
        store: &dyn Store,
        author: &str,
        now: Now,
    ) -> Result<bool, DecisionError> {
        if !self.sources.sla().end_maintenance(now) {
            return Ok(false);
        }
        let entry = json!({
            "at": bodies::moment(now.wall),
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
        self.put_counts(&mut batch, now);
        store.commit(batch).await.map_err(|error| {
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

/// Returns whether what a check is about works; `None` if it has never run. A check that hangs is as good as failed once its last result is
/// stale.
fn works(check: &CheckReport) -> Option<bool> {
    check.works.or(check.at.map(|_| false))
}

/// Returns the counts that were written down, if any were.
async fn read(store: &dyn Store, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut snapshot = Vec::new();
    let mut number = 0;
    loop {
        let Some(value) = store.get(TABLE, &format!("{key}{number:03}")).await? else {
            return Ok(Some(snapshot).filter(|_| number > 0));
        };
        let Some((parts, part)) = value.split_first() else {
            return Ok(Some(snapshot));
        };
        snapshot.extend(part);
        number += 1;
        if number >= *parts {
            return Ok(Some(snapshot));
        }
    }
}

/// A decision about service levels was not taken, or not written down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// It is not valid: nothing has changed.
    #[error(transparent)]
    Adjust(#[from] AdjustError),
    /// The store didn't take it: it holds, and is written down with the next counts.
    #[error("the decision holds, but can't be written down yet")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
