//! Feeds the SLOs with the health and the metrics, and publishes their counts.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_health::{CheckReport, Importance, Status};
use campanile_series::Now;
use campanile_sla::{GaugeRecorder, Lint, UptimeRecorder};
use tokio::time::{MissedTickBehavior, interval};

use self::stored::Stored;
use crate::error::Problem;
use crate::selector::Selector;
use crate::sources::Sources;

mod body;
mod csv;
mod decisions;
mod html;
mod persist;
mod stored;

pub(crate) use self::body::{SlaBody, SloBody};
pub(crate) use self::csv::csv;
pub(crate) use self::html::html;

/// Feeds the SLOs, and stores their counts and decisions.
pub(crate) struct SloDriver {
    sources: Sources,
    gauges: Vec<(Selector, GaugeRecorder)>,
    /// The recorders of uptime, each with its check. Without a check, the service's health counts.
    uptimes: Vec<(Option<String>, UptimeRecorder)>,
    /// Whether the stored counts were read. Until then, nothing overwrites them.
    is_restored: AtomicBool,
    /// The counts in the store. The lock is held during a commit, so that changes always refer to
    /// the
    /// stored snapshot.
    stored: tokio::sync::Mutex<Stored>,
    /// The decisions that are not in the journal yet.
    entries: Mutex<Vec<String>>,
    /// The number of logged clock steps.
    clock_steps: AtomicU64,
    /// The number of logged stalls.
    stalls: AtomicU64,
    /// The number of failed writes to the store.
    store_failures: AtomicU64,
    /// The number of decisions that were dropped before they were written to the journal.
    store_dropped: AtomicU64,
    /// The SLOs whose lint was logged.
    logged: Mutex<BTreeSet<String>>,
}

/// The counter of the SLOs' events.
const EVENTS: &str = "campanile_slo_events_total";
/// The counter of clock steps.
const CLOCK_STEPS: &str = "campanile_clock_steps_total";
/// The counter of stalls.
const STALLS: &str = "campanile_stalls_total";
/// The interval between updates from the health and the clock. Unlike ticks, they do not wait for
/// the
/// store.
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);

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
                // A gauge without a value is not observed.
                _ => {}
            }
        }
        self.update_uptimes(now);
        self.sources.sla().tick(now);
        let steps = self.sources.sla().clock_steps();
        if self.clock_steps.swap(steps, Ordering::Relaxed) < steps {
            tracing::warn!(steps, "wall clock changed or machine was suspended");
        }
        let stalls = self.sources.sla().stalls();
        if self.stalls.swap(stalls, Ordering::Relaxed) < stalls {
            tracing::warn!(stalls, "process was paused or blocked for more than 30 s");
        }
        // If the application has registered a name with another kind, the metric is skipped.
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

    /// Updates uptimes at each change of the health, and the time even while a tick waits for the
    /// store.
    pub(crate) async fn follow_health(&self, stop: impl Future<Output = ()>) {
        let follow = async {
            let mut transitions = self.sources.health().transitions();
            while transitions.next().await.is_some() {
                self.update_uptimes(Now::system());
            }
            std::future::pending().await
        };
        let update = async {
            let mut updates = interval(UPDATE_INTERVAL);
            updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                updates.tick().await;
                let now = Now::system();
                self.update_uptimes(now);
                self.sources.sla().tick(now);
            }
        };
        tokio::select! {
            () = stop => {}
            () = follow => {}
            () = update => {}
        }
    }

    fn update_uptimes(&self, now: Now) {
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

    /// Returns the number of failed writes.
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

/// Returns whether a check's dependency works; `None` if the check has never run. A check that
/// hangs
/// counts as failed when its last result is stale.
fn works(check: &CheckReport) -> Option<bool> {
    check.works.or(check.at.map(|_| false))
}

#[cfg(test)]
mod tests;
