use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, Sleep};

use super::clock::{later, now};
use super::timeouts::Timeouts;

/// The body of a request that [`Serve`](crate::Serve) received.
///
/// Reading it fails when the client sends it too slowly; see [`Serve::body_timeout`](crate::Serve::body_timeout).
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    /// `None` if the body may take as long as it likes.
    deadline: Option<Deadline>,
    is_over: bool,
}

/// An error while a request's body is read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// The client sent the body too slowly.
    #[error(
        "request body too slow: expected an end within {limit:?} of waiting for it, plus 1 s for every 500 bytes"
    )]
    Timeout {
        /// The setting.
        limit: Duration,
    },
    /// The connection failed, or the client sent invalid data.
    #[error("failed to read the request body")]
    Read(#[source] Box<dyn Error + Send + Sync>),
}

/// The bytes a client must send for each second that the server waits for it.
const BYTES_PER_SECOND: u64 = 500;

/// The time that the server waits for a client, of which each byte received allows some more.
#[derive(Debug)]
struct Deadline {
    limit: Duration,
    waited: Duration,
    received: u64,
    /// The start of the wait in progress, and its end.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    timeouts: Timeouts,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, limit: Option<Duration>, timeouts: &Timeouts) -> Self {
        let deadline = limit.map(|limit| Deadline {
            limit,
            waited: Duration::ZERO,
            received: 0,
            waiting: None,
            timeouts: timeouts.clone(),
        });
        Self {
            inner,
            deadline,
            is_over: false,
        }
    }
}

/// Returns whether the stream of a request's body may be silent: in gRPC and after an upgrade.
pub(super) fn may_be_silent<B>(request: &Request<B>) -> bool {
    let is_grpc = |headers: &HeaderMap| {
        let value = headers.get(header::CONTENT_TYPE);
        value.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
    };
    request.method() == Method::CONNECT
        || request.headers().contains_key(header::UPGRADE)
        || is_grpc(request.headers())
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Some(deadline) = &mut this.deadline {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => deadline.received(frame.data_ref()),
                Poll::Ready(_) => deadline.waiting = None,
                Poll::Pending => {
                    ready!(deadline.poll_end(cx));
                    this.is_over = true;
                    deadline.timeouts.request_body();
                    let limit = deadline.limit;
                    return Poll::Ready(Some(Err(RequestBodyError::Timeout { limit })));
                }
            }
        }
        polled.map_err(|error| RequestBodyError::Read(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Deadline {
    fn received(&mut self, data: Option<&Bytes>) {
        self.received += data.map_or(0, |data| data.len() as u64);
        if let Some((since, _)) = self.waiting.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// Completes when the client has used up its time.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (_, sleep) = self.waiting.get_or_insert_with(|| {
            let earned = Duration::from_secs(self.received / BYTES_PER_SECOND);
            let left = self
                .limit
                .saturating_add(earned)
                .saturating_sub(self.waited);
            let since = now();
            let end = Box::pin(tokio::time::sleep_until(later(since, left)));
            (since, end)
        });
        sleep.as_mut().poll(cx)
    }
}
