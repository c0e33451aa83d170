use std::fmt;

use crate::StoreError;

/// The limit of a table's name, in bytes.
const MAX_TABLE: usize = 64;
/// The limit of a key, in bytes.
const MAX_KEY: usize = 1_024;
/// The limit of a value or an entry, in bytes.
const MAX_VALUE: usize = 1 << 20;
/// The limit of a batch's operations.
const MAX_OPERATIONS: usize = 10_000;
/// The limit of a batch, in bytes.
const MAX_BATCH: usize = 16 << 20;

/// What is written together or not at all, in the order in which it was added.
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
    /// The new value; `None` takes the record away.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a record.
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

    /// Takes a record away; that there is none is no error.
    pub fn delete(&mut self, table: &'static str, key: impl Into<String>) -> &mut Self {
        self.changes.push(Change {
            table,
            key: key.into(),
            value: None,
        });
        self
    }

    /// Appends an entry to the journal.
    pub fn append(&mut self, payload: impl Into<Vec<u8>>) -> &mut Self {
        self.entries.push(payload.into());
        self
    }

    /// Adds all of another batch after what is in this one.
    pub fn extend(&mut self, other: Self) -> &mut Self {
        self.changes.extend(other.changes);
        self.entries.extend(other.entries);
        self
    }

    /// Returns how many operations there are.
    pub fn len(&self) -> usize {
        self.changes.len() + self.entries.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let mut bytes = 0;
        for Change { table, key, value } in &self.changes {
            let value = value.as_ref().map_or(0, Vec::len);
            at_most("a table's name", table.len(), MAX_TABLE)?;
            at_most("a key", key.len(), MAX_KEY)?;
            at_most("a value", value, MAX_VALUE)?;
            bytes += key.len() + value;
        }
        for entry in &self.entries {
            at_most("an entry of the journal", entry.len(), MAX_VALUE)?;
            bytes += entry.len();
        }
        at_most("a batch", bytes, MAX_BATCH)?;
        if self.len() > MAX_OPERATIONS {
            return Err(StoreError::TooLarge {
                what: "a batch",
                size: self.len(),
                limit: MAX_OPERATIONS,
                unit: "operations",
            });
        }
        Ok(())
    }
}

fn at_most(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size <= limit {
        return Ok(());
    }
    Err(StoreError::TooLarge {
        what,
        size,
        limit,
        unit: "bytes",
    })
}

/// The values may be secret, so they are not shown.
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
    fn what_is_too_large_is_refused() {
        #[track_caller]
        fn check(fill: impl Fn(&mut Batch, usize), limit: usize, error: &str) {
            let mut batch = Batch::new();
            fill(&mut batch, limit);
            assert_eq!(batch.check(), Ok(()));
            let mut batch = Batch::new();
            fill(&mut batch, limit + 1);
            assert_eq!(batch.check().unwrap_err().to_string(), error);
        }
        let text = |bytes| "x".repeat(bytes);
        check(
            |batch, bytes| {
                batch.put("t", text(bytes), "");
            },
            1_024,
            "a key has 1025 bytes: the store takes 1024",
        );
        check(
            |batch, bytes| {
                batch.put("t", "k", text(bytes));
            },
            1 << 20,
            "a value has 1048577 bytes: the store takes 1048576",
        );
        check(
            |batch, bytes| {
                batch.append(text(bytes));
            },
            1 << 20,
            "an entry of the journal has 1048577 bytes: the store takes 1048576",
        );
        check(
            |batch, operations| {
                for _ in 0..operations {
                    batch.delete("t", "k");
                }
            },
            10_000,
            "a batch has 10001 operations: the store takes 10000",
        );
        check(
            |batch, bytes| {
                for at in (0..bytes).step_by(1 << 20) {
                    batch.append(text((bytes - at).min(1 << 20)));
                }
            },
            16 << 20,
            "a batch has 16777217 bytes: the store takes 16777216",
        );
    }
}
