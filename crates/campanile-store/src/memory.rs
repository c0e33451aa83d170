use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::Batch;
use crate::batch::Change;
use crate::error::StoreError;
use crate::store::{BoxFuture, Entry, Record, Status, Store};

/// The maximum number of records.
pub(crate) const MAX_RECORDS: usize = 100_000;
/// The maximum number of journal entries.
const MAX_ENTRIES: usize = 10_000;

/// A [`Store`] in memory. Its contents end with the process.
#[derive(Default)]
pub struct Memory {
    contents: Mutex<Contents>,
    warning: Option<String>,
}

#[derive(Default)]
struct Contents {
    records: BTreeMap<(String, String), Vec<u8>>,
    entries: VecDeque<Entry>,
    /// The number of the last entry.
    sequence: u64,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty store that replaces one that failed to open. The [`Status`] has the reason as its warning.
    pub fn fallback(reason: impl Into<String>) -> Self {
        Self {
            warning: Some(reason.into()),
            ..Self::default()
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A batch is checked before its first operation is applied.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let puts = batch.changes.iter().filter(|change| change.value.is_some());
        if self.records.len() + puts.count() > MAX_RECORDS && !self.has_room(&batch.changes) {
            return Err(StoreError::Full { limit: MAX_RECORDS });
        }
        for Change { table, key, value } in batch.changes {
            let place = (table.to_owned(), key);
            match value {
                Some(value) => self.records.insert(place, value),
                None => self.records.remove(&place),
            };
        }
        for payload in batch.entries {
            self.sequence += 1;
            self.entries.push_back(Entry::new(self.sequence, payload));
            if self.entries.len() > MAX_ENTRIES {
                self.entries.pop_front();
            }
        }
        Ok(())
    }

    /// Returns whether the changes leave the number of records below its limit.
    fn has_room(&self, changes: &[Change]) -> bool {
        let last: BTreeMap<_, _> = changes
            .iter()
            .map(|change| ((change.table, change.key.as_str()), change.value.is_some()))
            .collect();
        let (mut added, mut removed) = (0, 0);
        for ((table, key), is_put) in last {
            let is_there = self
                .records
                .contains_key(&(table.to_owned(), key.to_owned()));
            added += usize::from(is_put && !is_there);
            removed += usize::from(!is_put && is_there);
        }
        self.records.len() + added <= MAX_RECORDS + removed
    }
}

impl Store for Memory {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.contents().commit(batch) })
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let place = (table.to_owned(), key.to_owned());
        Box::pin(async move { Ok(self.contents().records.get(&place).cloned()) })
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        let start = (table.to_owned(), after.unwrap_or_default().to_owned());
        let start = match after {
            Some(_) => Bound::Excluded(start),
            None => Bound::Included(start),
        };
        Box::pin(async move {
            let contents = self.contents();
            let records = contents.records.range((start, Bound::Unbounded));
            let records = records.take_while(|((in_table, _), _)| in_table == table);
            Ok(records
                .take(limit)
                .map(|((_, key), value)| Record::new(key.as_str(), value.as_slice()))
                .collect())
        })
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(async move {
            let contents = self.contents();
            let first = contents
                .entries
                .partition_point(|entry| entry.sequence <= after);
            Ok(contents
                .entries
                .range(first..)
                .take(limit)
                .cloned()
                .collect())
        })
    }

    fn status(&self) -> Status {
        Status {
            warning: self.warning.clone(),
            ..Status::new(false)
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = self.contents();
        f.debug_struct("Memory")
            .field("records", &contents.records.len())
            .field("sequence", &contents.sequence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
