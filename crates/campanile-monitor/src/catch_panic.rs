use std::future::{Future, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use campanile_store::{Batch, BoxFuture, Entry, Record, Status, Store, StoreError};

/// A custom store whose panics become errors, so that a panic loses no notification and no evaluation.
pub(crate) struct CatchPanic(pub(crate) Arc<dyn Store>);

fn panicked<T>() -> Result<T, StoreError> {
    Err(StoreError::io("store panicked"))
}

fn caught<'a, T: Send + 'a>(
    call: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
) -> BoxFuture<'a, Result<T, StoreError>> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(future) => Box::pin(Caught(future)),
        Err(_) => Box::pin(ready(panicked())),
    }
}

/// A call whose panic becomes an error. It is not polled afterwards.
struct Caught<'a, T>(BoxFuture<'a, Result<T, StoreError>>);

impl<T> Future for Caught<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = || self.0.as_mut().poll(cx);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| Poll::Ready(panicked()))
    }
}

impl Store for CatchPanic {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        caught(|| self.0.commit(batch))
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        caught(|| self.0.get(table, key))
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        caught(|| self.0.scan(table, after, limit))
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        caught(|| self.0.journal(after, limit))
    }

    fn status(&self) -> Status {
        catch_unwind(AssertUnwindSafe(|| self.0.status())).unwrap_or_else(|_| {
            let mut status = Status::default();
            status.error = Some("the store panicked".to_owned());
            status
        })
    }
}
