use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::{CorrelationId, PropagationLayer, TraceContext, Trust};
use tower_layer::Layer as _;

/// Sends a request with these headers and returns the id that its handler reads. Checks that the
/// response and the request's extensions have the same id.
async fn exchange(headers: &[(&str, &[u8])]) -> String {
    let service = SetCorrelationId::new(service_fn(async |request: Request<()>| {
        let current = CorrelationId::current();
        assert_eq!(request.extensions().get(), current.as_ref());
        tokio::task::yield_now().await;
        assert_eq!(CorrelationId::current(), current);
        let mut response = Response::new(current.unwrap().to_string());
        response
            .headers_mut()
            .append("x-correlation-id", "the handler's own".parse().unwrap());
        response
            .headers_mut()
            .append("x-correlation-id", "and another".parse().unwrap());
        Ok::<_, Infallible>(response)
    }));
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(CorrelationId::current(), None);
    let echoed: Vec<_> = response
        .headers()
        .get_all("x-correlation-id")
        .iter()
        .collect();
    let echoed: Vec<_> = echoed.into_iter().cloned().collect();
    let id = text(response.into_body()).await;
    assert_eq!(echoed, [id.as_str()]);
    id
}

async fn text<B: Body<Data: Send, Error: fmt::Debug>>(body: B) -> String {
    let bytes = body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A body whose only frame is the current id.
struct CurrentId(Option<Arc<Mutex<Option<CorrelationId>>>>, bool);

impl Body for CurrentId {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        let id = || format!("{:?}", CorrelationId::current());
        let is_first = !std::mem::replace(&mut self.1, true);
        Poll::Ready(is_first.then(|| Ok(http_body::Frame::data(id().into()))))
    }
}

impl Drop for CurrentId {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            *dropped.lock().unwrap() = CorrelationId::current();
        }
    }
}

#[tokio::test]
async fn a_streamed_body_has_the_id_while_it_is_polled_and_dropped() {
    let dropped = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&dropped);
    let service = SetCorrelationId::new(service_fn(async |_: Request<()>| {
        let body = CurrentId(Some(Arc::clone(&seen)), false);
        Ok::<_, Infallible>(Response::new(body))
    }));
    let request = Request::get("/").header("x-correlation-id", "abc");
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(CorrelationId::current(), None);
    let body = text(response.into_body()).await;
    assert_eq!(body, r#"Some(CorrelationId("abc"))"#);
    assert_eq!(*dropped.lock().unwrap(), "abc".parse().ok());
    assert_eq!(CorrelationId::current(), None);
}

#[tokio::test]
async fn which_id_a_request_gets() {
    async fn kept(headers: &[(&str, &[u8])], expected: &str) {
        assert_eq!(exchange(headers).await, expected);
    }
    async fn replaced(headers: &[(&str, &[u8])]) {
        let id = exchange(headers).await;
        assert!(
            uuid::Uuid::parse_str(&id).is_ok_and(|id| id.get_version_num() == 7),
            "{headers:?} gave {id}"
        );
    }
    let longest = [b'x'; 128];
    kept(&[("x-correlation-id", b"abc-1")], "abc-1").await;
    kept(&[("X-Request-Id", b"req:1")], "req:1").await;
    kept(
        &[("x-request-id", b"second"), ("x-correlation-id", b"first")],
        "first",
    )
    .await;
    kept(
        &[("x-correlation-id", &longest)],
        std::str::from_utf8(&longest).unwrap(),
    )
    .await;
    replaced(&[]).await;
    replaced(&[("x-correlation-id", b"")]).await;
    replaced(&[("x-correlation-id", &[b'x'; 129])]).await;
    replaced(&[("x-correlation-id", b"<script>")]).await;
    replaced(&[("x-correlation-id", b"a b")]).await;
    replaced(&[("x-correlation-id", b"caf\xc3\xa9")]).await;
    replaced(&[("x-correlation-id", b"\xff")]).await;
    // The next header does not replace a malformed one.
    replaced(&[("x-correlation-id", b"bad id"), ("x-request-id", b"good")]).await;
    replaced(&[("x-correlation-id", b"one"), ("x-correlation-id", b"two")]).await;
    replaced(&[("x-correlation-id", b"one"), ("x-correlation-id", b"one")]).await;
    replaced(&[("x-request-id", b"one"), ("x-request-id", b"two")]).await;
}

