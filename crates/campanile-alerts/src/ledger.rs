use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use campanile_store::{Batch, Store, StoreError};
use tokio::sync::Mutex;

/// What goes to the store, in its order. What the store doesn't take is kept, and goes first the next time.
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    unsaved: Mutex<VecDeque<Batch>>,
    failures: AtomicU64,
    dropped: AtomicU64,
}

/// The limit of batches that are kept for a failing store.
const MAX_UNSAVED: usize = 50_000;
/// The limit of operations of one write.
const AT_ONCE: usize = 5_000;

impl Ledger {
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

    /// Writes batches, each of them as a whole. It is an error if not all that there is could be written.
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
        let mut at_once = AT_ONCE;
        while !unsaved.is_empty() {
            let (mut batch, mut taken) = (Batch::new(), 0);
            for next in unsaved.iter() {
                if taken > 0 && batch.len() + next.len() > at_once {
                    break;
                }
                batch.extend(next.clone());
                taken += 1;
            }
            match self.store.commit(batch).await {
                Ok(()) => {
                    unsaved.drain(..taken);
                }
                // One of them will never be taken: which one shows if they are written one by one.
                Err(error @ (StoreError::TooLarge { .. } | StoreError::Full { .. })) => {
                    if taken == 1 {
                        tracing::error!(%error, "a change of an alert can't be written down");
                        unsaved.pop_front();
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    at_once = 1;
                }
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Returns how often the store has failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns how many batches were given up, because the store failed for too long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
