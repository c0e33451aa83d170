use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::connections::InProgress;
use super::stall::Stall;

pin_project! {
    /// A response's body, with its request's mark; without an inner one it is empty.
    pub(super) struct Tracked<B> {
        #[pin]
        inner: Option<B>,
        stall: Option<Arc<Stall>>,
        _in_progress: InProgress,
    }
}

impl<B> Tracked<B> {
    pub(super) fn new(inner: Option<B>, in_progress: InProgress) -> Self {
        let stall = Stall::current();
        if let Some(stall) = &stall {
            stall.begin();
        }
        Self {
            inner,
            stall,
            _in_progress: in_progress,
        }
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = inner.poll_frame(cx);
        if let Some(stall) = this.stall {
            stall.end();
            if matches!(polled, Poll::Ready(Some(Ok(_)))) {
                stall.begin();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let empty = || SizeHint::with_exact(0);
        self.inner.as_ref().map_or_else(empty, Body::size_hint)
    }
}
