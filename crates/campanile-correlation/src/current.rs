use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::{Correlation, CorrelationId};

thread_local! {
    static CURRENT: RefCell<Option<Correlation>> = const { RefCell::new(None) };
}

impl CorrelationId {
    /// Returns the id of the current request, or `None` outside of a request.
    ///
    /// [`CorrelationIdLayer`](crate::CorrelationIdLayer) and
    /// [`scope`] set it for a task. A task that the request spawns does not inherit it: use `spawn`
    /// (feature `tokio`) or `scope`.
    #[must_use]
    pub fn current() -> Option<Self> {
        // The thread-local is gone while the thread ends.
        let id = |current: &RefCell<Option<Correlation>>| current.borrow().as_ref()?.id().cloned();
        CURRENT.try_with(id).ok().flatten()
    }
}

impl Correlation {
    /// Returns the correlation of the current request, or an empty one outside of a request.
    #[must_use]
    pub fn current() -> Self {
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten().unwrap_or_default()
    }

    /// Calls a function with this as the [current](Self::current) correlation.
    pub fn enter<T>(self, function: impl FnOnce() -> T) -> T {
        ScopeSlot::new(self).enter(function)
    }
}

/// Wraps a future so that an id, or a whole [`Correlation`], is [current](Correlation::current)
/// while the future is polled and while it is dropped.
///
/// ```
/// use campanile_correlation::{CorrelationId, scope};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let id = CorrelationId::generate();
/// let task = tokio::spawn(scope(id.clone(), async { CorrelationId::current() }));
/// assert_eq!(task.await.unwrap(), Some(id));
/// assert_eq!(CorrelationId::current(), None);
/// # }
/// ```
pub fn scope<F: Future>(
    correlation: impl Into<Correlation>,
    future: F,
) -> impl Future<Output = F::Output> {
    Scoped {
        inner: Some(future),
        correlation: Some(correlation.into()),
    }
}

/// Wraps a function so that it runs with the correlation that is [current](Correlation::current)
/// now, for a thread or a pool.
///
/// ```
/// use campanile_correlation::{Correlation, CorrelationId, with_current};
///
/// let id = CorrelationId::generate();
/// let thread = Correlation::from(id.clone()).enter(|| std::thread::spawn(with_current(CorrelationId::current)));
/// assert_eq!(thread.join().unwrap(), Some(id));
/// ```
pub fn with_current<T>(function: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let correlation = Correlation::current();
    move || correlation.enter(function)
}

/// Spawns a tokio task that inherits the [current](Correlation::current) correlation.
///
/// # Panics
///
/// Outside of a runtime, like [`tokio::spawn`].
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(scope(Correlation::current(), future))
}

pin_project! {
    /// A future and its correlation, which is in [`CURRENT`] while the future is polled.
    pub(crate) struct Scoped<F> {
        #[pin]
        inner: Option<F>,
        correlation: Option<Correlation>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = Entered::new(this.correlation);
            this.inner.set(None);
        }
    }
}

impl<F> Scoped<F> {
    /// Creates the future inside its scope.
    #[inline]
    pub(crate) fn make(correlation: Correlation, make: impl FnOnce() -> F) -> Self {
        let mut correlation = Some(correlation);
        let inner = {
            let _entered = Entered::new(&mut correlation);
            make()
        };
        Self {
            inner: Some(inner),
            correlation,
        }
    }

    /// Takes the correlation of a completed future.
    #[inline]
    pub(crate) fn take(self: Pin<&mut Self>) -> Option<Correlation> {
        self.project().correlation.take()
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let _entered = Entered::new(this.correlation);
        inner.poll(cx)
    }
}

/// A [`Correlation`] for a task that is polled several times. Entering it does not clone it.
#[derive(Debug)]
pub struct ScopeSlot(Option<Correlation>);

impl ScopeSlot {
    /// Creates a slot with this correlation.
    #[must_use]
    pub fn new(correlation: Correlation) -> Self {
        Self(Some(correlation))
    }

    /// Calls a function with this as what is [current](Correlation::current).
    #[inline]
    pub fn enter<T>(&mut self, function: impl FnOnce() -> T) -> T {
        let _entered = Entered::new(&mut self.0);
        function()
    }
}

/// Swaps the correlation with the thread's current one, and back when dropped, also by a panic.
struct Entered<'a>(&'a mut Option<Correlation>);

impl<'a> Entered<'a> {
    #[inline]
    fn new(correlation: &'a mut Option<Correlation>) -> Self {
        swap(correlation);
        Self(correlation)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

#[inline]
fn swap(correlation: &mut Option<Correlation>) {
    // The thread-local is gone while the thread ends. The future runs without a correlation then.
    let _ = CURRENT.try_with(|current| {
        current
            .try_borrow_mut()
            .map(|mut current| std::mem::swap(&mut *current, correlation))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CorrelationId {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn tasks_on_one_thread_keep_their_ids_apart() {
        async fn three_times(id: CorrelationId) {
            for _ in 0..3 {
                assert_eq!(CorrelationId::current().as_ref(), Some(&id));
                tokio::task::yield_now().await;
            }
        }
        let one = tokio::spawn(scope(id("one"), three_times(id("one"))));
        let two = tokio::spawn(scope(id("two"), three_times(id("two"))));
        tokio::task::yield_now().await;
        assert_eq!(CorrelationId::current(), None);
        one.await.unwrap();
        two.await.unwrap();
    }

    #[tokio::test]
    async fn scopes_nest() {
        scope(id("outer"), async {
            scope(id("inner"), async {
                assert_eq!(CorrelationId::current(), Some(id("inner")))
            })
            .await;
            assert_eq!(CorrelationId::current(), Some(id("outer")));
        })
        .await;
    }

    #[tokio::test]
    async fn a_panic_leaves_the_scope() {
        let task =
            std::panic::AssertUnwindSafe(scope(id("doomed"), async { panic!("on purpose") }));
        let caught = std::panic::catch_unwind(|| {
            let mut task = Box::pin({ task }.0);
            let _ = task
                .as_mut()
                .poll(&mut Context::from_waker(std::task::Waker::noop()));
        });
        assert!(caught.is_err());
        assert_eq!(CorrelationId::current(), None);
    }

    #[test]
    fn destructors_run_in_the_scope() {
        struct Check;
        impl Drop for Check {
            fn drop(&mut self) {
                assert_eq!(CorrelationId::current(), Some(id("dropped")));
            }
        }
        let check = Check;
        drop(scope(id("dropped"), async move { drop(check) }));
        assert_eq!(CorrelationId::current(), None);
    }
}
