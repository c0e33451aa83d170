//! The calls of observers, their order, and panics in them.

use std::future::pending;

use super::*;

#[tokio::test]
async fn times_are_those_of_the_clock() {
    /// The last `total`, `time_to_head` and `latency` in milliseconds.
    type Last = Option<(u128, Option<u128>, u128)>;
    #[derive(Clone, Default)]
    struct Times(Arc<Mutex<Last>>);
    impl Observer for Times {
        type Exchange = ();
        const WANTS_TIME_TO_HEAD: bool = true;
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            let time_to_head = end.time_to_head().map(|time| time.as_millis());
            *self.0.lock().unwrap() = Some((
                end.duration().as_millis(),
                time_to_head,
                end.latency().as_millis(),
            ));
        }
    }
    async fn check<O: Observer>(observer: O, content_type: &'static str) {
        // Every reading is 10 ms after the one before.
        let now = Mutex::new(Clock::system().now());
        let clock = Clock::new(move || {
            let mut now = now.lock().unwrap();
            *now += Duration::from_millis(10);
            *now
        });
        let layer = ObserveLayer::builder(observer).clock(clock).build();
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        sender.send_data(Bytes::from("data")).await.unwrap();
        drop(sender);
        answer(
            layer,
            get("/"),
            Response::builder()
                .header(CONTENT_TYPE, content_type)
                .body(body)
                .unwrap(),
        )
        .await;
    }
    let times = Times::default();
    check(times.clone(), "text/plain").await;
    assert_eq!(times.0.lock().unwrap().take(), Some((20, Some(10), 20)));
    check(
        (times.clone(), Log::default()),
        "Text/Event-Stream; charset=utf-8",
    )
    .await;
    assert_eq!(times.0.lock().unwrap().take(), Some((20, Some(10), 10)));
    // Here the first byte is not wanted: the clock is read twice, and a third time only for a
    // stream.
    struct Plain(Times);
    impl Observer for Plain {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            self.0.end((), end);
        }
    }
    check(Plain(times.clone()), "text/plain").await;
    assert_eq!(times.0.lock().unwrap().take(), Some((10, None, 10)));
    check(Plain(times.clone()), "text/event-stream").await;
    assert_eq!(times.0.lock().unwrap().take(), Some((20, Some(10), 10)));
}

#[tokio::test]
async fn a_clock_that_steps_back_measures_nothing() {
    let start = Clock::system().now() + Duration::from_secs(60);
    let now = Mutex::new(start);
    let clock = Clock::new(move || {
        let mut now = now.lock().unwrap();
        *now -= Duration::from_secs(1);
        *now
    });
    struct Zero;
    impl Observer for Zero {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            assert_eq!(end.duration(), Duration::ZERO);
        }
    }
    let layer = ObserveLayer::builder(Zero).clock(clock).build();
    answer(layer.clone(), get("/"), full("x")).await;
    assert_eq!(layer.stats().observer_panics, 0);
}

#[tokio::test]
async fn an_observers_panic_is_counted_and_stays_inside() {
    /// Panics in the named method.
    struct Faulty(&'static str);
    impl Observer for Faulty {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {
            assert_ne!(self.0, "begin");
        }
        fn responded(&self, (): &mut (), _: StatusCode, _: &http::HeaderMap) {
            assert_ne!(self.0, "responded");
        }
        fn end(&self, (): (), _: &End) {
            assert_ne!(self.0, "end");
        }
    }
    async fn check(fault: &'static str, expected: &[&str]) {
        let log = Log::default();
        let layer = ObserveLayer::new((Faulty(fault), Some(Arc::new(log.clone())), None::<Log>));
        answer(layer.clone(), get("/"), full("fine")).await;
        assert_eq!(layer.stats().observer_panics, 1, "{fault}");
        log.assert(expected);
    }
    let told = [
        "begin GET _unmatched_",
        "responded 200",
        "end GET _unmatched_ 200 completed 4",
    ];
    for fault in ["begin", "responded", "end"] {
        check(fault, &told).await;
    }

    // While a panic of the application unwinds, a panic of the observer must not abort the process.
    let layer = ObserveLayer::new(Faulty("end"));
    let service = layer.clone().layer(service_fn(
        async |_| -> Result<Response<Full<Bytes>>, Infallible> { panic!("host") },
    ));
    assert!(
        tokio::spawn(service.oneshot(get("/")))
            .await
            .unwrap_err()
            .is_panic()
    );
    assert_eq!(layer.stats().observer_panics, 1);
}

#[tokio::test]
async fn scopes_nest_in_order_around_every_poll() {
    struct Scope(&'static str, Log);
    impl Observer for Scope {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn scope<T>(&self, (): &mut (), poll: impl FnOnce() -> T) -> T {
            self.1.push(format!("<{}", self.0));
            let polled = poll();
            self.1.push(format!("{}>", self.0));
            polled
        }
        fn end(&self, (): (), _: &End) {}
    }
    let log = Log::default();
    let boxed = crate::BoxObserver::new(Scope("b", log.clone()));
    let layer = ObserveLayer::new((Scope("a", log.clone()), boxed));
    let mut service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(full("body"))));
    let future = service.call(get("/"));
    log.assert(&["<a", "<b", "b>", "a>"]);
    let body = future.await.unwrap().into_body();
    assert_eq!(log.0.lock().unwrap().len(), 8);
    body.collect().await.unwrap();
    assert_eq!(log.0.lock().unwrap().len(), 12);
}

