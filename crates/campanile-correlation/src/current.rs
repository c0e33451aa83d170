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
    /// Returns the id of the request whose task is running on this thread, or `None` outside of one.
    ///
    /// It is set by [`CorrelationIdLayer`](crate::CorrelationIdLayer) and [`scope`]. A spawned task is a task of its own:
    /// take the id along with `spawn` (feature `tokio`) or `scope`.
    #[must_use]
    pub fn current() -> Option<Self> {
        // On a thread that is being torn down there is none any more.
        let id = |current: &RefCell<Option<Correlation>>| current.borrow().as_ref()?.id().cloned();
        CURRENT.try_with(id).ok().flatten()
    }
}

impl Correlation {
    /// Returns what the task that is running on this thread carries, which is nothing outside of a request.
    #[must_use]
    pub fn current() -> Self {
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten().unwrap_or_default()
    }

    /// Calls a function with this as what is [current](Self::current).
    pub fn enter<T>(self, function: impl FnOnce() -> T) -> T {
        ScopeSlot::new(self).enter(function)
    }
}

/// Runs a future with an id, or all that a task carries, as what is [current](Correlation::current), while it is polled and while it is
/// dropped.
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

/// Returns a function that runs with what is [current](Correlation::current) now, for a thread or a pool.
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

/// Spawns a task of tokio's that carries what the one that spawns it does.
///
/// # Panics
///
/// Outside of a runtime, as [`tokio::spawn`].
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(scope(Correlation::current(), future))
}

pin_project! {
    /// A future with what it carries, which is in [`CURRENT`] while the future runs and here while it doesn't.
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
    /// Makes the future and puts it into the scope, which already holds while it is made.
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

    /// Takes the correlation out of a future that has ended.
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

/// What is carried between the turns of a task, for who calls a function more than once: no copy is made for a turn.
#[derive(Debug)]
pub struct ScopeSlot(Option<Correlation>);

impl ScopeSlot {
    /// Returns what is carried.
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

/// Swaps what is carried with the thread's current one, and back when dropped, by a panic too.
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
    // On a thread that is being torn down there is nothing current any more; the future runs all the same.
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
