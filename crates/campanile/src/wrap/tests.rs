use axum::routing::{any, get, post};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use axum::extract::ConnectInfo;

use super::*;

/// Sends a request, checks that the response has one correlation id, and returns its status and body.
async fn send(app: &Router, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(
        response
            .headers()
            .get_all("x-correlation-id")
            .iter()
            .count(),
        1,
        "{path}"
    );
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What `/metrics` shows of the requests that were counted.
fn counted(campanile: &Campanile) -> Vec<String> {
    let page = campanile.metrics().render();
    page.lines()
        .filter_map(|line| line.strip_prefix("http_requests_total"))
        .map(str::to_owned)
        .collect()
}

fn campanile() -> Campanile {
    Campanile::builder("test").build().unwrap()
}

#[tokio::test]
async fn the_hosts_routes_and_fallback_are_observed_and_ours_are_not() {
    let campanile = campanile();
    let app = campanile.wrap(Router::new().route("/users/{id}", get(async || "Ada")));
    assert_eq!(
        send(&app, Method::GET, "/users/7").await,
        (StatusCode::OK, "Ada".into())
    );
    assert_eq!(
        send(&app, Method::GET, "/nothing").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        send(&app, Method::POST, "/users/7").await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    for path in ["/metrics", "/metrics/"] {
        let (status, page) = send(&app, Method::GET, path).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(page, campanile.metrics().render());
        assert_eq!(
            send(&app, Method::HEAD, path).await,
            (StatusCode::OK, String::new())
        );
        assert_eq!(
            send(&app, Method::POST, path).await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
    assert_eq!(
        counted(&campanile),
        [
            r#"{endpoint="/users/{id}",method="GET",status_code="200"} 1"#,
            r#"{endpoint="/users/{id}",method="POST",status_code="405"} 1"#,
            r#"{endpoint="_unmatched_",method="GET",status_code="404"} 1"#,
        ]
    );
}

#[test]
fn what_the_host_has_already_is_found() {
    for (hosts, ours, expected) in [
        ("/health/{group}", "/health/{group}", true),
        ("/health/{id}", "/health/{group}", true),
        ("/health/{a}/{b}", "/health/{group}/{check}", true),
        ("/health/{*rest}", "/health/{group}", true),
        ("/health/{*rest}", "/health/{group}/{check}/", true),
        ("/health/{*rest}", "/health", false),
        ("/{*rest}", "/health/{group}", false),
        ("/health/{id}", "/health", false),
        ("/health/live", "/health/{group}", false),
    ] {
        assert_eq!(is_taken(hosts, ours), expected, "{hosts} {ours}");
        // It is added if there is room.
        let campanile = Campanile::builder("test").build().unwrap();
        drop(campanile.wrap(Router::new().route(hosts, get(async || "mine"))));
    }
}

#[cfg(feature = "health")]
#[tokio::test]
async fn probes_answer_and_are_not_among_the_hosts_requests() {
    let campanile = campanile();
    let app = campanile.wrap(Router::new().route("/health/live", get(async || "mine")));
    assert_eq!(
        send(&app, Method::GET, "/health/ready").await,
        (StatusCode::OK, r#"{"status":"ready"}"#.into())
    );
    assert!(
        send(&app, Method::GET, "/health/")
            .await
            .1
            .starts_with(r#"{"status":"healthy","#)
    );
    assert!(counted(&campanile).is_empty());
    assert_eq!(send(&app, Method::GET, "/health/live").await.1, "mine");
    assert_eq!(counted(&campanile).len(), 1);
}

#[tokio::test]
async fn what_the_host_excludes_is_left_out() {
    let campanile = Campanile::builder("test")
        .observe(|layer| layer.exclude(|head| head.route().as_str() == "/quiet"))
        .observe(|layer| layer.exclude(|head| head.route().as_str() == "/silent"));
    let campanile = campanile.build().unwrap();
    let app = Router::new()
        .route("/quiet", get(async || ""))
        .route("/silent", get(async || ""))
        .route("/loud", get(async || ""));
    let app = campanile.wrap(app);
    send(&app, Method::GET, "/quiet").await;
    send(&app, Method::GET, "/silent").await;
    send(&app, Method::GET, "/loud").await;
    assert_eq!(
        counted(&campanile),
        [r#"{endpoint="/loud",method="GET",status_code="200"} 1"#]
    );
}

#[tokio::test]
async fn the_hosts_own_fallback_stays() {
    let campanile = campanile();
    let app = campanile.wrap(Router::new().fallback(async || (StatusCode::IM_A_TEAPOT, "mine")));
    assert_eq!(
        send(&app, Method::GET, "/nothing").await,
        (StatusCode::IM_A_TEAPOT, "mine".into())
    );
    assert!(
        send(&app, Method::GET, "/metrics")
            .await
            .1
            .contains("http_requests_in_flight 0\n")
    );
    assert_eq!(
        counted(&campanile),
        [r#"{endpoint="_unmatched_",method="GET",status_code="418"} 1"#]
    );
}

#[tokio::test]
async fn the_hosts_route_wins_on_the_same_path() {
    async fn check(host: Router, expected: (StatusCode, &str)) {
        let campanile = campanile();
        let app = campanile.wrap(host);
        let (status, body) = send(&app, Method::GET, "/metrics").await;
        assert_eq!((status, body.as_str()), expected);
        assert_eq!(counted(&campanile).len(), 1);
        assert_eq!(send(&app, Method::GET, "/metrics/").await.0, StatusCode::OK);
    }
    check(
        Router::new().route("/metrics", get(async || "mine")),
        (StatusCode::OK, "mine"),
    )
    .await;
    check(
        Router::new().route("/metrics", any(async || "mine")),
        (StatusCode::OK, "mine"),
    )
    .await;
    check(
        Router::new().route("/metrics", post(async || "mine")),
        (StatusCode::METHOD_NOT_ALLOWED, ""),
    )
    .await;
}

#[tokio::test]
async fn no_handler_of_the_host_runs_when_wrapping() {
    let handler = async || -> &'static str { panic!("a handler ran") };
    let router = Router::new()
        .route("/metrics", any(handler))
        .route("/{*rest}", any(handler))
        .nest_service("/health", any(handler))
        .nest("/monitoring", Router::new().fallback(handler))
        .fallback(handler);
    let _app = campanile().wrap(router);
}

#[tokio::test]
async fn a_wildcard_of_the_host_leaves_our_paths_alone() {
    let campanile = campanile();
    let app = campanile.wrap(Router::new().route("/{*path}", get(async || "file")));
    assert_eq!(send(&app, Method::GET, "/metrics/other").await.1, "file");
    assert!(
        send(&app, Method::GET, "/metrics")
            .await
            .1
            .contains("# TYPE")
    );
}

/// Returns the warnings that are logged while a function runs.
fn warnings(function: impl FnOnce()) -> Vec<String> {
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);
    struct Line(String);
    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }
    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), function);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

#[test]
fn a_pattern_that_loses_paths_to_ours_is_logged() {
    let campanile = campanile();
    let wrap = |pattern| {
        let router = Router::new().route(pattern, get(async || "tenant"));
        warnings(|| drop(campanile.wrap(router)))
    };
    let lines = wrap("/{tenant}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(r#"pattern="/{tenant}""#), "{lines:?}");
    assert!(lines[0].contains(r#""/metrics""#), "{lines:?}");
    assert_eq!(wrap("/{*rest}"), [""; 0]);
    assert_eq!(wrap("/users/{id}"), [""; 0]);
}

#[tokio::test]
async fn routes_can_be_merged_by_hand() {
    let campanile = campanile();
    let host = Router::new()
        .route("/", get(async || "host"))
        .layer(campanile.layer());
    let app = campanile.routes().merge(host);
    assert_eq!(send(&app, Method::GET, "/").await.1, "host");
    assert_eq!(
        send(&app, Method::GET, "/nothing").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(send(&app, Method::GET, "/metrics").await.0, StatusCode::OK);
    assert_eq!(counted(&campanile).len(), 2);
}

/// A provoked panic would be reported by the application's panic hook, and end a process with `panic = "abort"`.
#[tokio::test]
async fn our_routes_are_below_the_prefix() {
    let campanile = Campanile::builder("orders").routes_at("/v1/orders");
    let campanile = campanile.build().unwrap();
    let metrics = async || "the application's";
    let app = Router::new().route("/metrics", get(metrics));
    let app = campanile.wrap(app);
    for (path, status, start) in [
        ("/metrics", StatusCode::OK, "the application's"),
        ("/v1/orders/metrics", StatusCode::OK, "# HELP "),
        ("/v1/orders/livez/", StatusCode::OK, "ok"),
        ("/v1/orders/livez?verbose", StatusCode::OK, "[+]"),
        ("/livez", StatusCode::NOT_FOUND, ""),
        ("/v1/orders", StatusCode::NOT_FOUND, ""),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert!(body.starts_with(start), "{path}: {body}");
    }
}

#[test]
fn prefixes_are_validated() {
    for prefix in ["", "/orders", "/v1/orders-2", "/a.b/~c"] {
        assert!(is_prefix(prefix), "{prefix}");
    }
    let long = format!("/{}", "a".repeat(65));
    let deep = "/a".repeat(9);
    for prefix in [
        "/",
        "orders",
        "/orders/",
        "//",
        "/a//b",
        "/{tenant}",
        "/a b",
        "/../a",
        "/%2e",
        &long,
        &deep,
    ] {
        assert!(!is_prefix(prefix), "{prefix}");
        let error = Campanile::builder("orders").routes_at(prefix).build();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("invalid route prefix"), "{error}");
    }
}

#[cfg(feature = "monitor")]
#[tokio::test]
async fn a_nested_service_keeps_its_paths_without_a_panic() {
    static PANICS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let here = std::thread::current().id();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        hook(info);
    }));
    let own = || Router::new().fallback(async || "mine");
    let campanile = campanile();
    let host = Router::new()
        .nest_service("/health", own())
        .nest_service("/metrics", own())
        .nest_service("/monitoring/sla", own())
        .nest_service("/api", own());
    let app = campanile.wrap(host);
    assert_eq!(PANICS.load(std::sync::atomic::Ordering::Relaxed), 0);
    for path in [
        "/health",
        "/health/",
        "/health/ready",
        "/health/a/b",
        "/metrics",
        "/metrics/business",
        "/monitoring/sla",
        "/monitoring/sla/a",
        "/api/x",
    ] {
        assert_eq!(send(&app, Method::GET, path).await.1, "mine", "{path}");
    }
    // These stand beside a service that is nested further up, or below a name.
    let path = "/api/v1/monitor/alerts/active";
    assert_ne!(send(&app, Method::GET, path).await.1, "mine");
    let app = campanile.wrap(Router::new().nest_service("/{tenant}", own()));
    for path in ["/health/ready", "/metrics", "/metrics/business"] {
        assert_ne!(send(&app, Method::GET, path).await.1, "mine", "{path}");
    }
    assert_eq!(send(&app, Method::GET, "/acme/x").await.1, "mine");
    assert_eq!(PANICS.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn an_endpoint_without_a_method_is_no_obstacle() {
    let _app = campanile().wrap(Router::new().route("/x", MethodRouter::new()));
}

#[cfg(feature = "monitor")]
mod monitor {
    use std::net::SocketAddr;
    use std::time::Duration;

    use campanile_monitor::{Role, Token};
    use campanile_sla::Slo;

    use super::*;

    async fn ask(
        app: &Router,
        path: &str,
        peer: Option<&str>,
        bearer: &str,
    ) -> (StatusCode, String) {
        let mut request = Request::get(path).header("host", "localhost:8000");
        if !bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response
                .headers()
                .get_all("x-correlation-id")
                .iter()
                .count(),
            1
        );
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_guard_knows_the_peer_and_the_token() {
        let (token, secret) = Token::generate("ada", Role::Viewer).unwrap();
        let campanile = Campanile::builder("test").token(token).build().unwrap();
        let app = campanile.wrap(Router::new());
        let nested = Router::new().nest("/internal", campanile.routes());
        for (app, prefix) in [(app, ""), (nested, "/internal")] {
            for path in [
                "/monitoring/sla",
                "/monitoring/sla/",
                "/api/v1/monitor/alerts/active",
            ] {
                let path = &format!("{prefix}{path}");
                let status =
                    async |peer, bearer: &str| ask(&app, path, peer, bearer).await.0.as_u16();
                assert_eq!(status(None, "").await, 401, "{path}");
                assert_eq!(status(Some("10.0.0.1:1"), "").await, 401, "{path}");
                assert_eq!(status(Some("127.0.0.1:1"), "").await, 401, "{path}");
                assert_eq!(status(Some("127.0.0.1:1"), "x").await, 401, "{path}");
                assert_eq!(status(Some("10.0.0.1:1"), &secret).await, 200, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn a_local_client_reads_without_a_token_if_it_is_trusted() {
        for (trust, expected) in [(true, StatusCode::OK), (false, StatusCode::UNAUTHORIZED)] {
            let builder = Campanile::builder("test").trust_loopback(trust);
            let app = builder.build().unwrap().wrap(Router::new());
            let path = "/api/v1/monitor/alerts/active";
            let (status, _) = ask(&app, path, Some("127.0.0.1:1"), "").await;
            assert_eq!(status, expected);
        }
    }

    #[tokio::test]
    async fn service_levels_count_the_hosts_requests_alone() {
        let campanile = Campanile::builder("test")
            .slo(Slo::availability("availability", "99.9%"))
            .build()
            .unwrap();
        let fail = async || StatusCode::INTERNAL_SERVER_ERROR;
        let app = Router::new()
            .route("/good", get(async || "x"))
            .route("/bad", get(fail));
        let app = campanile.wrap(app);
        for path in [
            "/good",
            "/good",
            "/bad",
            "/nothing",
            "/metrics",
            "/health",
            "/monitoring/sla",
        ] {
            ask(&app, path, None, "").await;
        }
        let reading = campanile.sla().counts(Duration::from_secs(60));
        assert_eq!((reading.good(), reading.bad()), (3, 1));
        let (_, body) = ask(&app, "/monitoring/sla/availability", Some("[::1]:1"), "").await;
        assert!(body.contains(r#""current":75.0"#), "{body}");
        let (status, body) = ask(&app, "/monitoring/sla/nothing", Some("[::1]:1"), "").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains(r#""known":["availability"]"#), "{body}");
    }
}

#[tokio::test]
async fn a_streamed_body_has_the_correlation_id() {
    use campanile_correlation::CorrelationId;

    let streamed = get(async || {
        let frame =
            async { Ok::<_, std::convert::Infallible>(format!("{:?}", CorrelationId::current())) };
        Body::from_stream(futures_util::stream::once(frame))
    });
    let app = campanile().wrap(Router::new().route("/", streamed));
    let (_, body) = send(&app, Method::GET, "/").await;
    assert!(body.starts_with("Some"), "{body}");
}

#[tokio::test]
async fn observers_of_the_application_are_called() {
    use campanile_http::{End, Observer, RequestHead};

    #[derive(Clone, Default)]
    struct Ends(std::sync::Arc<std::sync::Mutex<Vec<String>>>);
    impl Observer for Ends {
        type Exchange = ();
        const WANTS_TIME_TO_HEAD: bool = true;
        fn begin(&self, _: &mut RequestHead<'_>) {}
        fn end(&self, (): (), end: &End) {
            let line = format!("{} {}", end.route(), end.time_to_head().is_some());
            self.0.lock().unwrap().push(line);
        }
    }
    let ends = Ends::default();
    let builder = Campanile::builder("test").observer(ends.clone());
    let campanile = builder.observer(ends.clone()).build().unwrap();
    let app = campanile.wrap(Router::new().route("/users/{id}", get(async || "Ada")));
    send(&app, Method::GET, "/users/7").await;
    assert_eq!(*ends.0.lock().unwrap(), ["/users/{id} true"; 2]);
}

#[tokio::test]
async fn a_rejected_correlation_id_is_observed() {
    use campanile_correlation::CorrelationIdLayer;

    let ids = CorrelationIdLayer::new().reject_invalid();
    let campanile = Campanile::builder("test").correlation(ids).build().unwrap();
    let app = campanile.wrap(Router::new().route("/", get(async || "reached")));
    let status = async |id: &str| {
        let request = Request::get("/").header("x-correlation-id", id);
        let request = request.body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response
                .headers()
                .get_all("x-correlation-id")
                .iter()
                .count(),
            1
        );
        response.status()
    };
    assert_eq!(status("<script>").await, StatusCode::BAD_REQUEST);
    assert_eq!(status("fine").await, StatusCode::OK);
    assert_eq!(
        counted(&campanile),
        [
            r#"{endpoint="/",method="GET",status_code="200"} 1"#,
            r#"{endpoint="/",method="GET",status_code="400"} 1"#,
        ]
    );
}
