use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{Correlation, ScopeSlot};

pin_project! {
    /// The response body of [`SetCorrelationId`](crate::SetCorrelationId): the inner body, byte for
    /// byte.
    ///
    /// The request's [`Correlation`] is the [current](Correlation::current) one while the inner
    /// body is polled and while it is dropped.
    pub struct ResponseBody<B> {
        // `None` only while the body is dropped.
        #[pin]
        inner: Option<B>,
        // `None` for a response that the layer itself made.
        slot: Option<ScopeSlot>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            match this.slot {
                Some(slot) => slot.enter(|| this.inner.set(None)),
                None => this.inner.set(None),
            }
        }
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn new(inner: B, correlation: Option<Correlation>) -> Self {
        Self {
            inner: Some(inner),
            slot: correlation.map(ScopeSlot::new),
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        match this.slot {
            Some(slot) => slot.enter(|| inner.poll_frame(cx)),
            None => inner.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let empty = || SizeHint::with_exact(0);
        self.inner.as_ref().map_or_else(empty, Body::size_hint)
    }
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
