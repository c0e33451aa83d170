use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::{Buf, Bytes};

use super::connections::InProgress;
use super::stall::Stall;

/// The data of a response that the server holds, from the body to the socket.
///
/// The request is in progress until the last of it is sent: hyper drops a body long before, when it
/// has the data in its buffers.
pub(super) struct Sending {
    in_progress: InProgress,
    stall: Option<Arc<Stall>>,
    /// The large pieces that are not sent yet.
    large: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// The bytes of a piece that is small enough to be left to HTTP/2's buffers when its stream ends.
///
/// A larger piece keeps the stream, so that it can be reset if its client does not read.
const SMALL: usize = 16 * 1024;

impl Sending {
    pub(super) fn new(in_progress: InProgress) -> Arc<Self> {
        let stall = Stall::current();
        if let Some(stall) = &stall {
            stall.begin();
        }
        Arc::new(Self {
            in_progress,
            stall,
            large: AtomicUsize::new(0),
            waker: Mutex::new(None),
        })
    }

    /// Notes that the body was polled, and whether it returned something that is to be sent.
    pub(super) fn polled(&self, is_ready: bool) {
        if let Some(stall) = &self.stall {
            stall.end();
            if is_ready {
                stall.begin();
            }
        }
    }

    /// Returns whether the end of the body has to wait for a large piece, which is so in HTTP/2 alone.
    pub(super) fn holds_end(&self) -> bool {
        self.stall.is_some() && self.large.load(Ordering::Acquire) > 0
    }

    /// Waits until all large pieces are sent.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.holds_end() {
            return Poll::Ready(());
        }
        *self.waker() = Some(cx.waker().clone());
        // The last piece may have been sent meanwhile.
        match self.holds_end() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Returns a piece of the response that is to be sent.
    pub(super) fn piece<D: Buf>(self: &Arc<Self>, data: D) -> Piece<D> {
        let is_large = data.remaining() > SMALL;
        match is_large {
            true => drop(self.large.fetch_add(1, Ordering::Relaxed)),
            false => self.in_progress.connection().unsent(),
        }
        Piece {
            data,
            is_large,
            sending: Arc::clone(self),
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        // Nothing that can panic runs under the lock.
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of a response, until it is sent.
pub(super) struct Piece<D> {
    data: D,
    is_large: bool,
    sending: Arc<Sending>,
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(dst)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.sending.in_progress.connection().progress();
        if let Some(stall) = &self.sending.stall {
            stall.advance();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.data.copy_to_bytes(len)
    }
}

impl<D> Drop for Piece<D> {
    fn drop(&mut self) {
        let sending = &self.sending;
        let connection = sending.in_progress.connection();
        connection.progress();
        if !self.is_large {
            connection.sent();
        } else if sending.large.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = sending.waker().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