#[tokio::test]
async fn destructors_of_what_is_cancelled_run_in_the_scope() {
    thread_local! {
        static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    struct Scope;
    impl Observer for Scope {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn scope<T>(&self, (): &mut (), poll: impl FnOnce() -> T) -> T {
            INSIDE.set(true);
            let polled = poll();
            INSIDE.set(false);
            polled
        }
        fn end(&self, (): (), _: &End) {}
    }
    struct Check(Log);
    impl Drop for Check {
        fn drop(&mut self) {
            self.0.push(format!("inside: {}", INSIDE.get()));
        }
    }
    let log = Log::default();
    let check = || Check(log.clone());
    let layer = ObserveLayer::new(Scope);
    let in_body = check();
    let body = Full::<Bytes>::from("body").map_frame(move |frame| {
        let _held = &in_body;
        frame
    });
    let mut response = Some(Response::new(body));
    let mut service = layer.layer(service_fn(move |_| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    }));
    drop(service.call(get("/")).await.unwrap());
    let mut in_future = Some(check());
    let mut service = layer.layer(service_fn(move |_| {
        let held = in_future.take();
        async move {
            let _held = held;
            pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }
    }));
    drop(service.call(get("/")));
    log.assert(&["inside: true", "inside: true"]);
}

#[tokio::test]
async fn a_boxed_observer_is_as_the_observer_itself() {
    struct Times(Log);
    impl Observer for Times {
        type Exchange = &'static str;
        const WANTS_TIME_TO_HEAD: bool = true;
        fn begin(&self, head: &mut RequestHead<'_>) -> &'static str {
            self.0.begin(head)
        }
        fn responded(
            &self,
            method: &mut &'static str,
            status: StatusCode,
            headers: &http::HeaderMap,
        ) {
            self.0.responded(method, status, headers);
        }
        fn end(&self, method: &'static str, end: &End) {
            assert!(end.time_to_head().is_some());
            self.0.end(method, end);
        }
    }
    let log = Log::default();
    let boxed = crate::BoxObserver::new(Times(log.clone()));
    let layer = ObserveLayer::builder((boxed, None::<Log>)).route(|_| Some("/".into()));
    answer(layer.build(), get("/"), full("hello")).await;
    log.assert(&["begin GET /", "responded 200", "end GET / 200 completed 5"]);
}

#[tokio::test]
async fn a_response_can_be_marked_as_a_stream() {
    #[derive(Clone, Default)]
    struct Latency(Arc<Mutex<Duration>>);
    impl Observer for Latency {
        type Exchange = ();
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            *self.0.lock().unwrap() = end.latency();
        }
    }
    for (is_marked, expected) in [(true, 1), (false, 1_000)] {
        let latency = Latency::default();
        // The second reading is 1 ms after the first, and the last one 1 s.
        let start = Clock::system().now();
        let rest = if is_marked {
            vec![1, 1_000]
        } else {
            vec![1_000]
        };
        let readings = Mutex::new([0].into_iter().chain(rest));
        let clock = Clock::new(move || {
            let next = readings.lock().unwrap().next().unwrap();
            start + Duration::from_millis(next)
        });
        let layer = ObserveLayer::builder(latency.clone()).clock(clock).build();
        let mut response = full("a part of it");
        if is_marked {
            response.extensions_mut().insert(crate::Streaming);
        }
        answer(layer, get("/"), response).await;
        assert_eq!(*latency.0.lock().unwrap(), Duration::from_millis(expected));
    }
}

/// The requests of a client have a template only if the application knows it.
#[tokio::test]
async fn the_route_of_an_outgoing_request_is_its_extension() {
    let forwarded = || {
        let mut request = get("/items/7");
        // A handler that forwards its request keeps the extensions of the inbound one.
        let router = ::axum::Router::new().route("/proxy/{*rest}", ::axum::routing::any(take));
        async fn take(request: ::axum::extract::Request) -> Response<Full<Bytes>> {
            let mut response = full("");
            *response.extensions_mut() = request.into_parts().0.extensions;
            response
        }
        async move {
            let inbound = Request::get("/proxy/7").body(::axum::body::Body::empty());
            let response = router.oneshot(inbound.unwrap()).await.unwrap();
            let matched = response.extensions().get::<::axum::extract::MatchedPath>();
            assert!(matched.is_some());
            *request.extensions_mut() = response.extensions().clone();
            request
        }
    };
    let check = async |request: Request<Empty<Bytes>>, expected: &str| {
        let log = Log::default();
        answer(ObserveLayer::client(log.clone()), request, full("")).await;
        log.assert_end(expected);
    };
    let mut given = forwarded().await;
    check(forwarded().await, "GET _unmatched_ 200 completed 0").await;
    given
        .extensions_mut()
        .insert(Route::from_static("/items/{id}"));
    check(given, "GET /items/{id} 200 completed 0").await;
}
