/// An operation of a [`Store`](crate::Store) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something is larger than the store takes.
    #[error("{what} has {size} {unit}: the store takes {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
        /// What is counted: bytes or operations.
        unit: &'static str,
    },
    /// The store holds as many records as it may.
    #[error("the store is full: it holds {limit} records")]
    Full {
        /// The limit of records.
        limit: usize,
    },
    /// Too many operations wait already.
    #[error("the store is busy: {waiting} operations wait already")]
    Busy {
        /// How many may wait.
        waiting: usize,
    },
    /// The operation took too long; it may still come to pass.
    #[error("the store did not answer within {seconds} s")]
    Timeout {
        /// The time that it had.
        seconds: u64,
    },
    /// The disk or the file failed. The store is opened again in time.
    #[error("the store failed: {reason}")]
    Io {
        /// What the system said.
        reason: String,
    },
    /// A value is not what was written.
    #[error("the record {key:?} of {table:?} is damaged")]
    Damaged {
        /// The table, `journal` for the journal.
        table: String,
        /// The key, or the number of the entry.
        key: String,
    },
}