#[tokio::test]
async fn an_error_passes_through() {
    let service = SetCorrelationId::new(service_fn(async |_: Request<()>| {
        Err::<Response<()>, _>("no luck")
    }));
    assert_eq!(
        service.oneshot(Request::new(())).await.unwrap_err(),
        "no luck"
    );
}

/// Returns the log of a request, with all levels.
fn logged(headers: &[(&str, &[u8])]) -> String {
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, SubscriberExt};

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<String>>);
    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            *self.0.lock().unwrap() += &format!("{field}={value:?} ");
        }
    }
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Text {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }
    let text = Text::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(text.clone()), || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(exchange(headers));
    });
    text.0.lock().unwrap().clone()
}

#[test]
fn the_log_leaves_a_rejected_id_out() {
    assert_eq!(logged(&[("x-correlation-id", b"fine")]), "");
    for headers in [
        &[("x-correlation-id", &b"<script>"[..])][..],
        &[("x-request-id", b"script\xff")],
        &[
            ("x-correlation-id", b"script1"),
            ("x-correlation-id", b"script2"),
        ],
    ] {
        let text = logged(headers);
        assert!(
            text.contains("rejected correlation id") && !text.contains("script"),
            "{text}"
        );
    }
}

#[test]
fn types_have_the_traits_that_servers_require() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(
        CorrelationIdLayer,
        SetCorrelationId<()>,
        ResponseFuture<(), ()>,
        CorrelationId,
    )>();
}

