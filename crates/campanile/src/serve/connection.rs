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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout};
use tower_service::Service;

use super::clock::{later, now};
use super::closed::{Closed, Ending, Reason};
use super::connections::{Connection, InProgress};
use super::head_timer::{HeadTimer, Heads, Socket};
use super::request_body::{RequestBody, may_be_silent};
use super::timeouts::Timeouts;
use super::tracked::Tracked;
use super::upgrades::{Alive, Streams, Upgrades};

/// What the connections of a server have in common.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) upgrades: Upgrades,
    pub(super) timeouts: Timeouts,
    pub(super) idle_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) max_streams: u32,
    pub(super) max_age: Option<Duration>,
    pub(super) closed: Closed,
    pub(super) alive: Alive,
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

/// The limit of the time between two looks at a connection, which must not overflow.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time that a client has to close a connection without requests, after the server asked for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection to its end: the client's, that of its idle time, or, once the server stops, that of its last request.
pub(super) async fn serve<Io, S, B>(
    socket: Socket<Io>,
    peer: Option<SocketAddr>,
    app: S,
    heads: Arc<Heads>,
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    mut staged: watch::Receiver<Stage>,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
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
        connection: Arc::clone(&connection),
        write_timeout: settings.write_timeout,
        timeouts: settings.timeouts.clone(),
        alive: settings.alive.clone(),
    });
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&heads)))
        .header_read_timeout(settings.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(settings.max_streams)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();

    let (idle_timeout, write_timeout) = (settings.idle_timeout, settings.write_timeout);
    let ending = Ending::new(&settings.closed);
    let timeouts = settings.timeouts.clone();
    // It differs from one connection to the next, so not all of them end at one time.
    let share = connection.share();
    let age = settings.max_age.map(|age| age.mul_f64(0.9 + share * 0.2));
    let app = TowerToHyperService::new(app);
    let service = {
        let (connection, heads) = (Arc::clone(&connection), Arc::clone(&heads));
        let staged = staged.clone();
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let in_progress = InProgress::new(&connection);
            let needs_room = connection.is_reserved() && !is_probe(request.uri().path());
            if connection.is_reserved() && !needs_room {
                connection.close();
            }
            let version = request.version();
            let is_connect = request.method() == Method::CONNECT;
            let call = match needs_room {
                // Rare, and so boxed: the place of another connection is waited for.
                true => Err(Box::new((app.clone(), request))),
                false => Ok(app.call(prepared(request, peer, &settings, &heads))),
            };
            let settings = Arc::clone(&settings);
            let (heads, connection) = (Arc::clone(&heads), Arc::clone(&connection));
            let staged = staged.clone();
            async move {
                let mut response = match call {
                    Ok(response) => response.await?,
                    Err(waiting) => {
                        if !connection.has_room().await {
                            connection.close();
                            return Ok(overloaded(version, in_progress));
                        }
                        let (app, request) = *waiting;
                        app.call(prepared(request, peer, &settings, &heads)).await?
                    }
                };
                let status = response.status();
                let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
                if version < Version::HTTP_2 && !is_upgrade && *staged.borrow() != Stage::Serving {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                if version == Version::HTTP_11 && (is_upgrade || is_connect && status.is_success())
                {
                    connection.upgrade();
                    heads.upgrade(settings.upgrades.begin());
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
    let write_timeout = write_timeout.clamp(Duration::from_millis(1), MAX_INTERVAL);
    let mut stalls = interval_at(now() + write_timeout, write_timeout);
    stalls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut closing, mut told) = (None, false);
    let mut sending = connection.sending();
    let mut limit = pin!(sleep(Duration::ZERO));
    let mut aged = pin!(sleep_until(later(now(), age.unwrap_or(Duration::MAX))));
    let mut goodbye = pin!(goodbye(&mut staged, &heads, share));
    let result = loop {
        tokio::select! {
            biased;
            result = served.as_mut() => break result,
            () = goodbye.as_mut(), if closing.is_none() => closing = Some(Reason::Stop),
            () = connection.closing(), if closing.is_none() => closing = Some(Reason::Evicted),
            () = aged.as_mut(), if closing.is_none() && age.is_some() => closing = Some(Reason::Age),
            _ = ticks.tick(), if closing.is_none() && heads.may_be_http2() => {
                let is_idle = heads.is_http2() && connection.is_unused() && connection.used() == used;
                idle_ticks = if is_idle { idle_ticks + 1 } else { 0 };
                used = connection.used();
                closing = (idle_ticks > 4).then_some(Reason::Idle);
            }
            _ = stalls.tick(), if heads.may_be_http2() => {
                let before = std::mem::replace(&mut sending, connection.sending());
                // Nothing was accepted for a whole timeout, and small pieces waited all the time.
                if before == sending && sending.0 > 0 {
                    timeouts.response();
                    closing = Some(Reason::ResponseTimeout);
                    break Ok(());
                }
            }
            () = limit.as_mut(), if closing.is_some() => {
                if connection.is_unused() {
                    tracing::debug!(?peer, "closing a connection that its client does not close");
                    break Ok(());
                }
                limit.set(sleep(CLOSE_TIMEOUT));
            }
        }
        if closing.is_some() && !told {
            told = true;
            served.as_mut().graceful_shutdown();
            limit.set(sleep(CLOSE_TIMEOUT));
        }
    };
    let ended = result.map_err(|error| {
        // What clients do is no fault of the service: they leave, and they send garbage.
        tracing::debug!(?peer, error, "a connection ended with an error");
        Reason::of(&*error)
    });
    let reason = match (ended, closing) {
        (Err(_), _) if heads.was_unread() => Reason::ResponseTimeout,
        (Err(_), _) if heads.was_idle() => Reason::Idle,
        (Err(reason), _) => reason,
        (Ok(()), reason) => reason.unwrap_or(Reason::Client),
    };
    ending.end(reason);
}

/// Completes when the connection shall end because the server stops.
///
/// HTTP/2 is told while the server drains, each connection at another time, so that clients do not
/// all connect anew at once. HTTP/1 is told with each response.
async fn goodbye(staged: &mut watch::Receiver<Stage>, heads: &Heads, share: f64) {
    let drained = staged.wait_for(|stage| *stage != Stage::Serving).await;
    let stage = drained.map_or(Stage::Stopping, |stage| *stage);
    if let Stage::Draining(delay) = stage {
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
    peer: Option<SocketAddr>,
    settings: &Settings,
    heads: &Heads,
) -> Request<RequestBody> {
    let limit = (!may_be_silent(&request)).then_some(settings.body_timeout);
    let mut request =
        request.map(|body| RequestBody::new(body, limit, &settings.timeouts, &heads.rest));
    let extensions = request.extensions_mut();
    #[cfg(feature = "axum")]
    if let Some(peer) = peer {
        extensions.insert(axum::extract::ConnectInfo(peer));
    }
    #[cfg(feature = "monitor")]
    if let Some(peer) = peer {
        extensions.insert(campanile_monitor::Peer(peer));
    }
    #[cfg(not(any(feature = "axum", feature = "monitor")))]
    let _ = (extensions, peer);
    request
}

/// Returns whether a path is that of a health probe, maybe below a prefix.
fn is_probe(path: &str) -> bool {
    let mut segments = path.trim_end_matches('/').rsplit('/');
    let (last, before) = (
        segments.next().unwrap_or_default(),
        segments.next().unwrap_or_default(),
    );
    let is_probe = |segment| ["livez", "readyz", "startupz"].contains(&segment);
    let is_group = [
        "detailed",
        "live",
        "liveness",
        "ready",
        "readiness",
        "startup",
    ]
    .contains(&last);
    is_probe(last) || is_probe(before) || last == "health" || before == "health" && is_group
}

#[cfg(test)]
#[test]
fn probes_are_told_from_other_paths() {
    for (path, expected) in [
        ("/livez", true),
        ("/svc/readyz/", true),
        ("/readyz/db", true),
        ("/health", true),
        ("/svc/health/ready", true),
        ("/api/health/records", false),
        ("/healthy", false),
        ("/", false),
    ] {
        assert_eq!(is_probe(path), expected, "{path}");
    }
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
