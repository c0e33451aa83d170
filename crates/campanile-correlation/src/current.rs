use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::CorrelationId;

thread_local! {
    static CURRENT: RefCell<Option<CorrelationId>> = const { RefCell::new(None) };
}

impl CorrelationId {
    /// Returns the id of the request whose task is running on this thread, or `None` outside of one.
    ///
    /// It is set by [`CorrelationIdLayer`](crate::CorrelationIdLayer) and [`scope`]. A spawned task is a task of its own:
    /// take the id along with `scope`.
    #[must_use]
    pub fn current() -> Option<Self> {
        // On a thread that is being torn down there is none any more.
        CURRENT
            .try_with(|current| current.borrow().clone())
            .ok()
            .flatten()
    }
}

/// Runs a future with a correlation id as its [`CorrelationId::current`], while it is polled and while it is dropped.
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
pub fn scope<F: Future>(id: CorrelationId, future: F) -> impl Future<Output = F::Output> {
    Scoped::new(id, future)
}

pin_project! {
    /// A future with its id, which is in [`CURRENT`] while the future runs and here while it doesn't.
    pub(crate) struct Scoped<F> {
        #[pin]
        inner: Option<F>,
        id: Option<CorrelationId>,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = Entered::new(this.id);
            this.inner.set(None);
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) fn new(id: CorrelationId, inner: F) -> Self {
        Self {
            inner: Some(inner),
            id: Some(id),
        }
    }

    /// Makes the future and puts it into the scope, which already holds while it is made.
    #[inline]
    pub(crate) fn make(id: CorrelationId, make: impl FnOnce() -> F) -> Self {
        let mut id = Some(id);
        let inner = {
            let _entered = Entered::new(&mut id);
            make()
        };
        Self {
            inner: Some(inner),
            id,
        }
    }

    #[inline]
    pub(crate) fn take_id(self: Pin<&mut Self>) -> Option<CorrelationId> {
        self.project().id.take()
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
        let _entered = Entered::new(this.id);
        inner.poll(cx)
    }
}

/// Swaps an id with the thread's current one, and back when dropped, by a panic too.
struct Entered<'a>(&'a mut Option<CorrelationId>);

impl<'a> Entered<'a> {
    #[inline]
    fn new(id: &'a mut Option<CorrelationId>) -> Self {
        swap(id);
        Self(id)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

#[inline]
fn swap(id: &mut Option<CorrelationId>) {
    // A thread that is being torn down has no current id any more; the future runs all the same.
    let _ = CURRENT.try_with(|current| {
        current
            .try_borrow_mut()
            .map(|mut current| std::mem::swap(&mut *current, id))
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
