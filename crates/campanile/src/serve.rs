use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower_layer::Layer;
use tower_service::Service;

use self::head_deadline::{Activity, HeadDeadline};
use crate::Campanile;

mod head_deadline;

/// A server of HTTP/1 and HTTP/2 without TLS; from [`Campanile::serve`], to be awaited.
///
/// What a public port needs and `axum::serve` (0.8) lacks is in force: a client that sends its request's head slowly is cut
/// off, the number of connections has a cap, and a stop has an end.
///
/// | setting | default |
/// |---|---|
/// | [`header_timeout`](Self::header_timeout) | 5 s |
/// | [`max_connections`](Self::max_connections) | 10,000 |
/// | [`drain_timeout`](Self::drain_timeout) | 20 s |
/// | [`shutdown`](Self::shutdown) | SIGTERM or SIGINT |
///
/// An idle HTTP/1 connection is closed after 75 s; a dead HTTP/2 connection is found by a ping every 30 s. An HTTP/2
/// connection has at most 100 streams at a time. With feature `axum` each request has a `ConnectInfo<SocketAddr>`.
///
/// # Stopping
///
/// At the signal, the listener is closed, idle connections are closed, and those with a request in progress are closed after
/// its response. What is left after the drain timeout, or at a second signal, is cut. Dropping the future cuts everything.
///
/// # Errors
///
/// If the handlers of the signals can't be registered. A failed accept is logged and tried again.
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<S> {
    campanile: Campanile,
    listener: TcpListener,
    app: S,
    header_timeout: Duration,
    max_connections: usize,
    drain_timeout: Duration,
    shutdown: Option<BoxFuture<()>>,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S> Serve<S> {
    pub(crate) fn new(campanile: Campanile, listener: TcpListener, app: S) -> Self {
        Self {
            campanile,
            listener,
            app,
            header_timeout: Duration::from_secs(5),
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(20),
            shutdown: None,
        }
    }

    /// Sets how long a client may take to send a request's head: from its first byte, and for a new connection from its
    /// start, to its last. The connection is then closed.
    ///
    /// Defaults to 5 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets how many connections are held at a time; more wait in the system's backlog. 0 counts as 1.
    ///
    /// Each needs a file descriptor, so the process's limit must be above this. Defaults to 10,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Sets how long requests in progress may take after the signal to stop.
    ///
    /// Kubernetes kills a process 30 s after SIGTERM by default. Defaults to 20 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets what stops the server, instead of the signals.
    ///
    /// Defaults to SIGTERM or SIGINT, and then a second one cuts the drain short.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = BoxFuture<io::Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S, B> Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn run(self) -> io::Result<()> {
        let Self {
            campanile,
            listener,
            app,
            header_timeout,
            max_connections,
            drain_timeout,
            shutdown,
        } = self;
        let mut stop =
            shutdown.map_or_else(Stop::signals, |shutdown| Ok(Stop::When(Some(shutdown))))?;
        let service = campanile.name().to_owned();
        if let Ok(address) = listener.local_addr() {
            tracing::info!(service, %address, "serving");
        }

        let permits = Arc::new(Semaphore::new(max_connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.wait() => break,
                Some(_) = connections.join_next() => {}
                (stream, peer, permit) = accept(&listener, &permits) => {
                    let connection = connection(stream, peer, app.clone(), header_timeout, graceful.watcher());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
            }
        }

        drop(listener);
        tracing::info!(service, connections = connections.len(), "draining");
        let drained = async {
            graceful.shutdown().await;
            while connections.join_next().await.is_some() {}
        };
        let cut = tokio::select! {
            () = drained => None,
            () = stop.wait() => Some("a second signal"),
            () = tokio::time::sleep(drain_timeout) => Some("the drain timeout"),
        };
        if let Some(reason) = cut {
            tracing::warn!(
                service,
                connections = connections.len(),
                reason,
                "connections are cut"
            );
        }
        Ok(())
    }
}

/// What stops the server: each wait returns for one more request to stop.
enum Stop {
    /// The process's signals.
    #[cfg(unix)]
    Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal),
    #[cfg(not(unix))]
    Signals,
    /// The host's future, until it has completed.
    When(Option<BoxFuture<()>>),
}

impl Stop {
    #[cfg(unix)]
    fn signals() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self::Signals(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    #[cfg(not(unix))]
    fn signals() -> io::Result<Self> {
        Ok(Self::Signals)
    }

    async fn wait(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Signals(terminate, interrupt) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            #[cfg(not(unix))]
            Self::Signals => {
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending().await
                }
            }
            Self::When(Some(shutdown)) => {
                shutdown.await;
                *self = Self::When(None);
            }
            Self::When(None) => std::future::pending().await,
        }
    }
}

/// Accepts the next connection once there is room for it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // Nothing closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            // The client left before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            // Most likely the process is out of descriptors, and some connection must end first.
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    app: S,
    header_timeout: Duration,
    watcher: Watcher,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Small responses must not wait for the client's acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let activity = Arc::new(Activity::default());
    let app = TowerToHyperService::new(activity.layer().layer(app));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        #[cfg(feature = "axum")]
        let request = {
            let mut request = request;
            request
                .extensions_mut()
                .insert(axum::extract::ConnectInfo(peer));
            request
        };
        app.call(request)
    });

    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(100);
    let io = TokioIo::new(HeadDeadline::new(stream, activity, header_timeout));
    let connection = watcher.watch(builder.serve_connection_with_upgrades(io, service));
    if let Err(error) = connection.await {
        // What clients do is no fault of the service: they leave, and they send garbage.
        tracing::debug!(%peer, error, "a connection ended with an error");
    }
}

/// How long an HTTP/1 connection may be idle. Hyper's timeout for a head runs from the end of the response before, so it is
/// this one; [`HeadDeadline`] times the head itself.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("header_timeout", &self.header_timeout)
            .field("max_connections", &self.max_connections)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
#[cfg(test)]
mod tests;
