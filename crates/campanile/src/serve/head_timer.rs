use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::clock::{later, now};
use super::connections::Permit;
use super::request_body::Rest;
use super::timeouts::Timeouts;
use super::upgrades::Upgraded;

/// What a connection's reads and its timer of heads tell each other.
pub(super) struct Heads {
    start: Instant,
    timeout: Duration,
    /// Bytes that have come.
    received: AtomicU64,
    /// Hyper has begun to read a head of HTTP/1, and times it.
    http1: AtomicBool,
    /// HTTP/2's preface has come.
    http2: AtomicBool,
    /// The idle timeout of HTTP/1 is over.
    idle: AtomicBool,
    /// The client read a response too slowly.
    unread: AtomicBool,
    /// The request whose body the application did not read to its end.
    pub(super) rest: Arc<Rest>,
    /// Once the connection has left HTTP/1, and for as long as its socket lives, which then is all that holds this.
    upgraded: OnceLock<Upgraded>,
}

impl Heads {
    pub(super) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            start: now(),
            timeout,
            received: AtomicU64::new(0),
            http1: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            rest: Arc::default(),
            upgraded: OnceLock::new(),
        })
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Returns whether the connection is one of HTTP/2, as far as is known.
    pub(super) fn may_be_http2(&self) -> bool {
        !self.http1.load(Ordering::Relaxed)
    }

    /// Returns whether the connection ended because it was idle.
    pub(super) fn was_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Returns whether the connection ended because its client read a response too slowly.
    pub(super) fn was_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    fn is_upgraded(&self) -> bool {
        self.upgraded.get().is_some()
    }

    pub(super) fn upgrade(&self, upgraded: Upgraded) {
        // It happens once in a connection's life.
        let _ = self.upgraded.set(upgraded);
    }
}

/// The timer that hyper times heads of HTTP/1 with.
///
/// Hyper starts it as soon as it could read a head, that is while the connection is idle too. A sleep of this timer ends at
/// hyper's deadline, which is then the idle timeout, or earlier: a head's timeout after the first byte has come. The first
/// head of a connection is timed from the connection's start.
pub(super) struct HeadTimer(pub(super) Arc<Heads>);

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let Self(heads) = self;
        let first = !heads.http1.swap(true, Ordering::Relaxed);
        heads.rest.next_request();
        let deadline = if first {
            later(heads.start, heads.timeout)
        } else {
            deadline.into()
        };
        Box::pin(HeadSleep {
            received: heads.received.load(Ordering::Relaxed),
            heads: Arc::clone(heads),
            begun: first,
            sleep: Box::pin(tokio::time::sleep_until(deadline)),
        })
    }

    fn now(&self) -> std::time::Instant {
        now().into()
    }
}

struct HeadSleep {
    heads: Arc<Heads>,
    /// How many bytes had come when the sleep began.
    received: u64,
    /// Whether a head has begun.
    begun: bool,
    sleep: Pin<Box<Sleep>>,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.begun && this.heads.received.load(Ordering::Relaxed) != this.received {
            this.begun = true;
            this.sleep.as_mut().reset(later(now(), this.heads.timeout));
        }
        let polled = this.sleep.as_mut().poll(cx);
        if polled.is_ready() && !this.begun {
            this.heads.idle.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl hyper::rt::Sleep for HeadSleep {}

/// A connection's socket. It counts the bytes received and holds the connection's permit for as long as it lives, upgraded or
/// not.
///
/// It fails where hyper has no timeout: if the client doesn't say in time which version of HTTP it speaks, and if it
/// accepts nothing of a response for too long.
pub(super) struct Socket<Io> {
    stream: Io,
    heads: Arc<Heads>,
    /// Until the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
    /// How much of [`PREFACE`] has come.
    preface: usize,
    write_timeout: Duration,
    /// While the client accepts nothing.
    write_deadline: Option<Pin<Box<Sleep>>>,
    timeouts: Timeouts,
    lingering: Lingering,
    _permit: Permit,
}

/// How far a close is.
enum Lingering {
    No,
    /// What the client still sends is discarded until then.
    Until(Pin<Box<Sleep>>),
}

/// The time in which a client can send the rest of a request before the connection is closed.
///
/// Data that arrives at a closed socket resets the connection, and the client may lose the response.
const LINGER: Duration = Duration::from_secs(2);

/// The reads that discard data before other tasks have a turn.
const READS: usize = 32;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<Io> Socket<Io> {
    pub(super) fn new(
        stream: Io,
        heads: Arc<Heads>,
        permit: Permit,
        write_timeout: Duration,
        timeouts: Timeouts,
    ) -> Self {
        let deadline = tokio::time::sleep_until(later(heads.start, heads.timeout));
        Self {
            stream,
            heads,
            deadline: Some(Box::pin(deadline)),
            preface: 0,
            write_timeout,
            write_deadline: None,
            timeouts,
            lingering: Lingering::No,
            _permit: permit,
        }
    }

    /// Passes a write's result on, and fails if writes have been pending for too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() || self.heads.is_upgraded() {
            self.write_deadline = None;
            return polled;
        }
        let timeout = self.write_timeout;
        let deadline = self
            .write_deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(later(now(), timeout))));
        if deadline.as_mut().poll(cx).is_ready() {
            self.timeouts.response();
            self.heads.unread.store(true, Ordering::Relaxed);
            let error = io::Error::new(ErrorKind::TimedOut, "response read too slowly");
            return Poll::Ready(Err(error));
        }
        polled
    }

    fn received(&mut self, bytes: &[u8]) {
        self.heads
            .received
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.deadline.is_some() {
            let common = bytes
                .iter()
                .zip(&PREFACE[self.preface..])
                .take_while(|(one, other)| one == other);
            self.preface += common.count();
            self.heads
                .http2
                .store(self.preface == PREFACE.len(), Ordering::Relaxed);
        }
    }

    fn is_version_known(&self) -> bool {
        self.heads.http1.load(Ordering::Relaxed) || self.heads.is_http2()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Socket<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.received(&buf.filled()[before..]);
        if this.is_version_known() {
            this.deadline = None;
        }
        if let (Poll::Pending, Some(deadline)) = (&polled, &mut this.deadline)
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "no request came")));
        }
        polled
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Lingering::No = this.lingering {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            // An upgraded connection may go on in one direction, and the application reads it.
            if this.heads.is_upgraded() || !this.heads.rest.is_unread() {
                return Poll::Ready(Ok(()));
            }
            let end = tokio::time::sleep_until(later(now(), LINGER));
            this.lingering = Lingering::Until(Box::pin(end));
        }
        let Lingering::Until(end) = &mut this.lingering else {
            return Poll::Ready(Ok(()));
        };
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 8 * 1024];
        for _ in 0..READS {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
