use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tower_service::Service;

use self::boxed::BoxFuture;
use self::budget::Budget;
use self::closed::Closed;
use self::connection::{Settings, Stage};
use self::connections::{Connections, Permit};
use self::head_timer::{Heads, Socket};
pub use self::listener::{Handshake, HandshakeStream, Listener};
pub use self::request_body::{RequestBody, RequestBodyError};
use self::stop::Stop;
use self::timeouts::Timeouts;
use self::upgrades::Upgrades;
use crate::campanile::Campanile;
use crate::runs::Server;

mod boxed;
mod budget;
mod clock;
mod closed;
mod connection;
mod connections;
mod head_timer;
mod limit;
mod listener;
mod request_body;
mod sending;
mod stall;
mod stop;
mod timeouts;
mod tracked;
mod upgrades;

/// A server of HTTP/1 and HTTP/2 on any [`Listener`]; from [`Campanile::serve`], to be awaited.
///
/// What `axum::serve` (0.8) lacks is in force: a client that sends its request's head slowly is cut off, idle connections are
/// closed, clients that send a body or read a response too slowly are cut off, the number of connections has a limit,
/// and a stop has an end.
///
/// | setting | default |
/// |---|---|
/// | [`header_timeout`](Self::header_timeout) | 5 s |
/// | [`idle_timeout`](Self::idle_timeout) | 75 s |
/// | [`body_timeout`](Self::body_timeout) | 10 s, and 1 s for every 500 bytes |
/// | [`write_timeout`](Self::write_timeout) | 30 s |
/// | [`max_streams`](Self::max_streams) | 200 |
/// | [`max_connection_age`](Self::max_connection_age) | none |
/// | [`max_connections`](Self::max_connections) | 10,000, or fewer if the process may open fewer files |
/// | [`drain_delay`](Self::drain_delay) | 5 s after SIGTERM, with feature `health`; else none |
/// | [`stop_timeout`](Self::stop_timeout) | 25 s |
/// | [`with_graceful_shutdown`](Self::with_graceful_shutdown) | SIGTERM or SIGINT; on Windows Ctrl-C, Ctrl-Break, a close or a shutdown |
///
/// A dead HTTP/2 connection is found by a ping every 30 s. With feature `axum` each
/// request has a `ConnectInfo<SocketAddr>`, if the client has such an address. With feature `metrics` the gauge `campanile_server_connections` counts connections,
/// the gauge `http_upgraded_connections` those of HTTP/1 and streams of HTTP/2 that were upgraded (101, CONNECT) and have not ended,
/// `campanile_server_connections_full_total` those that arrived at the limit, `campanile_server_connections_evicted_total` idle
/// ones that were closed for others, `campanile_server_connections_closed_total{reason}` all that were closed (`client`, `idle`,
/// `evicted`, `age`, `stop`, `cut`, `head_timeout`, `response_timeout`, `handshake`, `bad_request`, `head_too_large`, `error`), and
/// `campanile_server_timeouts_total{stage}` requests that a timeout ended, where the
/// stage is `request_body` or `response`.
///
/// If a handler responds before it has read the request's body, the server discards the rest for at most 2 s before it closes
/// a connection of HTTP/1, so that the client gets the response.
///
/// The time that a handler takes has no limit here: see tower-http's `TimeoutLayer`. Build it with `with_status_code` and 503: its other
/// constructor responds with 408, a client error, which SLOs count as good.
///
/// # Stopping
///
/// 1. At the signal readiness fails (feature `health`), unless the handle has another server, and [`Health::draining`](campanile_health::Health::draining) completes.
///    Requests are still accepted for the drain delay, so that load balancers can notice. Meanwhile each response over
///    HTTP/1 says `Connection: close`, and each HTTP/2 connection gets a GOAWAY: clients move to new connections.
/// 2. Connections that the system has accepted already are served, and the listener is closed. Idle connections are closed
///    after 250 ms, and those with a request in progress after its response.
/// 3. What is left when the stop timeout nears its end is cut. Then the last notifications, writes and exports are made.
///
/// A second signal ends the delay, or cuts. Dropping the future cuts everything.
/// Upgraded connections belong to the application: they count for the limit, and are neither waited for nor cut. An upgraded stream of
/// HTTP/2 is one of its connection's, and is waited for and cut with it.
///
/// The first server of a process that stops by signals takes these signals from their default handling for good, as
/// `tokio::signal` does.
///
/// # Errors
///
/// If the handlers of the signals can't be registered. A failed accept is logged and tried again.
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<S, L = TcpListener> {
    campanile: Campanile,
    listener: L,
    app: S,
    header_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    max_connections: Option<usize>,
    max_streams: u32,
    max_connection_age: Option<Duration>,
    drain_delay: Option<Duration>,
    stop_timeout: Duration,
    shutdown: Option<BoxFuture<()>>,
}

