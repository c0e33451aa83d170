use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "metrics")]
use campanile_metrics::{Counter, Gauge};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::clock::now;
use crate::Campanile;

/// The connections of a server, and the limit on them.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    start: Instant,
    permits: Arc<Semaphore>,
    /// Room for connections that may only probe.
    reserve: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    has_warned: AtomicBool,
    #[cfg(feature = "metrics")]
    open_gauge: Option<Gauge>,
    #[cfg(feature = "metrics")]
    full: Option<Counter>,
    #[cfg(feature = "metrics")]
    evicted: Option<Counter>,
}

/// The connections above the limit that are accepted to answer health probes.
const RESERVE: usize = 16;

/// The time after which a further connection is evicted, while there is no room even in the reserve.
const EVICTION: Duration = Duration::from_millis(50);

/// The time that a request may wait for the place of a connection that is being closed for it.
const CLOSING: Duration = Duration::from_millis(1_500);

/// The kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    /// One of the reserve, until the connection that is closed for it is gone.
    Waiting,
    /// One of the reserve: it may only probe.
    Reserved,
}

impl Connections {
    pub(super) fn new(limit: usize, campanile: &Campanile) -> Self {
        #[cfg(feature = "metrics")]
        let counter = |name, help| {
            campanile.metrics().describe(name, help);
            // An application that has this name for something else keeps it.
            campanile.metrics().counter(name, &[]).ok()
        };
        #[cfg(feature = "metrics")]
        campanile.metrics().describe(
            "campanile_server_connections",
            "Connections that campanile's server holds.",
        );
        #[cfg(not(feature = "metrics"))]
        let _ = campanile;
        Self(Arc::new(Shared {
            start: now(),
            permits: Arc::new(Semaphore::new(limit)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            has_warned: AtomicBool::new(false),
            #[cfg(feature = "metrics")]
            open_gauge: campanile
                .metrics()
                .gauge("campanile_server_connections", &[])
                .ok(),
            #[cfg(feature = "metrics")]
            full: counter(
                "campanile_server_connections_full_total",
                "Connections that arrived while campanile's server held its limit of connections.",
            ),
            #[cfg(feature = "metrics")]
            evicted: counter(
                "campanile_server_connections_evicted_total",
                "Idle connections that campanile's server closed to make room for others.",
            ),
        }))
    }

    /// Returns a place for a connection that was accepted, as soon as there is one.
    ///
    /// At the limit, the connection that has been idle longest is closed for it. Meanwhile, or if none
    /// is idle, the place is one of the reserve.
    pub(super) async fn place(&self) -> Permit {
        if let Some(permit) = self.try_place() {
            return permit;
        }
        self.note_full();
        let permits = || Arc::clone(&self.0.permits).acquire_owned();
        let kind = match self.evict(false) {
            true => Kind::Waiting,
            false => Kind::Reserved,
        };
        loop {
            let permit = tokio::select! {
                biased;
                permit = permits() => permit.map(|permit| (permit, Kind::Normal)),
                permit = Arc::clone(&self.0.reserve).acquire_owned() => permit.map(|permit| (permit, kind)),
                // The reserve is full.
                () = sleep(EVICTION) => {
                    let _ = self.evict(false) || self.evict(true);
                    continue;
                }
            };
            // Nothing closes the semaphores.
            if let Ok((permit, kind)) = permit {
                return self.permit(permit, kind);
            }
        }
    }

    /// Returns a place if there is one now.
    pub(super) fn try_place(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.0.permits).try_acquire_owned().ok()?;
        Some(self.permit(permit, Kind::Normal))
    }

