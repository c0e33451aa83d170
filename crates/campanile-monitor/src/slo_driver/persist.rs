//! Restores the SLO counts from the store, and writes them with the journal entries.

use std::sync::atomic::Ordering;

use campanile_series::Now;
use campanile_sla::{RestoreError, ServiceLevels};
use campanile_store::{Batch, Store, StoreError};

use super::SloDriver;
use super::stored::{self, Stored, TooLarge};

/// The maximum number of decisions that are kept while the store fails.
pub(super) const MAX_ENTRIES: usize = 1_000;

impl SloDriver {
    /// Writes the counts and the pending decisions to the store. Counts are not written before
    /// the stored
    /// ones were read.
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
            tracing::error!(%error, "failed to write SLO counts");
            self.store_failures.fetch_add(1, Ordering::Relaxed);
            let mut pending = self.entries();
            pending.splice(0..0, entries);
            let excess = pending.len().saturating_sub(MAX_ENTRIES);
            pending.truncate(MAX_ENTRIES);
            self.store_dropped
                .fetch_add(excess as u64, Ordering::Relaxed);
        }
    }

    /// Writes all counts in place of their changes, because older versions can read only a
    /// snapshot.
    pub(crate) async fn write_all(&self, store: &dyn Store, now: Now) {
        self.stored.lock().await.forget();
        self.write(store, now).await;
    }

    /// Commits a batch with the counts. Stored counts are replaced only after they were read.
    pub(super) async fn commit(
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

    /// Restores the stored counts once. Invalid counts are set aside. If the store fails, the
    /// next write
    /// tries again first.
    pub(crate) async fn restore(&self, store: &dyn Store, now: Now) {
        if self.is_restored.load(Ordering::Acquire) {
            return;
        }
        let read = match stored::read(store).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "failed to read stored SLO counts; retrying");
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
                    tracing::info!("restored SLO counts");
                    let unused = self.sources.sla().unused_counts();
                    if !unused.is_empty() {
                        tracing::info!(
                            ?unused,
                            "retaining stored counts that no SLO uses for 93 days"
                        );
                    }
                }
                // Another run or the application restored them.
                Err(RestoreError::Duplicate) => {
                    tracing::info!("SLO counts were restored before; not adding stored counts");
                }
                Err(error) => {
                    tracing::error!(
                        %error,
                        kept = stored::ASIDE,
                        "stored SLO counts are invalid; setting them aside"
                    );
                    stored::keep_snapshot(&mut aside, &snapshot);
                }
            }
        }
        if !aside.is_empty()
            && let Err(error) = store.commit(aside).await
        {
            tracing::error!(%error, "failed to set aside invalid stored counts");
            return;
        }
        self.is_restored.store(true, Ordering::Release);
    }
}

/// Adds the counts to a batch, on a blocking thread if they are large.
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
        // The stored snapshot is unknown, and a new one needs no comparison.
        return stored.put(batch, sla, now);
    };
    *stored = moved;
    batch.extend(counts);
    written
}
