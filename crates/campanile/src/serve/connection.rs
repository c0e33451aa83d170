use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tower_service::Service;

use super::head_timer::{HeadTimer, Heads, Socket};
use super::upgrades::{Streams, Upgrades};

/// Serves one connection to its end: the client's, that of its idle time, or, once `stop` is set, that of its last request.
pub(super) async fn serve<S, B>(
    socket: Socket,
    peer: SocketAddr,
    app: S,
    heads: Arc<Heads>,
    upgrades: Upgrades,
    idle_timeout: Duration,
    mut stop: watch::Receiver<bool>,
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
    let mut builder = auto::Builder::new(Streams(upgrades.clone()));
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&heads)))
        .header_read_timeout(idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(100)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();

    let requests = Arc::new(Requests::default());
    let app = TowerToHyperService::new(app);
    let service = {
        let (requests, heads) = (Arc::clone(&requests), Arc::clone(&heads));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let in_progress = InProgress::new(&requests);
            #[cfg(feature = "axum")]
            let request = {
                let mut request = request;
                request
                    .extensions_mut()
                    .insert(axum::extract::ConnectInfo(peer));
                request
            };
            #[cfg(feature = "monitor")]
            let request = {
                let mut request = request;
                let peer = campanile_monitor::Peer(peer);
                request.extensions_mut().insert(peer);
                request
            };
            let version = request.version();
            let is_connect = request.method() == Method::CONNECT;
            let response = app.call(request);
            let (heads, upgrades) = (Arc::clone(&heads), upgrades.clone());
            async move {
                let response = response.await?;
                let status = response.status();
                if version == Version::HTTP_11
                    && (status == StatusCode::SWITCHING_PROTOCOLS
                        || is_connect && status.is_success())
                {
                    heads.upgrade(upgrades.begin());
                }
                Ok::<_, Infallible>(response.map(|inner| Tracked {
                    inner,
                    _in_progress: in_progress,
                }))
            }
        })
    };

    let mut connection =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
    // Hyper has an idle timeout for HTTP/1 only.
    let mut ticks = interval((idle_timeout / 4).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut idle_ticks, mut begun) = (0, 0);
    let mut closing = false;
    let result = loop {
        tokio::select! {
            result = connection.as_mut() => break result,
            _ = stop.wait_for(|stop| *stop), if !closing => closing = true,
            _ = ticks.tick(), if !closing => {
                let idle = heads.is_http2() && requests.are_none() && requests.begun() == begun;
                idle_ticks = if idle { idle_ticks + 1 } else { 0 };
                begun = requests.begun();
                closing = idle_ticks > 4;
            }
        }
        if closing {
            connection.as_mut().graceful_shutdown();
        }
    };
    if let Err(error) = result {
        // What clients do is no fault of the service: they leave, and they send garbage.
        tracing::debug!(%peer, error, "a connection ended with an error");
    }
}

/// How many requests a connection has had.
#[derive(Default)]
struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Requests {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn are_none(&self) -> bool {
        self.begun() == self.ended.load(Ordering::Relaxed)
    }
}

/// A request, from its head to the end of its response's body.
struct InProgress(Arc<Requests>);

impl InProgress {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A response's body, with its request's mark.
    struct Tracked<B> {
        #[pin]
        inner: B,
        _in_progress: InProgress,
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