    fn permit(&self, permit: OwnedSemaphorePermit, kind: Kind) -> Permit {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            connections: self.clone(),
            number,
            kind: AtomicU8::new(kind as u8),
            permit: Mutex::new(Some(permit)),
            active: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            idle_since: AtomicU64::new(self.elapsed()),
            is_evicted: AtomicBool::new(false),
            close: Notify::new(),
            unsent: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
        });
        self.open().insert(number, Arc::clone(&connection));
        self.count(1.0);
        Permit { connection }
    }

    /// Closes the connection that has been idle longest, of the reserve or of the others; returns
    /// whether there is one.
    fn evict(&self, is_reserved: bool) -> bool {
        let open = self.open();
        let of_kind = open.values().filter(|of| of.is_reserved() == is_reserved);
        let idle = of_kind.filter(|connection| connection.is_idle());
        let longest = idle.min_by_key(|of| of.idle_since.load(Ordering::Relaxed));
        let Some(connection) = longest else {
            return false;
        };
        connection.is_evicted.store(true, Ordering::Relaxed);
        connection.close.notify_one();
        #[cfg(feature = "metrics")]
        if let Some(evicted) = &self.0.evicted {
            evicted.increment(1);
        }
        true
    }

    fn note_full(&self) {
        #[cfg(feature = "metrics")]
        if let Some(full) = &self.0.full {
            full.increment(1);
        }
        if !self.0.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the server holds its limit of connections: idle ones are closed, and if none is idle, \
                 only probes are answered on new ones; further times are only counted"
            );
        }
    }

    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "only metrics count")
    )]
    fn count(&self, by: f64) {
        #[cfg(feature = "metrics")]
        if let Some(open) = &self.0.open_gauge {
            open.increment(by);
        }
    }

    /// Returns the time since the server's start, in nanoseconds.
    fn elapsed(&self) -> u64 {
        let since = now().saturating_duration_since(self.0.start);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        // Nothing that can panic runs under the lock.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, as its server sees it.
pub(super) struct Connection {
    connections: Connections,
    number: u64,
    kind: AtomicU8,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// The requests in progress.
    active: AtomicUsize,
    /// The requests so far.
    used: AtomicU64,
    /// The end of the last request, in nanoseconds since the server's start.
    idle_since: AtomicU64,
    is_evicted: AtomicBool,
    close: Notify,
    /// The small pieces of responses that are not sent.
    unsent: AtomicUsize,
    /// The parts of responses that the client accepted.
    progress: AtomicU64,
}

impl Connection {
    /// Returns whether the place is one of the reserve: the connection ends after a request.
    pub(super) fn is_reserved(&self) -> bool {
        self.kind.load(Ordering::Relaxed) != Kind::Normal as u8
    }

    /// Waits for a place that is not one of the reserve, if one is about to be free; returns whether
    /// the connection has one.
    pub(super) async fn has_room(&self) -> bool {
        let waits = self.kind.load(Ordering::Relaxed) == Kind::Waiting as u8;
        let permits = Arc::clone(&self.connections.0.permits);
        let permit = match waits {
            true => {
                let permit = timeout(CLOSING, permits.acquire_owned()).await;
                permit.ok().and_then(Result::ok)
            }
            false => permits.try_acquire_owned().ok(),
        };
        let Some(permit) = permit else {
            return false;
        };
        // The place in the reserve is free again.
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        self.kind.store(Kind::Normal as u8, Ordering::Relaxed);
        true
    }

    /// Returns a number from 0 to 1 that is far from those of the connections before.
    pub(super) fn share(&self) -> f64 {
        const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
        ((self.number % 1_000_000) as f64 * GOLDEN_RATIO).fract()
    }

    /// Returns whether no request is in progress.
    pub(super) fn is_unused(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    /// Returns the number of requests so far.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.is_unused() && !self.is_evicted.load(Ordering::Relaxed)
    }

    /// Completes when the connection shall close after the requests in progress.
    pub(super) async fn closing(&self) {
        self.close.notified().await;
    }

    /// Closes the connection after the requests in progress.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    /// Counts a small piece of a response that is to be sent.
    pub(super) fn unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a small piece that was sent, or dropped.
    pub(super) fn sent(&self) {
        self.unsent.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that the client accepted a part of a response.
    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the small pieces that are not sent, and a number that changes whenever the client
    /// accepts something.
    pub(super) fn sending(&self) -> (usize, u64) {
        (
            self.unsent.load(Ordering::Relaxed),
            self.progress.load(Ordering::Relaxed),
        )
    }

    /// Keeps the connection from being idle from now on: it left HTTP.
    pub(super) fn upgrade(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request in progress, from its head to the end of its response's body.
pub(super) struct InProgress(Arc<Connection>);

impl InProgress {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.active.fetch_add(1, Ordering::Relaxed);
        connection.used.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl InProgress {
    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let Self(connection) = self;
        let elapsed = connection.connections.elapsed();
        connection.idle_since.store(elapsed, Ordering::Relaxed);
        connection.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place among those of the server, until it is dropped.
pub(super) struct Permit {
    connection: Arc<Connection>,
}

impl Permit {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let connections = &self.connection.connections;
        connections.open().remove(&self.connection.number);
        connections.count(-1.0);
    }
}
