//! The counts in the store: a snapshot in parts, and the changes since. The snapshot is written again once the changes have grown.

use campanile_series::Now;
use campanile_sla::{ServiceLevels, apply_changes};
use campanile_store::{Batch, Store, StoreError};

/// The table of the counts.
const TABLE: &str = "sla";
/// The prefix of the keys of the snapshot's parts.
const PART: &str = "windows/";
/// The prefix of the keys of a snapshot that can't be read.
pub(super) const ASIDE: &str = "unreadable/";
/// The key of changes that can't be read.
const ASIDE_CHANGES: &str = "unreadable/changes";
/// The key of the changes since the snapshot.
const CHANGES: &str = "changes";
/// The length of a part: a store takes 1 MiB.
const PART_LEN: usize = 512 * 1_024;
/// The limit of parts. With the other changes of a batch they are below a batch's limit.
const MAX_PARTS: usize = 30;
/// The share of the snapshot that its changes may have.
const SHARE: usize = 8;
/// The length of a snapshot from which on its changes take so long that they are no work for a runtime's worker: about 20 ms.
const LARGE: usize = 1_024 * 1_024;

/// The state of the counts in the store.
#[derive(Debug)]
pub(super) struct Stored {
    /// The stored snapshot; `None` if it is not known, also until a batch with counts is committed.
    base: Option<Vec<u8>>,
    /// The stored snapshot once the current batch is committed, if that has counts.
    next: Option<Vec<u8>>,
    /// The limit of a snapshot, in bytes.
    limit: usize,
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            base: None,
            next: None,
            limit: MAX_PARTS * PART_LEN,
        }
    }
}

/// A snapshot is larger than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) bytes: usize,
}

impl Stored {
    /// Puts the counts into a batch: their changes, if these are small, or else a snapshot.
    ///
    /// # Errors
    ///
    /// If the snapshot is too large. The batch is unchanged then.
    pub(super) fn put(
        &mut self,
        batch: &mut Batch,
        sla: &ServiceLevels,
        now: Now,
    ) -> Result<(), TooLarge> {
        // Of a batch that was dropped before its commit ended.
        self.next = None;
        let changes = self.base.as_ref().and_then(|base| {
            let changes = sla.changes_at(base, now).ok()?;
            (changes.len() <= PART_LEN.min(base.len() / SHARE)).then_some(changes)
        });
        if let Some(changes) = changes {
            batch.put(TABLE, CHANGES, changes);
            self.next = self.base.take();
            return Ok(());
        }
        let snapshot = sla.snapshot_at(now);
        if snapshot.len() > self.limit {
            let bytes = snapshot.len();
            return Err(TooLarge { bytes });
        }
        let parts = snapshot.chunks(PART_LEN);
        // Each part begins with their number, which fits into a byte.
        let number = parts.len() as u8;
        for (at, part) in parts.enumerate() {
            batch.put(TABLE, format!("{PART}{at:03}"), [&[number], part].concat());
        }
        batch.delete(TABLE, CHANGES);
        (self.base, self.next) = (None, Some(snapshot));
        Ok(())
    }

    /// Returns whether [`put`](Self::put) takes long.
    pub(super) fn is_large(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.len() > LARGE)
    }

    /// Forgets the stored snapshot, so that the next batch has one.
    pub(super) fn forget(&mut self) {
        self.base = None;
    }

    /// Sets the limit of a snapshot, and forgets the stored one.
    #[cfg(test)]
    pub(super) fn limit(&mut self, bytes: usize) {
        (self.limit, self.base) = (bytes, None);
    }

    /// Updates the state after the batch was committed. After an error, it may have been written or not.
    pub(super) fn committed(&mut self, is_ok: bool) {
        match (is_ok, self.next.take()) {
            (true, Some(next)) => self.base = Some(next),
            // The batch had no counts.
            (true, None) => {}
            (false, _) => self.base = None,
        }
    }
}

/// What the store has.
#[derive(Default)]
pub(super) struct Read {
    /// The snapshot with the changes, if there is one.
    pub(super) snapshot: Option<Vec<u8>>,
    /// The changes if they can't be read, which `snapshot` is without.
    pub(super) unreadable: Option<Vec<u8>>,
}

/// Returns the stored counts, if there are any.
pub(super) async fn read(store: &dyn Store) -> Result<Read, StoreError> {
    let mut snapshot = Vec::new();
    let mut number = 0;
    loop {
        let value = store.get(TABLE, &format!("{PART}{number:03}")).await?;
        let Some((parts, part)) = value.as_deref().and_then(<[u8]>::split_first) else {
            break;
        };
        snapshot.extend(part);
        number += 1;
        if number >= *parts {
            break;
        }
    }
    if number == 0 {
        return Ok(Read::default());
    }
    let mut read = Read::default();
    if let Some(changes) = store.get(TABLE, CHANGES).await? {
        match apply_changes(&snapshot, &changes) {
            Ok(later) => snapshot = later,
            Err(error) => {
                tracing::error!(
                    %error,
                    kept = ASIDE_CHANGES,
                    "failed to read the last changes of the service levels' counts"
                );
                read.unreadable = Some(changes);
            }
        }
    }
    read.snapshot = Some(snapshot);
    Ok(read)
}

/// Puts changes that can't be read into a batch that keeps them.
pub(super) fn keep_changes(batch: &mut Batch, changes: Vec<u8>) {
    batch.put(TABLE, ASIDE_CHANGES, changes);
}

/// Puts a snapshot that can't be read into a batch that keeps it.
pub(super) fn keep_snapshot(batch: &mut Batch, snapshot: &[u8]) {
    for (number, part) in snapshot.chunks(PART_LEN).enumerate() {
        batch.put(TABLE, format!("{ASIDE}{number:03}"), part);
    }
}

#[cfg(test)]
mod tests;
