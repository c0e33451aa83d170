use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{
    Clock, End, ObserveBuilder, ObserveLayer, Observer, Outcome, RequestHead, Route, method_label,
};

mod axum;
mod grpc;
mod observers;

/// Writes a line for each call.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    #[track_caller]
    fn assert(&self, expected: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), expected);
    }

    /// The only end there is.
    #[track_caller]
    fn assert_end(&self, expected: &str) {
        let lines = self.0.lock().unwrap();
        let ends: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("end"))
            .collect();
        assert_eq!(ends, [&format!("end {expected}")]);
    }
}

impl Observer for Log {
    type Exchange = &'static str;

    fn begin(&self, head: &mut RequestHead<'_>) -> &'static str {
        self.push(format!("begin {} {}", head.method(), head.route()));
        method_label(head.method())
    }

    fn responded(&self, _: &mut &'static str, status: StatusCode, _: &http::HeaderMap) {
        self.push(format!("responded {}", status.as_u16()));
    }

    fn end(&self, method: &'static str, end: &End) {
        let (route, status, outcome, sent) = (
            end.route(),
            end.status().as_u16(),
            end.outcome().as_str(),
            end.body_bytes(),
        );
        self.push(format!("end {method} {route} {status} {outcome} {sent}"));
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

/// Sends one request through a layer to a service that answers with `response`, and reads the body.
async fn answer<B: Body<Error: std::fmt::Debug> + 'static>(
    layer: ObserveLayer<impl Observer>,
    request: Request<Empty<Bytes>>,
    response: Response<B>,
) {
    let mut response = Some(response);
    let mut service = layer.layer(service_fn(move |_| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    let response = service.call(request).await.unwrap();
    let _ = response.into_body().collect().await;
}

fn layer(log: &Log) -> ObserveLayer<Log> {
    builder(log).build()
}

fn builder(log: &Log) -> ObserveBuilder<Log> {
    ObserveLayer::builder(log.clone()).route(|_| Some("/".into()))
}

fn full(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::from(body))
}

#[tokio::test]
async fn the_life_of_an_exchange() {
    let log = Log::default();
    let service = layer(&log).layer(service_fn(async |_| Ok::<_, Infallible>(full("hello"))));
    let response = service.oneshot(get("/")).await.unwrap();
    log.assert(&["begin GET /", "responded 200"]);
    let body = response.into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    log.assert(&["begin GET /", "responded 200", "end GET / 200 completed 5"]);
}

#[tokio::test]
async fn responses_that_owe_no_body_end_with_their_head() {
    /// Asserts what is logged as the head is handed on, and when the response is dropped unread
    /// after that.
    async fn check(method: Method, status: u16, with_head: &[&str], when_dropped: &[&str]) {
        let log = Log::default();
        let service = layer(&log).layer(service_fn(move |_| {
            std::future::ready(
                Response::builder()
                    .status(status)
                    .body(Full::<Bytes>::from("never sent")),
            )
        }));
        let request = Request::builder()
            .method(method)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        log.0.lock().unwrap().drain(..2);
        log.assert(with_head);
        drop(response);
        log.assert(when_dropped);
    }
    async fn owes_none(method: Method, status: u16, end: &str) {
        check(method, status, &[end], &[end]).await;
    }
    async fn owes_one(method: Method, status: u16, end: &str) {
        check(method, status, &[], &[end]).await;
    }
    owes_none(Method::HEAD, 200, "end HEAD / 200 completed 0").await;
    owes_none(Method::GET, 204, "end GET / 204 completed 0").await;
    owes_none(Method::GET, 304, "end GET / 304 completed 0").await;
    owes_none(Method::GET, 101, "end GET / 101 completed 0").await;
    owes_none(Method::CONNECT, 200, "end CONNECT / 200 completed 0").await;
    owes_one(Method::CONNECT, 503, "end CONNECT / 503 cancelled 0").await;
    owes_one(Method::GET, 200, "end GET / 200 cancelled 0").await;
    owes_one(
        Method::from_bytes(b"BREW").unwrap(),
        418,
        "end _OTHER / 418 cancelled 0",
    )
    .await;
}

#[tokio::test]
async fn an_empty_body_ends_with_its_head() {
    let log = Log::default();
    let service = layer(&log).layer(service_fn(async |_| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let _response = service.oneshot(get("/")).await.unwrap();
    log.assert_end("GET / 200 completed 0");
}

#[tokio::test]
async fn a_dropped_future_is_cancelled_with_499() {
    let log = Log::default();
    let service = layer(&log).layer(service_fn(|_| {
        pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    let mut future = Box::pin(service.oneshot(get("/")));
    assert!(futures_poll_once(future.as_mut()).is_none());
    drop(future);
    log.assert(&["begin GET /", "end GET / 499 cancelled 0"]);
}

#[tokio::test]
async fn a_future_dropped_before_its_first_poll_is_cancelled() {
    let log = Log::default();
    let mut service = layer(&log).layer(service_fn(|_| {
        pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    drop(service.call(get("/")));
    log.assert_end("GET / 499 cancelled 0");
}

#[tokio::test]
async fn a_body_dropped_half_way_is_cancelled_with_the_heads_status() {
    let log = Log::default();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data(Bytes::from("half")).await.unwrap();
    let mut body = Some(body);
    let mut service = layer(&log).layer(service_fn(move |_| {
        let response = Response::builder().status(202).body(body.take().unwrap());
        std::future::ready(response)
    }));
    let mut body = service.call(get("/")).await.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "half"
    );
    log.assert(&["begin GET /", "responded 202"]);
    drop(body);
    log.assert_end("GET / 202 cancelled 4");
}

#[tokio::test]
async fn a_body_with_all_its_bytes_sent_is_complete_when_dropped() {
    let log = Log::default();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data(Bytes::from("whole")).await.unwrap();
    let mut body = Some(body);
    let mut service = layer(&log).layer(service_fn(move |_| {
        let response = Response::builder()
            .header(CONTENT_LENGTH, 5)
            .body(body.take().unwrap());
        std::future::ready(response)
    }));
    let mut body = service.call(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    log.assert(&["begin GET /", "responded 200"]);
    drop(body);
    log.assert_end("GET / 200 completed 5");
}

#[tokio::test]
async fn streamed_frames_and_trailers_end_with_the_stream() {
    let log = Log::default();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data(Bytes::from("one ")).await.unwrap();
    sender.send_data(Bytes::from("two")).await.unwrap();
    sender
        .send(Frame::trailers(http::HeaderMap::new()))
        .await
        .unwrap();
    drop(sender);
    answer(layer(&log), get("/"), Response::new(body)).await;
    log.assert_end("GET / 200 completed 7");
}

#[tokio::test]
async fn a_body_dropped_after_its_trailers_is_complete() {
    let log = Log::default();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    let trailers = Frame::trailers(http::HeaderMap::new());
    sender.send(trailers).await.unwrap();
    let mut body = Some(body);
    let mut service = layer(&log).layer(service_fn(move |_| {
        std::future::ready(Ok::<_, Infallible>(Response::new(body.take().unwrap())))
    }));
    let mut body = service.call(get("/")).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    drop((body, sender));
    log.assert_end("GET / 200 completed 0");
}

#[tokio::test]
async fn a_body_error_keeps_the_heads_status() {
    let log = Log::default();
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(4);
    sender.send_data(Bytes::from("half")).await.unwrap();
    sender.abort(std::io::Error::other("disk on fire"));
    answer(layer(&log), get("/"), Response::new(body)).await;
    log.assert_end("GET / 200 body_error 4");
}

#[tokio::test]
async fn a_service_error_is_500_and_goes_on() {
    let log = Log::default();
    let service = layer(&log).layer(service_fn(async |_| {
        Err::<Response<Full<Bytes>>, _>("no route to host")
    }));
    assert_eq!(
        service.oneshot(get("/")).await.unwrap_err(),
        "no route to host"
    );
    log.assert(&["begin GET /", "end GET / 500 service_error 0"]);
}

#[tokio::test]
async fn a_panic_goes_on_and_is_counted_once() {
    let log = Log::default();
    let when_called = layer(&log).layer(service_fn(
        |_| -> std::future::Ready<Result<Response<Full<Bytes>>, Infallible>> { panic!("in call") },
    ));
    assert!(
        tokio::spawn(async { when_called.oneshot(get("/")).await.is_ok() })
            .await
            .unwrap_err()
            .is_panic()
    );
    log.assert_end("GET / 500 panicked 0");

    let log = Log::default();
    let when_polled = layer(&log).layer(service_fn(
        async |_| -> Result<Response<Full<Bytes>>, Infallible> { panic!("in poll") },
    ));
    assert!(
        tokio::spawn(when_polled.oneshot(get("/")))
            .await
            .unwrap_err()
            .is_panic()
    );
    log.assert_end("GET / 500 panicked 0");
}

#[tokio::test]
async fn a_panic_of_the_body_keeps_the_heads_status() {
    struct Bomb;
    impl Body for Bomb {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("in body")
        }
    }
    let log = Log::default();
    let task = tokio::spawn(answer(layer(&log), get("/"), Response::new(Bomb)));
    assert!(task.await.unwrap_err().is_panic());
    log.assert_end("GET / 200 panicked 0");
}

#[tokio::test]
async fn exclusion_hides_the_whole_exchange() {
    let log = Log::default();
    let layer = builder(&log)
        .exclude_probes_and_scrapes()
        .exclude(|head| head.uri().path() == "/own")
        .build();
    for agent in ["kube-probe/1.31", "Prometheus/2.42.0"] {
        let request = Request::get("/")
            .header(USER_AGENT, agent)
            .body(Empty::new())
            .unwrap();
        answer(layer.clone(), request, full("hidden")).await;
    }
    answer(layer.clone(), get("/own"), full("hidden")).await;
    let by_route = builder(&log)
        .exclude(|head| head.route().as_str() == "/")
        .build();
    answer(by_route, get("/own"), full("hidden")).await;
    log.assert(&[]);
    let request = Request::get("/")
        .header(USER_AGENT, "curl/8 kube-probe/")
        .body(Empty::new())
        .unwrap();
    answer(layer, request, full("seen")).await;
    log.assert_end("GET / 200 completed 4");
}

#[tokio::test]
async fn the_route_comes_from_the_first_source_that_knows() {
    async fn check(
        request: Option<Route>,
        closure: Option<Route>,
        response: Option<Route>,
        expected: &str,
    ) {
        let log = Log::default();
        let layer = ObserveLayer::builder(log.clone())
            .route(move |_| closure.clone())
            .build();
        let mut sent = get("/users/7");
        request.map(|route| sent.extensions_mut().insert(route));
        let mut answered = full("x");
        response.map(|route| answered.extensions_mut().insert(route));
        answer(layer, sent, answered).await;
        log.assert_end(&format!("GET {expected} 200 completed 1"));
    }
    let route = |route: &str| Some(Route::from(Arc::from(route)));
    check(None, None, None, "_unmatched_").await;
    check(None, None, route("/in"), "/in").await;
    check(route("/out"), None, route("/in"), "/out").await;
    check(route("/out"), route("/closure"), route("/in"), "/closure").await;
}

#[test]
fn a_success_without_a_route_is_logged_once() {
    use tracing_subscriber::layer::{Context, SubscriberExt};

    #[derive(Clone, Default)]
    struct Warnings(Arc<Mutex<usize>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            assert_eq!(*event.metadata().level(), tracing::Level::WARN);
            *self.0.lock().unwrap() += 1;
        }
    }
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::registry().with(warnings.clone());
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let layer = ObserveLayer::new(Log::default());
            answer(
                layer.clone(),
                get("/"),
                Response::builder()
                    .status(404)
                    .body(Full::<Bytes>::from("no"))
                    .unwrap(),
            )
            .await;
            assert_eq!(*warnings.0.lock().unwrap(), 0);
            answer(layer.clone(), get("/"), full("yes")).await;
            answer(layer, get("/"), full("yes")).await;
            assert_eq!(*warnings.0.lock().unwrap(), 1);
        });
    });
}

#[test]
fn types_are_what_servers_ask_for() {
    fn check<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    type Observers = (Log, Option<Log>, Arc<Log>, Log, Log, Log);
    check::<ObserveLayer<Observers>>();
    check::<crate::Observe<(), Observers>>();
    check::<(End, Outcome, Route, Clock)>();
    fn check_send<T: Send + std::fmt::Debug + 'static>() {}
    check_send::<crate::ResponseFuture<(), Observers>>();
    check_send::<crate::ResponseBody<(), Observers>>();
}

fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
