use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Batch, StoreError};

/// A future on the heap, so that a trait with asynchronous methods can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where records and the journal are kept.
pub trait Store: Send + Sync + 'static {
    /// Writes all of a batch, or nothing. Once it is `Ok`, a durable store has it for good.
    ///
    /// After an error the batch may have been written all the same if the error is [`StoreError::Timeout`] or
    /// [`StoreError::Io`].
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the value of a record, if there is one.
    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Returns at most `limit` records of a table in the order of their keys, those after a key if one is given.
    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>>;

    /// Returns at most `limit` entries of the journal in their order, those whose number is above `after`.
    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// Returns how the store is, without asking a disk.
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

/// A value and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

impl Record {
    /// Returns a record.
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
    /// Its number: the first is 1, and none is left out.
    pub sequence: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

impl Entry {
    /// Returns an entry.
    pub fn new(sequence: u64, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            sequence,
            payload: payload.into(),
        }
    }
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether what it acknowledges survives the process.
    pub durable: bool,
    /// What is wrong, if anything is: the store does not take writes then, and tries again by itself.
    pub error: Option<String>,
    /// What has to be known of it all the same, such as a corrupt file that was set aside when the store was opened.
    pub notice: Option<String>,
}

impl Status {
    /// Returns the status of a store without troubles.
    pub fn new(durable: bool) -> Self {
        Self {
            durable,
            error: None,
            notice: None,
        }
    }
}
