use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use bytes::Bytes;
use campanile::http::{End, ObserveLayer, Observer, RequestHead};
use campanile::metrics::Value;
use campanile::sla::Slo;
use campanile::{Builder, Campanile};
use campanile_tests::eventually;
use http::{Method, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The versions of HTTP that a client may speak.
pub(crate) const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A service on a free port, in this process.
pub(crate) struct Host {
    pub(crate) campanile: Campanile,
    pub(crate) address: SocketAddr,
    ends: Ends,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Host {
    pub(crate) async fn start(app: Router) -> Self {
        Self::start_with(Campanile::builder("host"), app).await
    }

    pub(crate) async fn start_with(campanile: Builder, app: Router) -> Self {
        let ends = Ends::default();
        let slo = Slo::availability("availability", "99%");
        let campanile = campanile.slo(slo).build().unwrap();
        let app = campanile.wrap(app.layer(ObserveLayer::new(ends.clone())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serve = campanile
            .serve(listener, app)
            .with_graceful_shutdown(async {
                let _ = stopped.await;
            });
        Self {
            campanile,
            address,
            ends,
            stop,
            serving: tokio::spawn(serve.into_future()),
        }
    }

    /// Waits for the exchanges in progress to be as many as that.
    pub(crate) async fn in_flight(&self, expected: f64) {
        self.gauge("http_requests_in_flight", expected).await;
    }

    /// Waits for a gauge to be that.
    pub(crate) async fn gauge(&self, name: &str, expected: f64) {
        eventually(Some(Value::Gauge(expected)), async || {
            self.campanile.metrics().get(name, &[])
        })
        .await;
    }

    /// Returns the sum of a metric's series, or of those with a label.
    pub(crate) fn count(&self, name: &str, label: Option<(&str, &str)>) -> u64 {
        count(&self.campanile, name, label)
    }

    /// The innermost layer's record of each ended request.
    pub(crate) fn ends(&self) -> Vec<End> {
        self.ends.0.lock().unwrap().clone()
    }

    /// The good and the bad requests of the last hour.
    pub(crate) fn good_and_bad(&self) -> (u64, u64) {
        let hour = std::time::Duration::from_secs(60 * 60);
        let counts = self.campanile.sla().counts(hour);
        (counts.good(), counts.bad())
    }

    /// Stops, and returns what has counted.
    pub(crate) async fn stop(self) -> Campanile {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
        self.campanile
    }
}

/// Returns the sum of a counter's series, or of a histogram's counts, or of those with a label.
pub(crate) fn count(campanile: &Campanile, name: &str, label: Option<(&str, &str)>) -> u64 {
    let snapshot = campanile.metrics().snapshot();
    let families = snapshot.families.iter();
    let series = families
        .filter(|family| &*family.name == name)
        .flat_map(|family| &family.series)
        .filter(|series| {
            label.is_none_or(|(name, value)| series.label(name).as_deref() == Some(value))
        });
    series
        .map(|series| match &series.value {
            Value::Counter(value) => *value,
            Value::Histogram(histogram) => histogram.count,
            _ => 0,
        })
        .sum()
}

/// Keeps every end.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<End>>>);

impl Observer for Ends {
    type Exchange = ();

    fn begin(&self, _: &mut RequestHead<'_>) {}

    fn end(&self, (): (), end: &End) {
        self.0.lock().unwrap().push(end.clone());
    }
}

/// A client's connection. Dropping it cuts it.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    pub(crate) async fn open(version: Version, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        // The end of a connection is the error of its sender.
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            Self {
                sender: Sender::Http2(sender),
                driver: tokio::spawn(async { drop(connection.await) }),
            }
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            let connection = connection.with_upgrades();
            Self {
                sender: Sender::Http1(sender),
                driver: tokio::spawn(async { drop(connection.await) }),
            }
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        self.send(request(Method::GET, path)).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Returns a request that either version can send.
pub(crate) fn request(method: Method, path: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .header("host", "test")
        .body(Empty::new())
        .unwrap()
}
