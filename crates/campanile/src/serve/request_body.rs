use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::{Method, Request, header};
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
    waiting: Option<Wait>,
    timeouts: Timeouts,
}

/// A wait for data from the client.
#[derive(Debug)]
struct Wait {
    since: Instant,
    /// The time at which the client has used up what it has.
    end: Pin<Box<Sleep>>,
    wake: Arc<Wake>,
}

/// The application's waker, and when it was woken: the client does not answer for the time after it.
#[derive(Debug)]
struct Wake {
    waker: Waker,
    woken: OnceLock<Instant>,
}

impl Wake {
    fn new(waker: &Waker) -> Arc<Self> {
        Arc::new(Self {
            waker: waker.clone(),
            woken: OnceLock::new(),
        })
    }
}

impl std::task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.get_or_init(now);
        self.waker.wake_by_ref();
    }
}

impl RequestBodyError {
    fn read(error: hyper::Error) -> Self {
        Self::Read(error.into())
    }
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

/// Returns whether the stream of a request's body may be silent: in gRPC and in CONNECT.
pub(super) fn may_be_silent<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    let is_grpc = rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]));
    request.method() == Method::CONNECT || is_grpc
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
        let inner = Pin::new(&mut this.inner);
        let Some(deadline) = &mut this.deadline else {
            return inner.poll_frame(cx).map_err(RequestBodyError::read);
        };
        deadline.pause();
        let wake = Wake::new(cx.waker());
        let waker = Waker::from(Arc::clone(&wake));
        let polled = inner.poll_frame(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            ready!(deadline.poll_end(wake, cx));
            this.is_over = true;
            deadline.timeouts.request_body();
            let limit = deadline.limit;
            return Poll::Ready(Some(Err(RequestBodyError::Timeout { limit })));
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            deadline.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled.map_err(RequestBodyError::read)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Deadline {
    /// Ends the wait in progress, at the time that data arrived.
    fn pause(&mut self) {
        if let Some(wait) = self.waiting.take() {
            let end = wait.wake.woken.get().copied().unwrap_or_else(now);
            self.waited += end.saturating_duration_since(wait.since);
        }
    }

    /// Completes when the client has used up its time.
    fn poll_end(&mut self, wake: Arc<Wake>, cx: &mut Context<'_>) -> Poll<()> {
        let earned = Duration::from_secs(self.received / BYTES_PER_SECOND);
        let left = self
            .limit
            .saturating_add(earned)
            .saturating_sub(self.waited);
        if left.is_zero() {
            return Poll::Ready(());
        }
        let since = now();
        let wait = self.waiting.insert(Wait {
            since,
            end: Box::pin(tokio::time::sleep_until(later(since, left))),
            wake,
        });
        wait.end.as_mut().poll(cx)
    }
}
