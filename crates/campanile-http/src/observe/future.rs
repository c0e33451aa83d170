use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::guard::Guard;
use crate::{Observer, Outcome, ResponseBody};

pin_project! {
    /// The response future of [`Observe`](crate::Observe).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, O: Observer> {
        // `None` only while the future is dropped.
        #[pin]
        inner: Option<F>,
        // `None` for an excluded exchange, and after the response has taken the guard.
        guard: Option<Guard<O>>,
    }

    impl<F, O: Observer> PinnedDrop for ResponseFuture<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The inner future is dropped inside the scope, before the end.
            if let Some(guard) = this.guard {
                guard.scope_of_drop(|| this.inner.set(None));
            }
        }
    }
}

impl<F, O: Observer> ResponseFuture<F, O> {
    pub(super) fn new(inner: F, guard: Option<Guard<O>>) -> Self {
        Self {
            inner: Some(inner),
            guard,
        }
    }
}

impl<F, O, B, E> Future for ResponseFuture<F, O>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    O: Observer,
{
    type Output = Result<Response<ResponseBody<B, O>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let result = match this.guard {
            Some(guard) => ready!(guard.scope(|| inner.poll(cx))),
            None => ready!(inner.poll(cx)),
        };
        let guard = this.guard.take();
        Poll::Ready(match result {
            Ok(response) => {
                let guard = guard.and_then(|guard| guard.respond(&response));
                Ok(response.map(|body| ResponseBody::new(body, guard)))
            }
            Err(error) => {
                if let Some(guard) = guard {
                    guard.end(Outcome::ServiceError);
                }
                Err(error)
            }
        })
    }
}

impl<F, O: Observer> fmt::Debug for ResponseFuture<F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
