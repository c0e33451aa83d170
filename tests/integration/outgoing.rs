use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::routing::get;
use bytes::Bytes;
use campanile::correlation::{Correlation, PropagationLayer};
use campanile::health::{PassiveCheck, Status};
use campanile::http::Route;
use campanile::telemetry::otel::opentelemetry::trace::{SpanKind, Status as SpanStatus};
use campanile::telemetry::otel::opentelemetry_sdk::error::OTelSdkResult;
use campanile::telemetry::otel::opentelemetry_sdk::trace::{
    SdkTracerProvider, SpanData, SpanExporter,
};
use campanile::telemetry::{HttpClientSpans, Writer};
use campanile::{Builder, Campanile, ClientLayer};
use campanile_tests::{eventually, free_port};
use http::{Extensions, Request, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tracing::subscriber::DefaultGuard;

/// Keeps the spans that are exported.
#[derive(Clone, Debug, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Exported {
    fn of_kind(&self, kind: &SpanKind) -> Vec<SpanData> {
        let spans = self.0.lock().unwrap();
        let of_kind = spans.iter().filter(|span| span.span_kind == *kind);
        of_kind.cloned().collect()
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut pairs = span.attributes.iter();
    let pair = pairs.find(|pair| pair.key.as_str() == key)?;
    Some(pair.value.as_str().into_owned())
}

/// A service whose spans are exported by a provider of its own, in this thread.
fn service(configure: impl FnOnce(Builder) -> Builder) -> (Campanile, Exported, DefaultGuard) {
    let exported = Exported::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exported.clone());
    let provider = provider.build();
    let builder = Campanile::builder("shop").telemetry(move |log| {
        log.writer(Writer::new(io::sink()))
            .tracer_provider(&provider)
    });
    let campanile = configure(builder).build().unwrap();
    let telemetry = campanile.telemetry().unwrap();
    let own = telemetry.in_scope(|| tracing::dispatcher::get_default(Clone::clone));
    let guard = tracing::dispatcher::set_default(&own);
    (campanile, exported, guard)
}

/// The service that is called.
async fn stock() -> SocketAddr {
    let header = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or("-").to_owned()
    };
    let echo = get(async move |headers: HeaderMap| {
        let names = ["x-correlation-id", "traceparent", "baggage", "x-own"];
        names.map(|name| header(&headers, name)).join(" ")
    });
    let status = get(async |Path(status): Path<u16>| StatusCode::from_u16(status).unwrap());
    let breaks = get(async || {
        let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
        tokio::spawn(async move {
            sender.send_data("half".into()).await.unwrap();
            // So that the half is sent first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.abort(io::Error::other("broken"));
        });
        Body::new(body)
    });
    let app = Router::new()
        .route("/items/{item}", echo)
        .route("/status/{status}", status)
        .route("/breaks", breaks)
        .route(
            "/moved",
            get(async || axum::response::Redirect::to("/items/7")),
        )
        .route("/hangs", get(async || std::future::pending::<()>().await));
    start(app).await
}

async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

fn reqwest(layer: ClientLayer) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(layer)
        .build()
}

