use std::convert::Infallible;
use std::net::SocketAddr;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::routing::get as on_get;
use bytes::Bytes;
use campanile::correlation::inject;
use http::{Extensions, HeaderMap, Request, Response};
use http_body_util::Empty;
use opentelemetry::global;
use opentelemetry_http::HeaderInjector;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_tracing::TracingMiddleware;
use tonic_tracing_opentelemetry::middleware::client::OtelGrpcLayer;
use tower::{Layer, ServiceExt, service_fn};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{current_trace, get, installed, ours, serve};

/// Sends the correlation id and the client's span context, instead of reqwest-tracing's feature.
struct Carry;

#[async_trait]
impl Middleware for Carry {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        inject(request.headers_mut());
        let context = Span::current().context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));
        });
        next.run(request, extensions).await
    }
}

/// Calls the other service. Returns this trace, and the `traceparent` and the correlation id that
/// the other service received.
async fn ask(State((other, client)): State<(SocketAddr, ClientWithMiddleware)>) -> String {
    let response = client.get(format!("http://{other}/stock")).send().await;
    let there = response.unwrap().text().await.unwrap();
    format!("{} {there}", current_trace())
}

fn received(headers: &HeaderMap) -> String {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    format!("{} {}", header("traceparent"), header("x-correlation-id"))
}

#[tokio::test]
async fn reqwest_tracing_has_its_span_and_sends_the_trace_with_our_propagation() {
    let installed = installed();
    let stock = on_get(async |headers: HeaderMap| received(&headers));
    let stock = serve(Router::new().route("/stock", stock)).await;
    let client = ClientBuilder::new(reqwest::Client::new());
    let client = client
        .with(TracingMiddleware::default())
        .with(Carry)
        .build();
    let shop = Router::new().route("/shop", on_get(ask));
    let shop = serve(ours(shop.with_state((stock, client)))).await;
    let answer = get(shop, "/shop", None).await;
    let (trace, there) = answer.split_once(' ').unwrap();
    let spans = installed.trace(trace, 2).await;
    let of = |kind: &str| spans.iter().find(|span| span["kind"] == kind).unwrap();
    let (server, client) = (of("SPAN_KIND_SERVER"), of("SPAN_KIND_CLIENT"));
    assert_eq!(client["parent_span_id"], server["span_id"]);
    assert_eq!(client["name"], "GET");
    let status = super::sink::attribute(client, "http.response.status_code");
    assert_eq!(status, "200");
    let place = format!("00-{trace}-{}-03", client["span_id"].as_str().unwrap());
    let id = super::sink::attribute(server, "correlation_id");
    assert_eq!(there, format!("{place} {}", id.as_str().unwrap()));
}

#[tokio::test]
async fn the_client_of_tonic_tracing_opentelemetry_sends_the_place_of_its_span() {
    let installed = installed();
    let call = async || {
        let channel = service_fn(async |request: Request<Empty<Bytes>>| {
            let sent = request.headers()["traceparent"].clone();
            let response = Response::builder().header("sent", sent);
            Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
        });
        let client = OtelGrpcLayer.layer(channel);
        let request = Request::post("http://stock/stock.Stock/Get");
        let response = client.oneshot(request.body(Empty::new()).unwrap()).await;
        let sent = response.unwrap().headers()["sent"]
            .to_str()
            .unwrap()
            .to_owned();
        format!("{} {sent}", current_trace())
    };
    let shop = serve(ours(Router::new().route("/shop", on_get(call)))).await;
    let answer = get(shop, "/shop", None).await;
    let (trace, sent) = answer.split_once(' ').unwrap();
    let spans = installed.trace(trace, 2).await;
    let of = |kind: &str| spans.iter().find(|span| span["kind"] == kind).unwrap();
    let (server, client) = (of("SPAN_KIND_SERVER"), of("SPAN_KIND_CLIENT"));
    assert_eq!(client["parent_span_id"], server["span_id"]);
    let place = format!("00-{trace}-{}-03", client["span_id"].as_str().unwrap());
    assert_eq!(sent, place);
}