impl Campanile {
    /// Serves an axum router, or any other tower service, on a listener until SIGTERM or SIGINT. [`Serve`] documents the
    /// limits and the shutdown.
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # use campanile::Campanile;
    /// # async fn serve(campanile: Campanile, app: Router) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// campanile.serve(listener, campanile.wrap(app)).await
    /// # }
    /// ```
    ///
    /// The listener is a `TcpListener`, a `UnixListener`, one [with TLS](Listener::with_handshake), or any other
    /// [`Listener`].
    ///
    /// The service's error is [`Infallible`](std::convert::Infallible). If a layer returns errors, such as tower's
    /// timeout, map them to responses: in axum with `HandleErrorLayer`, in tonic with layers inside of `Routes`. For
    /// routes of tonic, `Request::remote_addr` is `None` and `grpc-timeout` is not enforced, because tonic's server does
    /// both.
    pub fn serve<L, S, B>(&self, listener: L, app: S) -> Serve<S, L>
    where
        L: Listener,
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Serve::new(self.clone(), listener, app)
    }
}

impl<S, L> Serve<S, L> {
    fn new(campanile: Campanile, listener: L, app: S) -> Self {
        Self {
            campanile,
            listener,
            app,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_connections: None,
            max_streams: 200,
            max_connection_age: None,
            drain_delay: None,
            stop_timeout: Duration::from_secs(25),
            shutdown: None,
        }
    }