/// Sends a request with these headers through a layer. Returns the status and the headers of the
/// response, and the correlation in the handler.
async fn through<I: OnInvalid<String>>(
    layer: CorrelationIdLayer<I>,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Option<Correlation>) {
    let seen = Arc::new(Mutex::new(None));
    let service = layer.layer(service_fn(async |_: Request<()>| {
        *seen.lock().unwrap() = Some(Correlation::current());
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    assert_eq!(
        head.status.is_client_error(),
        text(body).await.contains("bad_correlation_id")
    );
    let seen = seen.lock().unwrap().take();
    (head.status, head.headers, seen)
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn headers_and_generator_are_configurable() {
    const TRACE: HeaderName = HeaderName::from_static("x-trace");
    let layer = CorrelationIdLayer::new()
        .request_headers([TRACE])
        .response_header(TRACE)
        .generator(|| "made".parse().unwrap());
    for (name, expected) in [("x-trace", "theirs"), ("x-correlation-id", "made")] {
        let (_, headers, seen) = through(layer.clone(), &[(name, "theirs")]).await;
        assert_eq!(headers["x-trace"], expected);
        assert!(!headers.contains_key("x-correlation-id"));
        assert_eq!(seen.unwrap().id().unwrap().as_str(), expected);
    }
    let v4 = CorrelationIdLayer::new().generator(CorrelationId::generate_v4);
    let (_, headers, _) = through(v4, &[]).await;
    let id = headers["x-correlation-id"].to_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
}

#[tokio::test]
async fn only_trusted_ids_are_accepted() {
    let all = [
        ("x-correlation-id", "theirs"),
        ("traceparent", PARENT),
        ("baggage", "a=1"),
    ];
    let gateway =
        Trust::when(|request: &RequestHead<'_>| request.headers().contains_key("x-gateway"));
    for (trust, extra, trusted) in [
        (Trust::Always, "x-other", true),
        (Trust::Never, "x-gateway", false),
        (gateway.clone(), "x-gateway", true),
        (gateway, "x-other", false),
    ] {
        let headers = [&all[..], &[(extra, "1")]].concat();
        let layer = CorrelationIdLayer::new().trust(trust.clone());
        let (status, headers, seen) = through(layer, &headers).await;
        let seen = seen.unwrap();
        assert_eq!(
            headers["x-correlation-id"] == "theirs",
            trusted,
            "{trust:?}"
        );
        assert_eq!(seen.trace().is_some(), trusted, "{trust:?}");
        assert_eq!(seen.baggage().is_some(), trusted, "{trust:?}");
        assert_eq!(status, StatusCode::OK);
    }
}

type Answered = std::future::Ready<Result<Response<String>, Infallible>>;

/// Returns a service that stores the headers of its last request.
fn keeper(
    seen: &Arc<Mutex<HeaderMap>>,
) -> impl Service<Request<()>, Response = Response<String>, Error = Infallible, Future = Answered> + Clone
{
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<()>| {
        *seen.lock().unwrap() = request.headers().clone();
        std::future::ready(Ok(Response::new(String::new())))
    })
}

/// A reverse proxy forwards the head of the request that it received.
#[tokio::test]
async fn a_proxy_forwards_only_accepted_headers() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let proxied = async |trust: Trust, headers: &[(&str, &str)]| {
        let sent = Arc::default();
        let upstream = keeper(&sent);
        let proxy = service_fn(move |request| {
            PropagationLayer::new()
                .layer(upstream.clone())
                .oneshot(request)
        });
        let service = CorrelationIdLayer::new().trust(trust).layer(proxy);
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        let (head, _) = response.into_parts();
        let sent = sent.lock().unwrap().clone();
        assert_eq!(sent["x-correlation-id"], head.headers["x-correlation-id"]);
        sent
    };
    let hostile = [
        ("x-correlation-id", "<script>"),
        ("x-request-id", "mine"),
        ("traceparent", TRACE),
        ("tracestate", "a=b"),
        ("baggage", "role=admin"),
    ];
    let sent = proxied(Trust::Never, &hostile).await;
    assert!(
        !sent.contains_key("x-request-id") && !sent.contains_key("baggage"),
        "{sent:?}"
    );
    assert!(!sent.contains_key("tracestate"), "{sent:?}");
    assert!(!sent.contains_key("traceparent"), "{sent:?}");
    // The trace of a trusted client continues, with a span of this service as the parent.
    let sent = proxied(Trust::Always, &hostile).await;
    let traceparent = sent["traceparent"].to_str().unwrap();
    assert!(
        traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
        "{traceparent}"
    );
    assert!(!traceparent.contains("b7ad6b7169203331"), "{traceparent}");
    assert_eq!(
        (&sent["tracestate"], &sent["baggage"]),
        (&"a=b".parse().unwrap(), &"role=admin".parse().unwrap())
    );
    // A malformed trace is not forwarded.
    let malformed = [("traceparent", "00-x"), ("tracestate", "a=b")];
    let sent = proxied(Trust::Always, &malformed).await;
    assert!(!sent.contains_key("tracestate"), "{sent:?}");
    assert!(!sent.contains_key("traceparent"), "{sent:?}");
}

#[tokio::test]
async fn a_malformed_id_can_be_rejected() {
    let layer = || CorrelationIdLayer::new().reject_invalid();
    for headers in [
        &[("x-correlation-id", "<script>")][..],
        &[("x-correlation-id", "a"), ("x-correlation-id", "b")],
        &[("x-request-id", "")],
        &[("x-correlation-id", "<script>"), ("traceparent", PARENT)],
    ] {
        let (status, headers, seen) = through(layer(), headers).await;
        assert_eq!((status, seen), (StatusCode::BAD_REQUEST, None));
        assert_eq!(headers["content-type"], "application/problem+json");
        let id = headers["x-correlation-id"].to_str().unwrap();
        assert_eq!(id.len(), 36, "{id}");
    }
    for headers in [&[][..], &[("x-correlation-id", "fine")]] {
        let (status, headers, seen) = through(layer(), headers).await;
        assert_eq!(status, StatusCode::OK);
        let id = headers["x-correlation-id"].to_str().unwrap();
        assert_eq!(seen.unwrap().id().unwrap().as_str(), id);
    }
}

#[tokio::test]
async fn without_an_id_the_trace_id_is_used() {
    let id = async |headers: &[(&str, &str)]| {
        let (_, headers, _) = through(CorrelationIdLayer::new(), headers).await;
        headers["x-correlation-id"].to_str().unwrap().to_owned()
    };
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(id(&[("traceparent", PARENT)]).await, trace);
    assert_eq!(
        id(&[("traceparent", PARENT), ("x-request-id", "a")]).await,
        "a"
    );
    // A malformed id, or a malformed trace, leads to a generated id.
    for headers in [
        &[("traceparent", PARENT), ("x-request-id", "a b")][..],
        &[("traceparent", "00-1-1-01")],
        &[("traceparent", PARENT), ("traceparent", PARENT)],
    ] {
        let id = id(headers).await;
        assert!(id.len() == 36 && id != trace, "{id}");
    }
}

#[tokio::test]
async fn traces_and_baggage_are_read() {
    let too_many: Vec<_> = (0..33).map(|number| format!("k{number}=v")).collect();
    let too_many = too_many.join(",");
    let seen = async |headers: &[(&str, &str)]| {
        let (_, _, seen) = through(CorrelationIdLayer::new(), headers).await;
        let seen = seen.unwrap();
        let trace = seen.trace().map(|trace| {
            let TraceContext { parent, state } = trace;
            (parent.to_string(), state.to_string())
        });
        (trace, seen.baggage().map(ToString::to_string))
    };
    let trace = |state: &str| Some((PARENT.to_owned(), state.to_owned()));
    assert_eq!(seen(&[]).await, (None, None));
    assert_eq!(seen(&[("traceparent", PARENT)]).await, (trace(""), None));
    let states = [("tracestate", "a=1"), ("tracestate", "b=2, c=3")];
    let headers = [&[("traceparent", PARENT), ("baggage", "x=1")][..], &states].concat();
    let all = (trace("a=1,b=2,c=3"), Some("x=1".to_owned()));
    assert_eq!(seen(&headers).await, all);
    let headers = [("traceparent", PARENT), ("tracestate", &*too_many)];
    assert_eq!(seen(&headers).await, (trace(""), None));
    // The state of a malformed trace is ignored.
    assert_eq!(seen(&states).await, (None, None));
    assert_eq!(seen(&[("traceparent", "x"), states[0]]).await, (None, None));
    // Whitespace around a value is trimmed.
    let headers = [("traceparent", &*format!(" {PARENT}\t"))];
    assert_eq!(seen(&headers).await, (trace(""), None));
    // An empty state may be followed by another line.
    let headers = [("traceparent", PARENT), ("tracestate", ""), states[0]];
    assert_eq!(seen(&headers).await, (trace("a=1"), None));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn spawned_tasks_and_threads_inherit_the_correlation() {
    let id: CorrelationId = "abc".parse().unwrap();
    let seen = crate::scope(id.clone(), async {
        let task = crate::spawn(async {
            tokio::task::yield_now().await;
            CorrelationId::current()
        });
        let thread = std::thread::spawn(crate::with_current(CorrelationId::current));
        let pool = tokio::task::spawn_blocking(crate::with_current(CorrelationId::current));
        (
            task.await.unwrap(),
            thread.join().unwrap(),
            pool.await.unwrap(),
        )
    });
    let seen = seen.await;
    assert_eq!(seen, (Some(id.clone()), Some(id.clone()), Some(id)));
    assert_eq!(
        crate::spawn(async { CorrelationId::current() })
            .await
            .unwrap(),
        None
    );
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn tonic_calls_propagate_the_id() {
    use tonic::service::Interceptor;

    let id: CorrelationId = "abc".parse().unwrap();
    let request = Correlation::from(id).enter(|| {
        let mut request = tonic::Request::new(());
        request
            .metadata_mut()
            .insert("other", "kept".parse().unwrap());
        PropagationLayer::new().call(request).unwrap()
    });
    assert_eq!(request.metadata().get("x-correlation-id").unwrap(), "abc");
    assert_eq!(request.metadata().get("other").unwrap(), "kept");
}

#[test]
fn malformed_baggage_is_logged_once_a_minute() {
    let lines = logged(&[("baggage", b"a b=1"), ("baggage", b"c=1")]);
    let more = logged(&[("baggage", b"a b=1")]);
    // Unless the minute ended in between.
    assert!(
        lines.contains("dropped part of the baggage")
            || more.contains("dropped part of the baggage")
    );
    let many: String = (0..50).map(|_| logged(&[("baggage", b"a b=1")])).collect();
    assert!(many.matches("baggage").count() <= 1, "{many}");
}

#[tokio::test]
async fn a_second_id_header_is_not_forwarded() {
    let sent = Arc::default();
    let inner = keeper(&sent);
    let service = CorrelationIdLayer::new().layer(inner);
    let request = Request::get("/")
        .header("x-correlation-id", "abc")
        .header("x-request-id", "<script>")
        .header("tracestate", "a=b");
    service.oneshot(request.body(()).unwrap()).await.unwrap();
    let sent = sent.lock().unwrap().clone();
    assert!(
        !sent.contains_key("x-request-id") && !sent.contains_key("tracestate"),
        "{sent:?}"
    );
}
