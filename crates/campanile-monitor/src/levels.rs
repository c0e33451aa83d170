//! What the service levels need of others: the health, the metrics, and a place to survive in.

use std::future::Future;

use campanile_health::{Phase, Status};
use campanile_series::Now;
use campanile_sla::{AdjustError, Adjustment, Maintenance, Slices, Uptime};
use campanile_store::{Batch, Store, StoreError};

use crate::selector::Selector;
use crate::{Problem, Sources, bodies};

mod csv;
mod html;
mod json;

pub(crate) use self::csv::csv;
pub(crate) use self::html::html;
pub(crate) use self::json::{ObjectiveBody, SlaBody};

/// The service levels, with what feeds them and keeps them.
pub(crate) struct ServiceLevels {
    sources: Sources,
    gauges: Vec<(Selector, Slices)>,
    /// Of one check, or of the service.
    uptimes: Vec<(Option<String>, Uptime)>,
}

/// Where the store has the counts: their parts by number.
const TABLE: &str = "sla";
/// What the keys of the parts begin with.
const PART: &str = "windows/";
/// How long a part is: a store takes 1 MiB.
const PART_LEN: usize = 512 * 1_024;
/// The most parts; with the other changes of a batch they are below what it takes.
const MAX_PARTS: usize = 28;

/// The metric of what objectives count.
pub(crate) const EVENTS: &str = "campanile_slo_events_total";

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
        sources
            .metrics()
            .describe(EVENTS, "What objectives count, by result.");
        Self {
            sources: sources.clone(),
            gauges,
            uptimes,
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
        for (objective, total) in self.sources.sla().totals(now) {
            for (result, count) in [("good", total.good()), ("bad", total.bad())] {
                let labels = [("slo", objective), ("result", result)];
                // A host that has the name for something else keeps it.
                if let Ok(counter) = self.sources.metrics().counter(EVENTS, &labels) {
                    counter.absolute(count);
                }
            }
        }
    }

    /// Takes note of each change of the health when it comes.
    pub(crate) async fn follow_health(&self, stop: impl Future<Output = ()>) {
        let follow = async {
            let mut transitions = self.sources.health().transitions();
            while transitions.next().await.is_some() {
                self.look_at_health(crate::monitor::now());
            }
            std::future::pending().await
        };
        if self.uptimes.is_empty() {
            return stop.await;
        }
        tokio::select! {
            () = stop => {}
            () = follow => {}
        }
    }

    fn look_at_health(&self, now: Now) {
        if self.uptimes.is_empty() {
            return;
        }
        let report = self.sources.health().report();
        for (check, uptime) in &self.uptimes {
            let status = match check {
                // Before all checks have run it only seems to be down.
                None if report.phase == Phase::Starting => None,
                None => Some(report.status),
                Some(name) => {
                    let mut checks = report.checks.iter();
                    let check = checks.find(|check| *check.name == **name);
                    check.map(|check| check.status)
                }
            };
            let up = match status {
                Some(Status::Healthy | Status::Degraded) => Some(true),
                Some(Status::Unhealthy) => Some(false),
                Some(Status::Unknown) | None => None,
            };
            uptime.set(up, now.mono);
        }
    }

    /// Writes the counts down.
    pub(crate) async fn write(&self, store: &dyn Store, now: Now) {
        if let Err(error) = store.commit(self.batch(now)).await {
            tracing::error!(%error, "the service levels' counts can't be written down");
        }
    }

    /// Returns what is to be written: the counts in parts, of which the first says how many there are.
    fn batch(&self, now: Now) -> Batch {
        let snapshot = self.sources.sla().snapshot(now);
        let mut batch = Batch::new();
        let parts: Vec<_> = snapshot.chunks(PART_LEN).collect();
        if parts.len() > MAX_PARTS {
            tracing::error!(
                bytes = snapshot.len(),
                "there is more to count than can be written down: ask for fewer routes"
            );
            return batch;
        }
        for (number, part) in parts.iter().enumerate() {
            // No more parts than a byte can tell.
            let mut value = vec![parts.len() as u8];
            value.extend(*part);
            batch.put(TABLE, format!("{PART}{number:03}"), value);
        }
        batch
    }

    /// Takes up the counts from before.
    pub(crate) async fn restore(&self, store: &dyn Store, now: Now) {
        let restored = match read(store).await {
            Ok(None) => return,
            Ok(Some(snapshot)) => {
                let restored = self.sources.sla().restore(&snapshot, now);
                restored.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match restored {
            Ok(()) => tracing::info!("the service levels' counts from before were taken up"),
            Err(error) => tracing::error!(
                error,
                "the service levels' counts from before can't be taken up"
            ),
        }
    }

    pub(crate) async fn adjust(
        &self,
        store: &dyn Store,
        objective: &str,
        adjustment: Adjustment,
        now: Now,
    ) -> Result<(), DecisionError> {
        let entry = serde_json::json!({
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
        let entry = serde_json::json!({
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

    /// Writes a decision down, with the counts that have it.
    async fn keep(
        &self,
        store: &dyn Store,
        entry: &serde_json::Value,
        now: Now,
    ) -> Result<(), DecisionError> {
        let mut batch = self.batch(now);
        batch.append(entry.to_string());
        Ok(store.commit(batch).await?)
    }
}

/// Returns the counts that were written down, if any were.
async fn read(store: &dyn Store) -> Result<Option<Vec<u8>>, StoreError> {
    let mut snapshot = Vec::new();
    let mut number = 0;
    loop {
        let Some(value) = store.get(TABLE, &format!("{PART}{number:03}")).await? else {
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
    /// The store didn't take it: it holds, and is written down with the next counts, without its entry in the journal.
    #[error("the decision holds, but can't be written down: {0}")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
