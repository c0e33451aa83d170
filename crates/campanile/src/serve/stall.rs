//! Streams of HTTP/2 whose client opens no window for the response.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::clock::{later, now};
use super::timeouts::Timeouts;

thread_local! {
    /// The state of the stream that is polled.
    static CURRENT: RefCell<Option<Arc<Stall>>> = const { RefCell::new(None) };
}

/// Whether a stream's response waits for its client.
///
/// Hyper polls a response's body again when the client's window has taken the data before. So a body
/// that is not polled after it returned data waits for the client, and so does one whose last data is
/// not sent.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Odd while the response waits for the client; each wait has a number of its own.
    wait: AtomicU64,
}

impl Stall {
    /// Returns the state of the stream in which this is called; `None` outside of one.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(super) fn begin(&self) {
        self.wait.fetch_or(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        // It becomes even, and another number: 2n + 1 is followed by 2n + 2. Only the stream itself
        // begins and ends waits, on one thread at a time.
        let is_waiting = self.wait.load(Ordering::Relaxed) & 1;
        self.wait.fetch_add(is_waiting, Ordering::Relaxed);
    }

    /// Notes that the client has read something: a wait that goes on is another one.
    pub(super) fn advance(&self) {
        self.wait.fetch_add(2, Ordering::Relaxed);
    }

    fn number(&self) -> Option<u64> {
        let wait = self.wait.load(Ordering::Relaxed);
        (wait & 1 == 1).then_some(wait)
    }
}

/// Ends a stream whose client has not read for too long.
#[derive(Debug)]
pub(super) struct Watch {
    stall: Option<Arc<Stall>>,
    timeout: Duration,
    /// The wait that is timed, and its end.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
    timeouts: Timeouts,
}

impl Watch {
    pub(super) fn new(timeout: Duration, timeouts: Timeouts) -> Self {
        Self {
            stall: Some(Arc::default()),
            timeout,
            timer: None,
            timeouts,
        }
    }

    /// Polls the stream; completes, too, when its client has not read for the timeout.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        {
            let _entered = Entered::new(&mut self.stall);
            if poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        let Some(number) = self.stall.as_ref().and_then(|stall| stall.number()) else {
            self.timer = None;
            return Poll::Pending;
        };
        if self
            .timer
            .as_ref()
            .is_none_or(|(timed, _)| *timed != number)
        {
            let end = later(now(), self.timeout);
            self.timer = Some((number, Box::pin(tokio::time::sleep_until(end))));
        }
        let ended = self
            .timer
            .as_mut()
            .map(|(_, sleep)| sleep.as_mut().poll(cx));
        if ended.is_some_and(|ended| ended.is_ready()) {
            self.timeouts.response();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Makes a stream's state the current one, and gives it back, also if the application panics.
struct Entered<'a> {
    place: &'a mut Option<Arc<Stall>>,
    before: Option<Arc<Stall>>,
}

impl<'a> Entered<'a> {
    fn new(place: &'a mut Option<Arc<Stall>>) -> Self {
        let before = CURRENT.replace(place.take());
        Self { place, before }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        *self.place = CURRENT.replace(self.before.take());
    }
}
