use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tower_service::Service;

use super::connections::{Connection, InProgress};
use super::head_timer::{HeadTimer, Heads, Socket};
use super::request_body::{RequestBody, may_be_silent};
use super::timeouts::Timeouts;
use super::tracked::Tracked;
use super::upgrades::{Streams, Upgrades};

/// What the connections of a server have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) upgrades: Upgrades,
    pub(super) timeouts: Timeouts,
    pub(super) idle_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// Requests are still accepted, for so long. Clients are asked to move to other connections.
    Draining(Duration),
    /// Connections end after the requests in progress.
    Stopping,
}

/// The time in which a request that is on its way at the stop may still arrive.
const LINGER: Duration = Duration::from_millis(250);

/// The time that a client has to close a connection without requests, after the server asked for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection to its end: the client's, that of its idle time, or, once the server stops, that of its last request.
pub(super) async fn serve<S, B>(
    socket: Socket,
    peer: SocketAddr,
    app: S,
    heads: Arc<Heads>,
    connection: Arc<Connection>,
    settings: Settings,
    mut staged: watch::Receiver<Stage>,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(Streams {
        upgrades: settings.upgrades.clone(),
        write_timeout: settings.write_timeout,
        timeouts: settings.timeouts.clone(),
    });
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&heads)))
        .header_read_timeout(settings.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(100)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();

    let idle_timeout = settings.idle_timeout;
    let app = TowerToHyperService::new(app);
    let service = {
        let (connection, heads) = (Arc::clone(&connection), Arc::clone(&heads));
        let staged = staged.clone();
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let in_progress = InProgress::new(&connection);
            let is_allowed = !connection.is_reserved() || is_probe(request.uri().path());
            if connection.is_reserved() {
                connection.close();
            }
            let version = request.version();
            let is_connect = request.method() == Method::CONNECT;
            let response = is_allowed.then(|| app.call(prepared(request, peer, &settings)));
            let (heads, connection) = (Arc::clone(&heads), Arc::clone(&connection));
            let (upgrades, staged) = (settings.upgrades.clone(), staged.clone());
            async move {
                let Some(response) = response else {
                    return Ok(overloaded(version, in_progress));
                };
                let mut response = response.await?;
                let status = response.status();
                let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
                if version < Version::HTTP_2 && !is_upgrade && *staged.borrow() != Stage::Serving {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                if version == Version::HTTP_11 && (is_upgrade || is_connect && status.is_success())
                {
                    connection.upgrade();
                    heads.upgrade(upgrades.begin());
                }
                Ok::<_, Infallible>(response.map(|inner| Tracked::new(Some(inner), in_progress)))
            }
        })
    };

    let mut served = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
    // Hyper has an idle timeout for HTTP/1 only.
    let mut ticks = interval((idle_timeout / 4).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut idle_ticks, mut used) = (0, connection.used());
    // A stop waits for what is not sent yet; the server limits it.
    let (mut closing, mut is_limited) = (false, false);
    let mut limit = pin!(sleep(Duration::ZERO));
    let mut goodbye = pin!(goodbye(&mut staged, &heads, peer));
    let result = loop {
        tokio::select! {
            biased;
            result = served.as_mut() => break result,
            () = goodbye.as_mut(), if !closing => closing = true,
            () = connection.closing(), if !closing => (closing, is_limited) = (true, true),
            _ = ticks.tick(), if !closing => {
                let is_idle = heads.is_http2() && connection.is_unused() && connection.used() == used;
                idle_ticks = if is_idle { idle_ticks + 1 } else { 0 };
                used = connection.used();
                (closing, is_limited) = (idle_ticks > 4, idle_ticks > 4);
            }
            () = limit.as_mut(), if is_limited => {
                if connection.is_unused() {
                    tracing::debug!(%peer, "closing a connection that its client does not close");
                    return;
                }
            }
        }
        if closing {
            served.as_mut().graceful_shutdown();
            limit.set(sleep(CLOSE_TIMEOUT));
        }
    };
    if let Err(error) = result {
        // What clients do is no fault of the service: they leave, and they send garbage.
        tracing::debug!(%peer, error, "a connection ended with an error");
    }
}

/// Completes when the connection shall end because the server stops.
///
/// HTTP/2 is told while the server drains, each connection at another time, so that clients do not
/// all connect anew at once. HTTP/1 is told with each response.
async fn goodbye(staged: &mut watch::Receiver<Stage>, heads: &Heads, peer: SocketAddr) {
    let drained = staged.wait_for(|stage| *stage != Stage::Serving).await;
    let stage = drained.map_or(Stage::Stopping, |stage| *stage);
    if let Stage::Draining(delay) = stage {
        // Ports differ from one connection to the next.
        let share = f64::from(peer.port() % 1_000) / 1_000.0;
        let stopping = staged.wait_for(|stage| *stage == Stage::Stopping);
        if timeout(delay.mul_f64(share * 0.8), stopping).await.is_err() {
            if heads.is_http2() {
                return;
            }
            let _ = staged.wait_for(|stage| *stage == Stage::Stopping).await;
        }
    }
    sleep(LINGER).await;
}

/// Returns a request as the application gets it.
fn prepared(
    request: Request<Incoming>,
    peer: SocketAddr,
    settings: &Settings,
) -> Request<RequestBody> {
    let limit = (!may_be_silent(&request)).then_some(settings.body_timeout);
    let mut request = request.map(|body| RequestBody::new(body, limit, &settings.timeouts));
    let extensions = request.extensions_mut();
    #[cfg(feature = "axum")]
    extensions.insert(axum::extract::ConnectInfo(peer));
    #[cfg(feature = "monitor")]
    extensions.insert(campanile_monitor::Peer(peer));
    #[cfg(not(any(feature = "axum", feature = "monitor")))]
    let _ = (extensions, peer);
    request
}

/// Returns whether a path is that of a health probe, maybe below a prefix.
fn is_probe(path: &str) -> bool {
    let mut segments = path.split('/');
    segments.any(|segment| ["livez", "readyz", "startupz", "health"].contains(&segment))
}

/// The response to a request on a connection that may only probe.
fn overloaded<B>(version: Version, in_progress: InProgress) -> Response<Tracked<B>> {
    let mut response = Response::new(Tracked::new(None, in_progress));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    if version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
