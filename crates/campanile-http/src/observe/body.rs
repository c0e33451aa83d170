use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::guard::Guard;
use crate::{Observer, Outcome};

pin_project! {
    /// The response body of [`Observe`](crate::Observe): the inner body, byte for byte.
    ///
    /// The request ends with the last frame, or when the body is dropped.
    pub struct ResponseBody<B, O: Observer> {
        // `None` only while the body is dropped.
        #[pin]
        inner: Option<B>,
        // `None` for an excluded exchange, and after the end.
        guard: Option<Guard<O>>,
    }

    impl<B, O: Observer> PinnedDrop for ResponseBody<B, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(guard) = this.guard {
                guard.scope_of_drop(|| this.inner.set(None));
            }
        }
    }
}

impl<B, O: Observer> ResponseBody<B, O> {
    pub(super) fn new(inner: B, guard: Option<Guard<O>>) -> Self {
        Self {
            inner: Some(inner),
            guard,
        }
    }
}

impl<B: Body, O: Observer> Body for ResponseBody<B, O> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(mut inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(guard) = this.guard else {
            return inner.poll_frame(cx);
        };
        let polled = guard.scope(|| inner.as_mut().poll_frame(cx));
        let outcome = match &polled {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    guard.sent(data.remaining());
                    guard.read(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    guard.trailers(trailers);
                }
                // A server does not poll again after the last frame, and nothing follows trailers.
                (frame.is_trailers() || inner.is_end_stream()).then_some(Outcome::Completed)
            }
            Poll::Ready(Some(Err(_))) => Some(Outcome::BodyError),
            Poll::Ready(None) => Some(Outcome::Completed),
        };
        if let (Some(outcome), Some(guard)) = (outcome, outcome.and_then(|_| this.guard.take())) {
            guard.end(outcome);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Default, O: Observer> Default for ResponseBody<B, O> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: fmt::Debug, O: Observer> fmt::Debug for ResponseBody<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
