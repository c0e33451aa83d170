use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::batch::Batch;
use crate::error::StoreError;

/// A boxed future, so that traits with asynchronous methods can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store of records in tables, and of a journal.
pub trait Store: Send + Sync + 'static {
    /// Applies all operations of a batch, or none. After `Ok`, a durable store keeps them through a crash.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Timeout`] and [`StoreError::Io`], the batch may still be applied. After other errors, it is
    /// not.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the value of a record, or `None` if the record does not exist.
    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Returns at most `limit` records of a table, sorted by key. If `after` is set, returns only records with greater
    /// keys.
    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>>;

    /// Returns at most `limit` entries of the journal whose number is greater than `after`, in order.
    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// Returns the store's status, without I/O.
    fn status(&self) -> Status;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        (**self).commit(batch)
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        (**self).get(table, key)
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        (**self).scan(table, after, limit)
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        (**self).journal(after, limit)
    }

    fn status(&self) -> Status {
        (**self).status()
    }
}

/// A record: a key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

impl Record {
    /// Creates a record.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The entry's number. The first is 1, and numbers have no gaps.
    pub sequence: u64,
    /// The appended bytes.
    pub payload: Vec<u8>,
}

impl Entry {
    /// Creates an entry.
    pub fn new(sequence: u64, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            sequence,
            payload: payload.into(),
        }
    }
}

/// The status of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether acknowledged writes survive a crash of the process.
    pub durable: bool,
    /// The error while the store fails. It rejects writes and recovers on its own.
    pub error: Option<String>,
    /// A warning for the operator, such as a corrupt file that was set aside.
    pub warning: Option<String>,
}

impl Status {
    /// Creates the status of a store that works.
    pub fn new(durable: bool) -> Self {
        Self {
            durable,
            error: None,
            warning: None,
        }
    }
}
