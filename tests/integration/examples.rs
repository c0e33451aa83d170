use std::net::SocketAddr;
use std::process::Command;

use campanile_tests::{Client, Process, eventually, example, get, parse};
use http::{Method, StatusCode};
use serde_json::Value;

#[test]
fn layers_only_shows_its_metrics() {
    let output = Command::new(example("layers_only")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(r#"/hello -> 200 OK, "example", b"hello, example""#),
        "{text}"
    );
    assert!(
        text.contains(r#"http_requests_total{endpoint="/hello",method="GET",status_code="200"} 2"#),
        "{text}"
    );
    assert!(
        text.contains(
            r#"http_requests_total{endpoint="_unmatched_",method="GET",status_code="404"} 1"#
        ),
        "{text}"
    );
}

#[test]
fn tonic_counts_calls_by_method() {
    let output = Command::new(example("tonic")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let counted: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("http_requests_") || line.starts_with("grpc_server_"))
        .collect();
    assert_eq!(
        counted,
        [
            r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="Watch",grpc_service="grpc.health.v1.Health",grpc_type="unknown"} 1"#,
            r#"grpc_server_handled_total{grpc_code="NotFound",grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unknown"} 1"#,
            r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unknown"} 2"#,
            "http_requests_in_flight 0",
            r#"http_requests_incomplete_total{endpoint="/grpc.health.v1.Health/Watch",method="POST",outcome="cancelled"} 1"#,
            r#"http_requests_total{endpoint="/grpc.health.v1.Health/Check",method="POST",status_code="200"} 3"#,
            r#"http_requests_total{endpoint="/grpc.health.v1.Health/Watch",method="POST",status_code="200"} 1"#,
        ]
    );
}

#[tokio::test]
async fn custom_checks_are_in_groups_and_probes() {
    let mut command = Command::new(example("custom_check"));
    let mut process = Process::start(command.env("CAMPANILE_ADDR", "127.0.0.1:0"));
    assert!(process.line_with("path: /startupz").contains("path"));
    assert!(process.line_with("path: /livez").contains("path"));
    let url = process.line_with("http://");
    let address: SocketAddr = url.trim().trim_start_matches("http://").parse().unwrap();
    eventually(Some(StatusCode::OK), async || {
        get(address, "/startupz").await.map(|(code, _)| code)
    })
    .await;
    let text = async |path: &str| get(address, path).await.unwrap();
    let report = async || {
        let (_, body) = get(address, "/health/detailed").await.unwrap();
        serde_json::from_str::<Value>(&body).unwrap()
    };
    // All have run.
    eventually(false, async || {
        report().await.to_string().contains("unknown")
    })
    .await;
    let expected = "[+]payments degraded: reason withheld\n[+]license degraded: reason withheld\n[+]migrations ok\n[+]disk ok\n\
        [+]network ok\n[+]consumer ok\n[+]executor ok\nreadyz check passed\n";
    assert_eq!(
        text("/readyz?verbose").await,
        (StatusCode::OK, expected.to_owned())
    );
    let expected = "[+]consumer ok\n[+]executor ok\nlivez check passed\n";
    assert_eq!(
        text("/livez?verbose").await,
        (StatusCode::OK, expected.to_owned())
    );
    let storage: Value = serde_json::from_str(&text("/health/storage").await.1).unwrap();
    assert_eq!(
        (&storage["status"], &storage["total_checks"]),
        (&"healthy".into(), &2.into())
    );
    // Who is on the same machine sees figures, but no error's text.
    let report = report().await;
    assert_eq!(report["status"], "degraded");
    let check = |name: &str| {
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(check("license")["details"]["days_left"], 9);
    assert_eq!(
        (
            check("payments").get("message"),
            check("payments").get("root_causes")
        ),
        (None, None)
    );
    let (_, page) = get(address, "/metrics").await.unwrap();
    assert!(
        page.contains("health_status{check=\"payments\"} 0.5"),
        "{page}"
    );
    assert!(
        page.contains("health_transitions_total{check=\"disk\",to=\"healthy\"} 1"),
        "{page}"
    );
}

#[tokio::test]
async fn a_service_does_less_while_its_budget_is_short() {
    let mut command = Command::new(example("slo_gate"));
    let mut process = Process::start(command.env("CAMPANILE_ADDR", "127.0.0.1:0"));
    let url = process.line_with("http://");
    let address: SocketAddr = url.trim().trim_start_matches("http://").parse().unwrap();
    let found = async || {
        get(address, "/search")
            .await
            .map(|(_, text)| text.contains("others looked for"))
    };
    assert_eq!(found().await, Some(true));
    for _ in 0..5 {
        assert_eq!(
            get(address, "/broken").await.unwrap().0,
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }
    eventually(Some(false), found).await;
    let (_, report) = get(address, "/monitoring/sla/search").await.unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    // Most of its window is still to come.
    assert_eq!(report["status"], "warning");
    let budget = &report["error_budget"];
    assert!(budget["consumed"].as_f64().unwrap() > 1.0, "{budget}");
    assert_eq!(budget["exhausted_in_seconds"], 0.0);
    assert!(
        budget["burn_rates"]["1h"].as_f64().unwrap() > 1.0,
        "{budget}"
    );
}

/// The lines of an example's log.
fn log_of(name: &str) -> Vec<Value> {
    let output = Command::new(example(name)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn two_services_are_in_one_trace() {
    let log = log_of("two_services");
    let about = |text: &str| {
        let is_it = |line: &&Value| line["message"] == text || line["http.route"] == text;
        log.iter().find(is_it).unwrap_or_else(|| panic!("{log:?}"))
    };
    let (shop, stock, lookup) = (
        about("/items/{item}"),
        about("/stock/{item}"),
        about("looked up"),
    );
    let trace = shop["trace_id"].as_str().unwrap();
    assert_eq!(trace.len(), 32);
    for line in [stock, lookup] {
        assert_eq!(line["trace_id"], trace);
        assert_eq!(line["correlation_id"], shop["correlation_id"]);
    }
    assert_eq!(stock["span_id"], lookup["span_id"]);
    assert_ne!(stock["span_id"], shop["span_id"]);
    assert_eq!(about("asked")["answer"], "3 left");
    assert_eq!(about("asked")["trace_id"], Value::Null);
}

#[test]
fn outgoing_requests_are_counted_and_decide_on_readiness() {
    let log = log_of("outgoing_requests");
    let counted: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "counted")
        .map(|line| line["sample"].as_str().unwrap())
        .collect();
    for (status, template, count) in [
        ("200", "/items/{item}", " 6"),
        ("201", "/charges/{item}", " 1"),
        ("502", "/charges/{item}", " 5"),
    ] {
        let of_template = counted.iter().any(|line| {
            line.contains(&format!("url_template=\"{template}\""))
                && line.contains(&format!("http_response_status_code=\"{status}\""))
                && line.ends_with(count)
        });
        assert!(of_template, "{status} {template}: {counted:?}");
    }
    let not_ready = "the payments fail, and so the shop is not ready";
    assert!(log.iter().any(|line| line["message"] == not_ready));
}

#[test]
fn a_subscriber_that_is_there_gets_our_layer() {
    let log = log_of("existing_subscriber");
    let is_own = |line: &&Value| line["target"] == "existing_subscriber";
    let own: Vec<_> = log.iter().filter(is_own).collect();
    assert_eq!(own.len(), 1, "{log:?}");
    assert_eq!(
        (&own[0]["message"], &own[0]["items"]),
        (&"accepted".into(), &3.into())
    );
    // What the build says is there, too: there is no subscriber yet.
    assert!(log.len() > 1, "{log:?}");
}

#[test]
fn a_provider_that_is_there_gets_the_spans_of_requests() {
    let mut example = Command::new(example("existing_opentelemetry"));
    let output = example.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (log, spans) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let spans: Vec<Vec<_>> = spans
        .lines()
        .map(|line| line.splitn(5, ' ').collect())
        .collect();
    let [query, server] = &spans[..] else {
        panic!("{spans:?}");
    };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(
        server[..],
        [
            trace,
            server[1],
            "below",
            "00f067aa0ba902b7:",
            "GET /orders/{id}"
        ]
    );
    assert_eq!(
        query[..],
        [
            trace,
            query[1],
            "below",
            &format!("{}:", server[1]),
            "SELECT orders"
        ]
    );
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let found = lines.iter().find(|line| line["message"] == "found");
    let found = found.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&found["trace_id"], &found["span_id"]),
        (&trace.into(), &query[1].into())
    );
}

#[tokio::test]
async fn an_exporter_that_is_there_has_its_values_on_the_page() {
    let (_process, address) = start("existing_exporter");
    let mut client = Client::connect(address).await.unwrap();
    for _ in 0..2 {
        let (status, _) = client.send(Method::POST, "/orders", "").await;
        assert_eq!(status, StatusCode::OK);
    }
    let expected = [
        "# HELP orders_accepted Orders accepted.",
        "# TYPE orders_accepted counter",
        "orders_accepted 2",
        "order_items_bucket{le=\"1.0\"} 0",
        "order_items_bucket{le=\"10.0\"} 2",
        "order_items_count 2",
        "http_requests_total{endpoint=\"/orders\",method=\"POST\",status_code=\"200\"} 2",
        "campanile_registry_exporter_omitted_lines{reason=\"invalid\"} 0",
    ];
    // The values of the exporter are up to a second old.
    eventually(Vec::new(), async || {
        let (_, page) = get(address, "/metrics").await.unwrap();
        let is_missing = |line: &&str| !page.lines().any(|other| other == *line);
        expected.into_iter().filter(is_missing).collect()
    })
    .await;
}

#[tokio::test]
async fn hyper_serves_its_metrics() {
    let (_process, address) = start("hyper");
    assert_eq!(
        get(address, "/").await.unwrap(),
        (StatusCode::OK, "hello\n".to_owned())
    );
    assert_eq!(
        get(address, "/nothing").await.unwrap().0,
        StatusCode::NOT_FOUND
    );
    let (status, page) = get(address, "/metrics").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let counted: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("http_requests_total"))
        .collect();
    assert_eq!(
        counted,
        [
            r#"http_requests_total{endpoint="/",method="GET",status_code="200"} 1"#,
            r#"http_requests_total{endpoint="_unmatched_",method="GET",status_code="404"} 1"#,
        ]
    );
}

#[tokio::test]
async fn metric_sets_are_recorded_by_their_routes() {
    let (_process, address) = start("metric_sets");
    let mut client = Client::connect(address).await.unwrap();
    for (method, path, body, expected) in [
        (
            Method::POST,
            "/orders",
            r#"{"currency":"EUR","amount":1299,"is_new_customer":true}"#,
            (StatusCode::CREATED, ""),
        ),
        (Method::DELETE, "/cart", "", (StatusCode::NO_CONTENT, "")),
        (
            Method::GET,
            "/products/7",
            "",
            (StatusCode::OK, "product 7"),
        ),
        // This one is in the cache.
        (
            Method::GET,
            "/products/7",
            "",
            (StatusCode::OK, "product 7"),
        ),
        (
            Method::POST,
            "/ask",
            r#"{"model":"small","type":"text","operation":"chat","text":"what is a campanile"}"#,
            (StatusCode::OK, "you said: what is a campanile"),
        ),
        (
            Method::POST,
            "/ask",
            r#"{"model":"large","type":"code","operation":"summarize","text":""}"#,
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                "the question has no words",
            ),
        ),
    ] {
        let (status, text) = client.send(method, path, body).await;
        assert_eq!((status, &*text), expected, "{path}");
    }
    let (_, page) = get(address, "/metrics").await.unwrap();
    parse(&page).unwrap();
    for sample in [
        "orders_created_total 1",
        "orders_completed_total 1",
        r#"revenue_minor_units_total{currency="EUR"} 1299"#,
        r#"product_views_total{product_id="7"} 2"#,
        r#"business_events_total{event_type="user_created"} 1"#,
        "cart_abandonment_total 1",
        "active_users 0",
        r#"api_response_time_seconds_count{endpoint="/products/{id}"} 2"#,
        r#"cache_hits_total{cache_type="memory"} 1"#,
        r#"cache_hit_ratio{cache_type="memory"} 0.5"#,
        r#"cache_entries{cache_type="shared"} 1"#,
        r#"cache_operations_total{operation="set",result="miss"} 2"#,
        "database_connections 8",
        r#"database_query_duration_seconds_count{query_type="insert",table="orders"} 1"#,
        r#"blockchain_transactions_total{status="confirmed",transaction_type="payment"} 1"#,
        "block_sync_duration_seconds_count 2",
        r#"ai_model_requests_total{model_name="small",model_type="text",status="success"} 1"#,
        r#"ai_operations_total{operation_type="summarize",status="error"} 1"#,
        r#"agent_requests_total{endpoint="/ask",method="chat",status="success"} 1"#,
        r#"agent_request_duration_seconds_count{endpoint="/ask",method="chat"} 1"#,
        r#"function_calls_total{function="answer",model="small",module="metric_sets::agent",operation="chat",outcome="ok"} 1"#,
        r#"agent_errors_total{error_type="empty",method="summarize"} 1"#,
        r#"function_errors_total{error="empty",function="answer",model="large",module="metric_sets::agent",operation="summarize"} 1"#,
        r#"agent_queue_size{queue_name="small"} 0"#,
        r#"llm_tokens_used_bucket{model="small",operation="chat",le="100.0"} 1"#,
        r#"llm_tokens_used_sum{model="small",operation="chat"} 10"#,
        r#"response_size_bytes_sum{endpoint="/ask"} 29"#,
    ] {
        assert!(
            page.lines().any(|line| line == sample),
            "{sample} is not in {page}"
        );
    }
}

/// Starts an example that prints where its metrics are.
fn start(name: &str) -> (Process, SocketAddr) {
    let mut process =
        Process::start(Command::new(example(name)).env("CAMPANILE_ADDR", "127.0.0.1:0"));
    let line = process.line_with("http://");
    let address = line
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches("/metrics")
        .parse()
        .unwrap();
    (process, address)
}