    /// Sets how long a client may take to send a request's head over HTTP/1: from the first byte that comes after the request
    /// before, and for a new connection of either version from its start, with its [handshake](Listener::with_handshake). The
    /// connection is then closed.
    ///
    /// Defaults to 5 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets how long a connection may be without a request before it is closed; one of HTTP/2 up to a quarter longer.
    ///
    /// It should be longer than the idle timeout of a load balancer in front. Otherwise the load balancer may send a request
    /// on a connection that is being closed, and respond with 502.
    ///
    /// | load balancer | its idle timeout | set |
    /// |---|---|---|
    /// | AWS ALB | 60 s | the default |
    /// | nginx | 60 s | the default |
    /// | Google Cloud | 600 s | 620 s |
    /// | Envoy | 1 h | more, or an idle timeout in Envoy |
    ///
    /// A new connection without a request is closed after the [header timeout](Self::header_timeout), whatever this is. A load
    /// balancer that connects ahead of requests needs a longer one. Defaults to 75 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how long a request's body may keep the application waiting for the client.
    ///
    /// Only the time in which the application reads the body and none has arrived counts. Each 500 bytes received add 1 s,
    /// so a large upload is not limited, and a client that sends a byte now and then is. Past the limit, reading the body
    /// fails with [`RequestBodyError::Timeout`]. gRPC calls and CONNECT have no limit, since their streams may be silent.
    /// Defaults to 10 s; `Duration::MAX` is no limit.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Sets how long a client may accept nothing of a response that is ready. The connection, or the stream of HTTP/2, is
    /// then closed. A connection of HTTP/2 is closed, too, if the rest of a small response is not accepted for so long.
    ///
    /// A response without new data, such as a quiet event stream, keeps no client waiting and is not limited; upgraded
    /// connections neither. Defaults to 30 s; `Duration::MAX` is no limit.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets the limit of connections held at a time, upgraded ones among them. 0 counts as 1.
    ///
    /// At the limit, a new connection takes the place of the one that has been idle longest. If each has a request in
    /// progress or a response that is not sent yet, 16 more are accepted for health probes, and other requests on these are
    /// answered with 503. Further ones wait in the system's backlog.
    ///
    /// Each connection needs a file descriptor. Defaults to 10,000, or to the process's limit of open files less 256 if that
    /// is lower.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    /// Sets the limit of requests in progress on one connection of HTTP/2. A client waits with further ones. 0 counts as 1.
    ///
    /// Defaults to 200.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.max_streams = streams.max(1);
        self
    }

    /// Sets the age at which a connection closes after its requests in progress, give or take a tenth.
    ///
    /// Clients of gRPC keep the instances that they found first. With an age they connect anew now and then, and new
    /// instances get their share. At least 1 s. Defaults to no limit.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.max_connection_age = Some(age.max(Duration::from_secs(1)));
        self
    }

    /// Sets how long connections are still accepted after the signal to stop, while readiness fails already.
    ///
    /// It takes Kubernetes some seconds to send no more requests. Defaults to 5 s after SIGTERM, and to none after SIGINT, after a
    /// [future](Self::with_graceful_shutdown) of the application, and without feature `health`.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = Some(delay);
        self
    }

    /// Sets the limit of the whole stop, from the signal to the return of the future.
    ///
    /// The drain delay, the requests in progress, the last notifications, writes and exports share it. The last 8 s, or a
    /// third of a limit below 24 s, are for what follows the requests: those still in progress then are cut. Kubernetes kills
    /// a process 30 s after SIGTERM by default. Defaults to 25 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Sets the future that stops the server, in place of the signals.
    ///
    /// Defaults to SIGTERM or SIGINT; a second signal ends the drain early. On Windows, the events close and shutdown act
    /// like SIGTERM, and Ctrl-C and Ctrl-Break like SIGINT. Windows ends the process 5 s after a close.
    pub fn with_graceful_shutdown(
        mut self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }
}

impl<S, L, B> IntoFuture for Serve<S, L>
where
    L: Listener,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
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
        let campanile = self.campanile.clone();
        let server = campanile.runs().server();
        let limits = budget::last_work(self.stop_timeout);
        Box::pin(async move {
            let (serving, served) = oneshot::channel::<()>();
            // The background work goes on until the last request has ended.
            let serve = async {
                let result = self.run(server).await;
                drop(serving);
                result
            };
            let work = campanile.run_within(async { drop(served.await) }, limits);
            let (result, ()) = tokio::join!(serve, work);
            result
        })
    }
}

