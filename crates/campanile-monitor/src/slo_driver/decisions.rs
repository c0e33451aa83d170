//! Decisions about SLOs: excluded failures and maintenance, with their journal entries.

use std::sync::atomic::Ordering;

use campanile_series::Now;
use campanile_sla::{Adjustment, MaintenanceWindow};
use campanile_store::{Batch, Store};
use serde_json::{Value, json};

use super::SloDriver;
use super::persist::MAX_ENTRIES;
use crate::error::DecisionError;
use crate::response;

impl SloDriver {
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

    /// Ends the current maintenance. Returns whether there was one.
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

    /// Commits a decision and the counts that include it.
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
}
