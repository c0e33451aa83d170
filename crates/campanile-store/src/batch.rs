use std::fmt;

use crate::error::{Item, StoreError};

/// The maximum length of a table's name in bytes.
const MAX_TABLE_NAME: usize = 64;
/// The maximum length of a key in bytes.
const MAX_KEY: usize = 1_024;
/// The maximum length of a value or a journal entry in bytes.
const MAX_VALUE: usize = 1 << 20;
/// The maximum number of operations of a batch.
const MAX_OPERATIONS: usize = 10_000;
/// The maximum size of a batch in bytes.
const MAX_BATCH: usize = 16 << 20;

/// Operations that a store applies in order, all or none.
///
/// A batch holds at most 10,000 operations and 16 MiB.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// A change of one record.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) table: &'static str,
    pub(crate) key: String,
    /// The new value; `None` deletes the record.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// Creates an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation that sets the value of a record. The limits are 64 bytes for the table's name, 1,024 bytes for
    /// the key and 1 MiB for the value.
    pub fn put(
        &mut self,
        table: &'static str,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.changes.push(Change {
            table,
            key: key.into(),
            value: Some(value.into()),
        });
        self
    }

    /// Adds an operation that deletes a record, if it exists.
    pub fn delete(&mut self, table: &'static str, key: impl Into<String>) -> &mut Self {
        self.changes.push(Change {
            table,
            key: key.into(),
            value: None,
        });
        self
    }

    /// Adds an operation that appends an entry to the journal. The limit is 1 MiB.
    pub fn append(&mut self, payload: impl Into<Vec<u8>>) -> &mut Self {
        self.entries.push(payload.into());
        self
    }

    /// Appends the operations of another batch.
    pub fn extend(&mut self, other: Self) -> &mut Self {
        self.changes.extend(other.changes);
        self.entries.extend(other.entries);
        self
    }

    /// Returns the number of operations.
    pub fn len(&self) -> usize {
        self.changes.len() + self.entries.len()
    }

    /// Returns whether the batch has no operation.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let mut bytes = 0;
        for Change { table, key, value } in &self.changes {
            let value = value.as_ref().map_or(0, Vec::len);
            check(Item::TableName, table.len(), MAX_TABLE_NAME)?;
            check(Item::Key, key.len(), MAX_KEY)?;
            check(Item::Value, value, MAX_VALUE)?;
            bytes += key.len() + value;
        }
        for entry in &self.entries {
            check(Item::Entry, entry.len(), MAX_VALUE)?;
            bytes += entry.len();
        }
        check(Item::Batch, bytes, MAX_BATCH)?;
        check(Item::Operations, self.len(), MAX_OPERATIONS)
    }
}

fn check(item: Item, size: usize, limit: usize) -> Result<(), StoreError> {
    if size <= limit {
        return Ok(());
    }
    Err(StoreError::TooLarge { item, size, limit })
}

/// Values may be secret, so `Debug` shows only counts.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("changes", &self.changes.len())
            .field("entries", &self.entries.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_items_are_rejected() {
        #[track_caller]
        fn check_limit(fill: impl Fn(&mut Batch, usize), limit: usize, error: &str) {
            let mut batch = Batch::new();
            fill(&mut batch, limit);
            assert!(batch.check().is_ok());
            let mut batch = Batch::new();
            fill(&mut batch, limit + 1);
            assert_eq!(batch.check().unwrap_err().to_string(), error);
        }
        let text = |bytes| "x".repeat(bytes);
        check_limit(
            |batch, bytes| {
                batch.put("t", text(bytes), "");
            },
            1_024,
            "key too large: 1025 bytes (limit 1024)",
        );
        check_limit(
            |batch, bytes| {
                batch.put("t", "k", text(bytes));
            },
            1 << 20,
            "value too large: 1048577 bytes (limit 1048576)",
        );
        check_limit(
            |batch, bytes| {
                batch.append(text(bytes));
            },
            1 << 20,
            "journal entry too large: 1048577 bytes (limit 1048576)",
        );
        check_limit(
            |batch, operations| {
                for _ in 0..operations {
                    batch.delete("t", "k");
                }
            },
            10_000,
            "batch too large: 10001 operations (limit 10000)",
        );
        check_limit(
            |batch, bytes| {
                for at in (0..bytes).step_by(1 << 20) {
                    batch.append(text((bytes - at).min(1 << 20)));
                }
            },
            16 << 20,
            "batch too large: 16777217 bytes (limit 16777216)",
        );
    }
}
