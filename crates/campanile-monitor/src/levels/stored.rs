//! The counts in the store: a snapshot in parts, and the changes since. The snapshot is written again once the changes have grown.

use campanile_series::Now;
use campanile_sla::{Sla, apply_changes};
use campanile_store::{Batch, Store, StoreError};

/// The table of the counts.
const TABLE: &str = "sla";
/// The prefix of the keys of the snapshot's parts.
const PART: &str = "windows/";
/// The prefix of the keys of a snapshot that can't be read.
pub(super) const ASIDE: &str = "unreadable/";
/// The key of the changes since the snapshot.
const CHANGES: &str = "changes";
/// The length of a part: a store takes 1 MiB.
const PART_LEN: usize = 512 * 1_024;
/// The limit of parts. With the other changes of a batch they are below a batch's limit.
const MAX_PARTS: usize = 30;
/// The share of the snapshot that its changes may have.
const SHARE: usize = 8;

/// The state of the counts in the store.
#[derive(Debug)]
pub(super) struct Stored {
    /// The stored snapshot; `None` if it is not known.
    base: Option<Vec<u8>>,
    /// The snapshot of the current batch, if that has one.
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
    pub(super) fn put(&mut self, batch: &mut Batch, sla: &Sla, now: Now) -> Result<(), TooLarge> {
        let changes = self.base.as_ref().and_then(|base| {
            let changes = sla.changes(base, now).ok()?;
            (changes.len() <= PART_LEN.min(base.len() / SHARE)).then_some(changes)
        });
        if let Some(changes) = changes {
            batch.put(TABLE, CHANGES, changes);
            return Ok(());
        }
        let snapshot = sla.snapshot(now);
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
        self.next = Some(snapshot);
        Ok(())
    }

    /// Sets the limit of a snapshot, and forgets the stored one.
    #[cfg(test)]
    pub(super) fn limit(&mut self, bytes: usize) {
        (self.limit, self.base) = (bytes, None);
    }

    /// Updates the state after the batch was committed. After an error, it may have been written or not.
    pub(super) fn committed(&mut self, is_ok: bool) {
        let next = self.next.take();
        self.base = match (is_ok, next) {
            (true, Some(next)) => Some(next),
            (true, None) => self.base.take(),
            (false, _) => None,
        };
    }
}

/// Returns the stored counts, if there are any.
pub(super) async fn read(store: &dyn Store) -> Result<Option<Vec<u8>>, StoreError> {
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
        return Ok(None);
    }
    let Some(changes) = store.get(TABLE, CHANGES).await? else {
        return Ok(Some(snapshot));
    };
    match apply_changes(&snapshot, &changes) {
        Ok(later) => Ok(Some(later)),
        Err(error) => {
            tracing::error!(%error, "failed to read the last changes of the service levels' counts");
            Ok(Some(snapshot))
        }
    }
}

/// Returns a batch that keeps a snapshot that can't be read.
pub(super) fn aside(snapshot: &[u8]) -> Batch {
    let mut batch = Batch::new();
    for (number, part) in snapshot.chunks(PART_LEN).enumerate() {
        batch.put(TABLE, format!("{ASIDE}{number:03}"), part);
    }
    batch
}

#[cfg(test)]
mod tests;
