use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// An operation of a [`Store`](crate::Store) failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An item of the operation is too large.
    #[error("{item} too large: {size} {} (limit {limit})", item.unit())]
    TooLarge {
        /// The item.
        item: Item,
        /// The item's size.
        size: usize,
        /// The limit of the size.
        limit: usize,
    },
    /// The store has reached its limit of records.
    #[error("store full (limit {limit} records)")]
    Full {
        /// The limit of records.
        limit: usize,
    },
    /// The queue of operations is full.
    #[error("store busy: {queued} operations are queued")]
    Busy {
        /// The number of queued operations.
        queued: usize,
    },
    /// The operation timed out. It may still be applied.
    #[error("store timed out after {timeout:?}")]
    Timeout {
        /// The timeout.
        timeout: Duration,
    },
    /// The disk, the file or the connection failed. The store opens it again.
    #[error("store I/O error: {source}")]
    Io {
        /// The cause.
        source: Arc<io::Error>,
    },
    /// A stored value does not match its checksum.
    #[error("corrupt record {key:?} in table {table:?}")]
    Corrupt {
        /// The table, `journal` for the journal.
        table: String,
        /// The key, or the number of the entry.
        key: String,
    },
}

impl StoreError {
    /// Creates an [`Io`](Self::Io) error from any cause, such as the error of a database driver.
    pub fn io(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Io {
            source: Arc::new(io::Error::other(cause)),
        }
    }
}

/// An item whose size is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Item {
    /// The name of a table, in bytes.
    TableName,
    /// The key of a record, in bytes.
    Key,
    /// The value of a record, in bytes.
    Value,
    /// An entry of the journal, in bytes.
    Entry,
    /// A batch, in bytes.
    Batch,
    /// A batch, in operations.
    Operations,
}

impl Item {
    fn unit(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            _ => "bytes",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TableName => "table name",
            Self::Key => "key",
            Self::Value => "value",
            Self::Entry => "journal entry",
            Self::Batch | Self::Operations => "batch",
        })
    }
}
