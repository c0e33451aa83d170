use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// To be marked if the application does not read to the end, with the number of the request.
    /// `None` after the end.
    rest: Option<(Arc<Rest>, u64)>,
}

/// Which request of an HTTP/1 connection has a body that the application did not read to its end.
///
/// The server begins the next head after the body before it has arrived. The application may drop
/// that body later still.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The number of the latest request, from 1; always 0 for HTTP/2.
    request: AtomicU64,
    /// The number of the latest request with such a body; 0 for none.
    unread: AtomicU64,
}

impl Rest {
    /// Begins the next request of the connection.
    pub(super) fn next_request(&self) {
        self.request.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether the body of the latest request was not read to its end.
    pub(super) fn is_unread(&self) -> bool {
        let unread = self.unread.load(Ordering::Relaxed);
        unread > 0 && unread == self.request.load(Ordering::Relaxed)
    }

    fn request(&self) -> u64 {
        self.request.load(Ordering::Relaxed)
    }

    fn leave(&self, request: u64) {
        self.unread.fetch_max(request, Ordering::Relaxed);
    }
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
    /// The start of the wait for data from the client, if one is in progress.
    waiting: Option<Instant>,
    /// Ends at the time at which the client has used up what it has.
    end: Option<Pin<Box<Sleep>>>,
    /// The waker of the last poll.
    wake: Option<Arc<Wake>>,
    timeouts: Timeouts,
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
    pub(super) fn new(
        inner: Incoming,
        limit: Option<Duration>,
        timeouts: &Timeouts,
        rest: &Arc<Rest>,
    ) -> Self {
        let deadline = limit.map(|limit| Deadline {
            limit,
            waited: Duration::ZERO,
            received: 0,
            waiting: None,
            end: None,
            wake: None,
            timeouts: timeouts.clone(),
        });
        Self {
            inner,
            deadline,
            is_over: false,
            rest: Some((Arc::clone(rest), rest.request())),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some((rest, request)) = self.rest.take()
            && !self.inner.is_end_stream()
        {
            rest.leave(request);
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
            let polled = inner.poll_frame(cx);
            if let Poll::Ready(None) = &polled {
                this.rest = None;
            }
            return polled.map_err(RequestBodyError::read);
        };
        deadline.pause();
        let waker = deadline.waker(cx.waker());
        let polled = inner.poll_frame(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            ready!(deadline.poll_end(cx));
            this.is_over = true;
            deadline.timeouts.request_body();
            let limit = deadline.limit;
            return Poll::Ready(Some(Err(RequestBodyError::Timeout { limit })));
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                deadline.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(None) => this.rest = None,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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
        if let Some(since) = self.waiting.take() {
            let woken = self
                .wake
                .as_ref()
                .and_then(|wake| wake.woken.get().copied());
            let end = woken.unwrap_or_else(now);
            self.waited += end.saturating_duration_since(since);
        }
    }

    /// Returns a waker that notes when it is woken. It is that of the last poll if it can be.
    fn waker(&mut self, waker: &Waker) -> Waker {
        let before = self.wake.take();
        let same = before.filter(|wake| wake.woken.get().is_none() && wake.waker.will_wake(waker));
        let wake = same.unwrap_or_else(|| Wake::new(waker));
        Waker::from(Arc::clone(self.wake.insert(wake)))
    }

    /// Completes when the client has used up its time.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let earned = Duration::from_secs(self.received / BYTES_PER_SECOND);
        let left = self
            .limit
            .saturating_add(earned)
            .saturating_sub(self.waited);
        if left.is_zero() {
            return Poll::Ready(());
        }
        let since = now();
        self.waiting = Some(since);
        let end = later(since, left);
        let sleep = self
            .end
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        sleep.as_mut().reset(end);
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_of_one_task_share_a_waker_until_it_is_woken() {
        let campanile = crate::Campanile::builder("test").build().unwrap();
        let mut deadline = Deadline {
            limit: Duration::ZERO,
            waited: Duration::ZERO,
            received: 0,
            waiting: None,
            end: None,
            wake: None,
            timeouts: Timeouts::new(&campanile),
        };
        let first = deadline.waker(Waker::noop());
        let second = deadline.waker(Waker::noop());
        assert!(first.will_wake(&second));
        first.wake();
        let third = deadline.waker(Waker::noop());
        assert!(!third.will_wake(&second));
    }

    #[test]
    fn a_rest_is_that_of_the_latest_request() {
        let rest = Rest::default();
        // A connection of HTTP/2 begins no heads.
        rest.leave(rest.request());
        assert!(!rest.is_unread());
        rest.next_request();
        let first = rest.request();
        assert!(!rest.is_unread());
        rest.leave(first);
        assert!(rest.is_unread());
        // Its rest has arrived, so the connection waits for the next request.
        rest.next_request();
        assert!(!rest.is_unread());
        rest.leave(rest.request());
        rest.leave(first);
        assert!(rest.is_unread());
        rest.next_request();
        rest.leave(first);
        assert!(!rest.is_unread());
    }
}
