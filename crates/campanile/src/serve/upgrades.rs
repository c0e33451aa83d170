use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "metrics")]
use campanile_metrics::Gauge;
use hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::connections::{Connection, InProgress};
use super::stall::Watch;
use super::timeouts::Timeouts;
use crate::Campanile;

/// The gauge of upgrades: connections of HTTP/1 and streams of HTTP/2 that have left HTTP.
///
/// A layer can't count them, because what hyper gives to the handler can't be wrapped: only the server sees their end.
#[derive(Clone)]
pub(super) struct Upgrades {
    #[cfg(feature = "metrics")]
    active: Option<Gauge>,
}

impl Upgrades {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "only metrics need it")
    )]
    pub(super) fn new(campanile: &Campanile) -> Self {
        #[cfg(feature = "metrics")]
        campanile.metrics().describe(
            ACTIVE,
            "Upgraded connections and streams (101, CONNECT) that have not ended.",
        );
        Self {
            // A host that has this name for something else keeps it.
            #[cfg(feature = "metrics")]
            active: campanile.metrics().gauge(ACTIVE, &[]).ok(),
        }
    }

    /// Counts one, until what is returned is dropped.
    pub(super) fn begin(&self) -> Upgraded {
        self.count(1.0);
        Upgraded(self.clone())
    }

    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "only metrics count")
    )]
    fn count(&self, by: f64) {
        #[cfg(feature = "metrics")]
        if let Some(active) = &self.active {
            active.increment(by);
        }
    }
}

#[cfg(feature = "metrics")]
const ACTIVE: &str = "http_upgraded_connections";

/// An upgraded connection or stream, in the gauge.
pub(super) struct Upgraded(Upgrades);

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.0.count(-1.0);
    }
}

/// What hyper spawns the streams of an HTTP/2 connection with.
///
/// What a stream itself spawns, hyper does for one purpose only: to copy the bytes of an upgraded stream until its end.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) upgrades: Upgrades,
    pub(super) connection: Arc<Connection>,
    pub(super) write_timeout: Duration,
    pub(super) timeouts: Timeouts,
    pub(super) alive: Alive,
}

/// Held by each stream, so that the server can wait until all of them have ended.
pub(super) type Alive = tokio::sync::mpsc::Sender<std::convert::Infallible>;

thread_local! {
    static IN_STREAM: Cell<bool> = const { Cell::new(false) };
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let alive = self.alive.clone();
        if IN_STREAM.get() {
            let upgraded = (self.upgrades.begin(), InProgress::new(&self.connection));
            tokio::spawn(async move {
                future.await;
                drop((upgraded, alive));
            });
        } else {
            let watch = Watch::new(self.write_timeout, self.timeouts.clone());
            let stream = Stream { future, watch };
            tokio::spawn(async move {
                stream.await;
                drop(alive);
            });
        }
    }
}

pin_project! {
    struct Stream<F> {
        #[pin]
        future: F,
        watch: Watch,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _left = Entered(IN_STREAM.replace(true));
        let this = self.project();
        this.watch.poll(cx, |cx| this.future.poll(cx))
    }
}

/// Leaves the stream, also when the host's code panics.
struct Entered(bool);

impl Drop for Entered {
    fn drop(&mut self) {
        IN_STREAM.set(self.0);
    }
}
