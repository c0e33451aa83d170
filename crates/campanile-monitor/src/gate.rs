//! A store for tests.

use std::sync::atomic::{AtomicBool, Ordering};

use campanile_store::{Batch, BoxFuture, Entry, Memory, Record, Status, Store, StoreError};

/// A memory whose reads and writes can be switched off. Its status is always good.
#[derive(Debug)]
pub(crate) struct Gate {
    memory: Memory,
    reads: AtomicBool,
    writes: AtomicBool,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::new(),
            reads: AtomicBool::new(true),
            writes: AtomicBool::new(true),
        }
    }

    pub(crate) fn set(&self, reads: bool, writes: bool) {
        self.reads.store(reads, Ordering::Relaxed);
        self.writes.store(writes, Ordering::Relaxed);
    }
}

fn busy<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Err(StoreError::Busy { queued: 256 })))
}

impl Store for Gate {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        match self.writes.load(Ordering::Relaxed) {
            true => self.memory.commit(batch),
            false => busy(),
        }
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        match self.reads.load(Ordering::Relaxed) {
            true => self.memory.get(table, key),
            false => busy(),
        }
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        self.memory.scan(table, after, limit)
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.memory.journal(after, limit)
    }

    fn status(&self) -> Status {
        self.memory.status()
    }
}
