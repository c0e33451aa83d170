use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use campanile_http::{Clock, End, Head, ObserveLayer, Observer, Route};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A connection whose reads fail when a client takes too long over a request's head.
///
/// The time runs from the start of the connection, and from the first byte that comes while no request is in progress, to the
/// beginning of the next request. An idle connection has no deadline, nor has one that is upgraded or speaks HTTP/2 once its
/// preface has come: its pings would look like heads.
pub(super) struct HeadDeadline {
    stream: TcpStream,
    activity: Arc<Activity>,
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
    /// How many requests had begun when the deadline was set; `None` if there is none.
    set_at: Option<u64>,
    preface: Preface,
}

/// What a connection's exchanges, which hyper has, tell the connection's reads.
#[derive(Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    upgraded: AtomicBool,
}

/// How much of HTTP/2's connection preface (RFC 9113, section 3.4) has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preface {
    Matched(usize),
    Http1,
    Http2,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl HeadDeadline {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, timeout: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(timeout));
        Self {
            stream,
            activity,
            timeout,
            deadline,
            set_at: Some(0),
            preface: Preface::Matched(0),
        }
    }

    /// Takes note of bytes that have come.
    fn received(&mut self, bytes: &[u8]) {
        if let Preface::Matched(matched) = self.preface {
            let common = bytes
                .iter()
                .zip(&PREFACE[matched..])
                .take_while(|(one, other)| one == other)
                .count();
            self.preface = match matched + common {
                matched if matched == PREFACE.len() => Preface::Http2,
                matched if common == bytes.len() => Preface::Matched(matched),
                _ => Preface::Http1,
            };
        }
        if self.set_at.is_none() && !self.activity.in_progress() {
            self.set_at = Some(self.activity.begun());
            self.deadline.as_mut().reset(Instant::now() + self.timeout);
        }
    }

    /// Returns whether the deadline that is set still holds.
    fn is_timed(&mut self) -> bool {
        let exempt =
            self.preface == Preface::Http2 || self.activity.upgraded.load(Ordering::Relaxed);
        if exempt || self.set_at != Some(self.activity.begun()) {
            self.set_at = None;
        }
        self.set_at.is_some()
    }
}

impl AsyncRead for HeadDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        // A deadline that a request has met must not be taken for that of the next one.
        this.is_timed();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            this.received(received);
        }
        if polled.is_pending() && this.is_timed() && this.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                ErrorKind::TimedOut,
                "the request's head took too long",
            )));
        }
        polled
    }
}

impl AsyncWrite for HeadDeadline {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Activity {
    /// Returns the layer that notes the connection's exchanges, and wants neither their times nor their routes.
    pub(super) fn layer(self: &Arc<Self>) -> ObserveLayer<Arc<Self>> {
        let never = std::time::Instant::from(Instant::now());
        ObserveLayer::builder(Arc::clone(self))
            .route(|_| Some(Route::from_static("/")))
            .clock(Clock::new(move || never))
            .build()
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn in_progress(&self) -> bool {
        self.begun() > self.ended.load(Ordering::Relaxed)
    }
}

impl Observer for Activity {
    /// Whether the method is CONNECT.
    type Exchange = bool;

    fn begin(&self, head: &mut Head<'_>) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed);
        head.method() == Method::CONNECT
    }

    fn responded(&self, connect: &mut bool, status: StatusCode, _: &HeaderMap) {
        if status == StatusCode::SWITCHING_PROTOCOLS || (*connect && status.is_success()) {
            self.upgraded.store(true, Ordering::Relaxed);
        }
    }

    fn end(&self, _: bool, _: &End) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}