impl<S, L, B> Serve<S, L>
where
    L: Listener,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn run(self, server: Server) -> io::Result<()> {
        let Self {
            campanile,
            mut listener,
            app,
            header_timeout,
            idle_timeout,
            body_timeout,
            write_timeout,
            max_connections,
            max_streams,
            max_connection_age,
            drain_delay,
            stop_timeout,
            shutdown,
        } = self;
        // Hyper adds it to the time, which must not overflow.
        let idle_timeout = idle_timeout.min(Duration::from_secs(365 * 24 * 60 * 60));
        let mut stop =
            shutdown.map_or_else(Stop::signals, |shutdown| Ok(Stop::When(Some(shutdown))))?;
        match listener.local_addr() {
            Some(address) => tracing::info!(%address, "serving"),
            None => tracing::info!("serving"),
        }

        let max_connections = limit::connections(max_connections);
        let room = Connections::new(max_connections, &campanile);
        let timeouts = Timeouts::new(&campanile);
        // Nothing is sent: the channel closes when the last connection and stream have ended.
        let (alive, mut streams) = mpsc::channel(1);
        let settings = Settings {
            upgrades: Upgrades::new(&campanile),
            timeouts: timeouts.clone(),
            idle_timeout,
            body_timeout,
            write_timeout,
            max_streams,
            max_age: max_connection_age,
            closed: Closed::new(&campanile),
            alive,
        };
        let settings = Arc::new(settings);
        let (stage, staged) = watch::channel(Stage::Serving);
        let mut connections = JoinSet::new();
        let mut budget = Budget::new(stop_timeout);
        let serve = move |connections: &mut JoinSet<()>, stream, peer, permit: Permit| {
            let heads = Heads::new(header_timeout);
            let connection = Arc::clone(permit.connection());
            let socket = Socket::new(
                stream,
                heads.clone(),
                permit,
                write_timeout,
                timeouts.clone(),
            );
            let (app, settings, staged) = (app.clone(), settings.clone(), staged.clone());
            connections.spawn(connection::serve(
                socket, peer, app, heads, connection, settings, staged,
            ));
        };
        {
            let mut accepting = pin!(accept(&mut listener, &room));
            let mut delayed = pin!(OptionFuture(None));
            let mut accepts = Some(server);
            loop {
                tokio::select! {
                    signal = stop.wait() => {
                        budget.begin();
                        // Another server of the handle goes on, and is ready.
                        let is_last = accepts.take().is_some_and(Server::stops);
                        #[cfg(feature = "health")]
                        if is_last {
                            campanile.health().drain();
                        }
                        #[cfg(not(feature = "health"))]
                        let _ = is_last;
                        let delay = drain_delay.unwrap_or(signal.delay()).min(budget.of_requests());
                        if delayed.0.is_some() || delay.is_zero() {
                            break;
                        }
                        tracing::info!(?delay, "no longer ready");
                        stage.send_replace(Stage::Draining(delay));
                        delayed.set(OptionFuture(Some(Box::pin(tokio::time::sleep(delay)))));
                    }
                    () = delayed.as_mut() => break,
                    Some(_) = connections.join_next() => {}
                    (listener, (stream, peer), permit) = accepting.as_mut() => {
                        serve(&mut connections, stream, peer, permit);
                        accepting.set(accept(listener, &room));
                    }
                }
            }
        }

        // The clients of connections that wait in the system's queue may have sent their requests.
        for (stream, peer) in listener.close() {
            if let Some(permit) = room.try_place() {
                serve(&mut connections, stream, peer, permit);
            }
        }
        drop(serve);
        tracing::info!(connections = connections.len(), "draining");
        stage.send_replace(Stage::Stopping);
        let ended = async {
            while connections.join_next().await.is_some() {}
            streams.recv().await;
        };
        let cut = tokio::select! {
            () = ended => None,
            _ = stop.wait() => Some("another signal"),
            () = budget.end_of_requests() => Some("the stop timeout"),
        };
        if let Some(reason) = cut {
            while connections.try_join_next().is_some() {}
            tracing::warn!(
                connections = connections.len(),
                reason,
                "connections are cut"
            );
            // What is cut is counted before the server returns; a handler that blocks its thread is not waited for.
            let ended = async {
                connections.shutdown().await;
                streams.recv().await;
            };
            let _ = tokio::time::timeout(budget.of_cut(), ended).await;
        }
        Ok(())
    }
}

/// A future that never completes if there is none.
struct OptionFuture(Option<Pin<Box<tokio::time::Sleep>>>);

impl Future for OptionFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Accepts the next connection, and waits until there is room for it.
async fn accept<'a, L: Listener>(
    listener: &'a mut L,
    room: &Connections,
) -> (&'a mut L, (L::Io, Option<SocketAddr>), Permit) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return (listener, accepted, room.place().await),
            // The client left before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) =>
            {
                // A listener may fail so each time, and other work needs its turn.
                tokio::task::yield_now().await;
            }
            // Most likely the process is out of descriptors, and some connection must end first.
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl<S, L: fmt::Debug> fmt::Debug for Serve<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("header_timeout", &self.header_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("body_timeout", &self.body_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("max_connections", &self.max_connections)
            .field("stop_timeout", &self.stop_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
#[cfg(test)]
mod tests;
