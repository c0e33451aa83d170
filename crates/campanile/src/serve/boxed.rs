use std::future::Future;
use std::pin::Pin;

/// A boxed future that owns its state.
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