/// Sends a request with hyper-util's client, and returns the body of the response.
async fn with_hyper(layer: &ClientLayer, url: String) -> String {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let client = layer.layer(client);
    let mut request = Request::get(url).body(Empty::new()).unwrap();
    request
        .headers_mut()
        .insert("x-own", "kept".parse().unwrap());
    request
        .extensions_mut()
        .insert(Route::from_static("/items/{item}"));
    let response = client.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Sends the same request with reqwest.
async fn with_reqwest(layer: &ClientLayer, url: String) -> String {
    let client = reqwest(layer.clone());
    let request = client.get(&url).header("x-own", "kept");
    let request = request.with_extension(Route::from_static("/items/{item}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.url().as_str(), url);
    assert_eq!(
        response.content_length(),
        Some(
            response.headers()["content-length"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        )
    );
    assert!(response.remote_addr().is_some());
    response.text().await.unwrap()
}

/// Each request continues the trace of the request that is being handled, below its span, and has
/// its correlation id.
#[tokio::test]
async fn an_outgoing_request_has_the_ids_and_a_span_below_that_of_its_request() {
    let (campanile, exported, _subscriber) = service(|builder| builder);
    let stock = stock().await;
    let propagation = PropagationLayer::new().baggage(["tenant"]);
    let layer = campanile.client_layer().propagation(propagation);
    let handler = get(async move || {
        let url = format!("http://{stock}/items/7?secret=1");
        let own = Correlation::current();
        let (id, trace) = (own.id().unwrap(), own.trace().unwrap().parent);
        let place = format!("{:032x} {:016x}", trace.trace_id(), trace.parent_id());
        let sent = [
            with_hyper(&layer, url.clone()).await,
            with_reqwest(&layer, url).await,
        ];
        format!("{id}\n{place}\n{}", sent.join("\n"))
    });
    let app = campanile.wrap(Router::new().route("/shop", handler));
    let request = Request::get("/shop")
        .header("x-correlation-id", "checkout-42")
        .header("baggage", "tenant=a,user=b");
    let response = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let [id, place, sent @ ..] = &*text.lines().collect::<Vec<_>>() else {
        panic!("{text}");
    };
    assert_eq!(*id, "checkout-42");
    let (trace, server) = place.split_once(' ').unwrap();
    let servers = exported.of_kind(&SpanKind::Server);
    assert_eq!(servers[0].span_context.span_id().to_string(), server);
    let clients = exported.of_kind(&SpanKind::Client);
    assert_eq!((clients.len(), sent.len()), (2, 2), "{text}");
    for (client, sent) in clients.iter().zip(sent) {
        let context = &client.span_context;
        assert_eq!(context.trace_id().to_string(), trace);
        assert_eq!(client.parent_span_id.to_string(), server);
        assert_eq!(client.name, "GET /items/{item}");
        assert_eq!(client.status, SpanStatus::Unset);
        let url = format!("http://{stock}/items/7");
        let port = stock.port().to_string();
        for (key, expected) in [
            ("url.full", &*url),
            ("url.template", "/items/{item}"),
            ("server.address", "127.0.0.1"),
            ("server.port", &*port),
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
        ] {
            assert_eq!(attribute(client, key).as_deref(), Some(expected), "{key}");
        }
        // The place in the trace is that of the client's span.
        let traceparent = format!("00-{trace}-{}-03", context.span_id());
        assert_eq!(*sent, format!("checkout-42 {traceparent} tenant=a kept"));
    }
    assert_ne!(
        clients[0].span_context.span_id(),
        clients[1].span_context.span_id()
    );
    let port = stock.port();
    let series = format!(
        "http_client_request_duration_seconds_count{{http_request_method=\"GET\",http_response_status_code=\"200\",\
         server_address=\"127.0.0.1\",server_port=\"{port}\",url_template=\"/items/{{item}}\"}} 2\n"
    );
    let page = campanile.metrics().render();
    assert!(page.contains(&series), "{page}");
}

/// What is counted for each way that a request can end.
#[tokio::test]
async fn each_outcome_of_an_outgoing_request_is_counted() {
    let (campanile, exported, _subscriber) = service(|builder| builder);
    let stock = stock().await;
    let closed = free_port();
    let client = reqwest(campanile.client_layer());
    let url = |path: &str| format!("http://{stock}{path}");
    let short = Duration::from_millis(100);

    let response = client.get(url("/status/204")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "");
    // A body that is not read.
    drop(client.get(url("/items/7")).send().await.unwrap());
    let response = client.get(url("/status/503")).send().await.unwrap();
    assert_eq!(response.status(), 503);
    drop(response);
    let error = client
        .get(url("/breaks"))
        .send()
        .await
        .unwrap()
        .text()
        .await;
    assert!(error.unwrap_err().is_decode());
    let error = client
        .get(format!("http://127.0.0.1:{closed}/"))
        .send()
        .await;
    assert!(error.unwrap_err().is_connect());
    let error = client.get(url("/hangs")).timeout(short).send().await;
    assert!(error.unwrap_err().is_timeout());
    let dropped = timeout(short, client.get(url("/hangs")).send()).await;
    assert!(dropped.is_err());
    // A request and its redirects are one.
    let response = client.get(url("/moved")).send().await.unwrap();
    assert_eq!(response.url().path(), "/items/7");
    drop(response);

    let page = campanile.metrics().render();
    let count = |labels: &[(&str, &str)]| {
        let lines = page.lines();
        let mut lines = lines.filter(|line| {
            let has = |(key, value): &(&str, &str)| line.contains(&format!("{key}=\"{value}\""));
            line.starts_with("http_client_request_duration_seconds_count{")
                && labels.iter().all(has)
                && labels.len() + 3 == line.matches("=\"").count()
        });
        let line = lines.next().unwrap_or_else(|| panic!("{labels:?}: {page}"));
        line.rsplit_once(' ').unwrap().1.to_owned()
    };
    let status = |status| ("http_response_status_code", status);
    let error = |kind| ("error_type", kind);
    assert_eq!(count(&[status("204")]), "1");
    assert_eq!(count(&[status("200")]), "2");
    assert_eq!(count(&[status("503"), error("503")]), "1");
    assert_eq!(count(&[status("200"), error("body_error")]), "1");
    assert_eq!(count(&[error("connect")]), "1");
    assert_eq!(count(&[error("timeout")]), "1");
    assert_eq!(count(&[error("cancelled")]), "1");
    // No path is a label.
    assert!(!page.contains("hangs") && !page.contains("items"), "{page}");

    let clients = exported.of_kind(&SpanKind::Client);
    let kinds: Vec<_> = clients
        .iter()
        .map(|span| attribute(span, "error.type"))
        .collect();
    let failed = ["503", "connect", "timeout", "cancelled"].map(|kind| Some(kind.to_owned()));
    let failures: Vec<_> = kinds.into_iter().filter(Option::is_some).collect();
    assert_eq!((clients.len(), &*failures), (8, &failed[..]));
    assert!(clients.iter().all(|span| span.name == "GET"));
}

/// Sends a request that failed once more.
struct Retry;

#[async_trait]
impl Middleware for Retry {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let again = request.try_clone().unwrap();
        let response = next.clone().run(request, extensions).await?;
        match response.status().is_server_error() {
            true => next.run(again, extensions).await,
            false => Ok(response),
        }
    }
}

/// Each attempt of a retry around the layer is a request: it is sent with the place of its own span.
#[tokio::test]
async fn each_attempt_of_a_retry_is_a_request() {
    let (campanile, exported, _subscriber) = service(|builder| builder);
    let received = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&received);
    let flaky = get(async move |headers: HeaderMap| {
        let traceparent = headers["traceparent"].to_str().unwrap().to_owned();
        let mut seen = seen.lock().unwrap();
        seen.push(traceparent);
        match seen.len() {
            1 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    });
    let stock = start(Router::new().route("/flaky", flaky)).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(Retry);
    let client = client.with(campanile.client_layer()).build();
    let handler = get(async move || {
        let response = client.get(format!("http://{stock}/flaky")).send().await;
        response.unwrap().status().to_string()
    });
    let app = campanile.wrap(Router::new().route("/shop", handler));
    let request = Request::get("/shop").body(Body::empty()).unwrap();
    drop(app.oneshot(request).await.unwrap());
    let clients = exported.of_kind(&SpanKind::Client);
    let statuses: Vec<_> = clients
        .iter()
        .map(|span| attribute(span, "http.response.status_code").unwrap())
        .collect();
    assert_eq!(statuses, ["503", "200"]);
    assert_eq!(clients[0].parent_span_id, clients[1].parent_span_id);
    let received = received.lock().unwrap();
    for (client, traceparent) in clients.iter().zip(&*received) {
        let context = &client.span_context;
        let (trace, span) = (context.trace_id(), context.span_id());
        assert_eq!(*traceparent, format!("00-{trace}-{span}-03"));
    }
}

/// A check follows the requests of one client, without any probe.
#[tokio::test]
async fn a_check_turns_with_the_outcomes_of_the_requests() {
    let stock = stock().await;
    for is_reqwest in [false, true] {
        let passive = PassiveCheck::builder()
            .window(Duration::from_secs(600))
            .build()
            .unwrap();
        let probe = || async { Ok::<_, Infallible>(()) };
        let check = passive
            .check("stock", probe)
            .critical()
            .interval(Duration::from_millis(10));
        let (campanile, _, _subscriber) = service(|builder| builder.check(check));
        let layer = campanile.client_layer().check(&passive);
        let running = tokio::spawn({
            let campanile = campanile.clone();
            async move { campanile.run(std::future::pending()).await }
        });
        let client = reqwest(layer.clone());
        let send = async |path: &str, count: usize| {
            for _ in 0..count {
                let url = format!("http://{stock}{path}");
                if is_reqwest {
                    client.get(url).send().await.unwrap().bytes().await.unwrap();
                } else {
                    with_hyper(&layer, url).await;
                }
            }
        };
        let becomes = async |status: Status| {
            eventually(status, async || {
                let report = campanile.health().report();
                let check = report.checks.iter().find(|check| *check.name == *"stock");
                check.unwrap().status
            })
            .await;
        };
        send("/items/7", 6).await;
        becomes(Status::Healthy).await;
        send("/status/500", 6).await;
        becomes(Status::Unhealthy).await;
        send("/items/7", 60).await;
        becomes(Status::Healthy).await;
        running.abort();
    }
}

/// A URL's path may be a secret.
#[tokio::test]
async fn the_span_of_an_outgoing_request_can_hide_its_path() {
    let (campanile, exported, _subscriber) = service(|builder| builder);
    let spans = HttpClientSpans::new().path(|_| "/[redacted]".into());
    let client = reqwest(campanile.client_layer().spans(spans));
    let stock = stock().await;
    drop(
        client
            .get(format!("http://{stock}/items/secret"))
            .send()
            .await,
    );
    let clients = exported.of_kind(&SpanKind::Client);
    let url = attribute(&clients[0], "url.full").unwrap();
    assert_eq!(url, format!("http://{stock}/[redacted]"));
}
