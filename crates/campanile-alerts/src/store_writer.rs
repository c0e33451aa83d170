use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use campanile_store::{Batch, Store, StoreError};
use tokio::sync::Mutex;

/// Writes batches to the store in order. A batch that fails is kept and written first the next time.
pub(crate) struct StoreWriter {
    store: Arc<dyn Store>,
    unsaved: Mutex<VecDeque<Batch>>,
    failures: AtomicU64,
    dropped: AtomicU64,
}

/// The maximum number of batches that are kept while the store fails.
const MAX_UNSAVED: usize = 50_000;
/// The maximum number of operations of one commit.
const MAX_BATCH_OPS: usize = 5_000;

impl StoreWriter {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            unsaved: Mutex::default(),
            failures: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Writes batches, each as a whole, after the ones that failed before.
    ///
    /// # Errors
    ///
    /// If a batch could not be written. It is kept.
    pub(crate) async fn save(
        &self,
        batches: impl IntoIterator<Item = Batch>,
    ) -> Result<(), StoreError> {
        let mut unsaved = self.unsaved.lock().await;
        unsaved.extend(batches);
        let excess = unsaved.len().saturating_sub(MAX_UNSAVED);
        if excess > 0 {
            unsaved.drain(..excess);
            self.dropped.fetch_add(excess as u64, Ordering::Relaxed);
        }
        let mut max_ops = MAX_BATCH_OPS;
        while !unsaved.is_empty() {
            let (mut batch, mut taken) = (Batch::new(), 0);
            for next in unsaved.iter() {
                if taken > 0 && batch.len() + next.len() > max_ops {
                    break;
                }
                batch.extend(next.clone());
                taken += 1;
            }
            match self.store.commit(batch).await {
                Ok(()) => {
                    unsaved.drain(..taken);
                }
                // The store will never accept one of them. Single commits find out which.
                Err(error @ (StoreError::TooLarge { .. } | StoreError::Full { .. })) => {
                    if taken == 1 {
                        tracing::error!(%error, "dropped a change of an alert that the store rejects");
                        unsaved.pop_front();
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    max_ops = 1;
                }
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns the number of failed commits.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the number of dropped batches.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
