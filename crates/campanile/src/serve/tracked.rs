use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::connections::InProgress;
use super::sending::{Piece, Sending};

pin_project! {
    /// A response's body, whose request is in progress until all of it is sent; without an inner one
    /// it is empty.
    pub(super) struct Tracked<B> {
        #[pin]
        inner: Option<B>,
        is_over: bool,
        trailers: Option<HeaderMap>,
        sending: Arc<Sending>,
    }
}

impl<B> Tracked<B> {
    pub(super) fn new(inner: Option<B>, in_progress: InProgress) -> Self {
        Self {
            is_over: inner.is_none(),
            inner,
            trailers: None,
            sending: Sending::new(in_progress),
        }
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        let polled = match (this.trailers.take(), this.inner.as_pin_mut()) {
            (Some(trailers), _) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            (None, Some(inner)) if !*this.is_over => {
                let polled = inner.poll_frame(cx);
                this.sending.polled(polled.is_ready());
                polled
            }
            (None, _) => Poll::Ready(None),
        };
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                *this.is_over = true;
                ready!(this.sending.poll_sent(cx));
                return Poll::Ready(None);
            }
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => Frame::data(this.sending.piece(data)),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if this.sending.poll_sent(cx).is_pending() {
                    *this.trailers = Some(trailers);
                    return Poll::Pending;
                }
                Frame::trailers(trailers)
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = || self.inner.as_ref().is_none_or(Body::is_end_stream);
        (self.is_over || is_over()) && self.trailers.is_none() && !self.sending.holds_end()
    }

    fn size_hint(&self) -> SizeHint {
        let empty = || SizeHint::with_exact(0);
        self.inner.as_ref().map_or_else(empty, Body::size_hint)
    }
}
