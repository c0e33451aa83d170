use std::process::Command;
use std::time::Duration;

use campanile_tests::{Orders, begin_order, drive_orders, eventually, example, request_counts};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_agree_with_the_clients_count_to_the_request() {
    let orders = Orders::start();
    let sent = drive_orders(orders.address, 20_000).await;
    assert_eq!(sent.values().sum::<u64>(), 20_000);
    eventually(sent.clone(), async || request_counts(&orders.page().await)).await;

    let page = orders.page().await;
    let line = |wanted: &str| {
        assert!(
            page.lines().any(|line| line == wanted),
            "{wanted} is not in\n{page}"
        )
    };
    line("http_requests_in_flight 0");
    let left = sent[r#"endpoint="/orders",method="POST",status_code="499""#];
    line(&format!(
        r#"http_requests_incomplete_total{{endpoint="/orders",method="POST",outcome="cancelled"}} {left}"#
    ));
    let order_count: u64 = sent
        .iter()
        .filter(|(series, _)| series.contains("/orders"))
        .map(|(_, count)| count)
        .sum();
    line(&format!(
        r#"http_request_duration_seconds_count{{endpoint="/orders",method="POST"}} {order_count}"#
    ));
    // The handler's own counter.
    let created = sent[r#"endpoint="/orders",method="POST",status_code="201""#];
    let product = |name| {
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
            .unwrap()
    };
    let bells = product(r#"orders_created_total{product="bell"} "#);
    assert_eq!(
        bells + product(r#"orders_created_total{product="rope"} "#),
        created
    );

    // The service levels say the same: clients that left are not valid, and what failed is bad.
    let failed = sent[r#"endpoint="/orders",method="POST",status_code="500""#] as f64;
    let valid = 20_000 - left;
    let (_, report) = orders.json("/monitoring/sla").await;
    for name in ["availability", "response_time", "error_rate", "throughput"] {
        assert_eq!(report["metrics"][name]["samples"], valid, "{name}");
    }
    let current = |name: &str| report["metrics"][name]["current"].as_f64().unwrap();
    assert!((current("error_rate") - 100.0 * failed / valid as f64).abs() < 1e-9);
    assert!((current("availability") + current("error_rate") - 100.0).abs() < 1e-9);
    // Most of their windows is still to come; a throughput is judged after a minute.
    let overall = report["overall_status"].as_str().unwrap();
    assert!(["warning", "violated"].contains(&overall), "{overall}");

    let mut process = orders.process;
    assert!(process.line_with("curl").contains("/users/7"));
    assert!(process.terminate().success());
}

/// At the first signal the order in progress goes on; the second cuts it.
#[tokio::test]
async fn a_second_signal_cuts_the_drain() {
    let orders = Orders::start();
    let mut order = begin_order(orders.address).await;
    orders.process.signal_to_terminate();
    eventually(true, async || {
        TcpStream::connect(orders.address).await.is_err()
    })
    .await;
    let mut answer = Vec::new();
    let waiting =
        tokio::time::timeout(Duration::from_millis(100), order.read_to_end(&mut answer)).await;
    waiting.expect_err("the order was cut by the first signal");
    assert!(orders.process.terminate().success());
    // The connection may end with a reset.
    let _ = order.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_bad_address_is_named() {
    let output = Command::new(example("orders"))
        .env("CAMPANILE_ADDR", "not an address")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("CAMPANILE_ADDR=not an address"));
}

/// Operators set variables for many services at once.
#[tokio::test]
async fn no_variable_of_the_environment_keeps_a_service_from_starting() {
    let digest = |digit: &str| digit.repeat(64);
    let tokens = format!("a:viewer:{},a:admin:{}", digest("1"), digest("2"));
    let orders = Orders::start_with(&[
        ("CAMPANILE_TOKENS", &tokens),
        ("CAMPANILE_TOKENS_FILE", "/no/such/file"),
        ("CAMPANILE_STORE", "/no/such/folder/orders.redb"),
        ("RUST_LOG", "info,x=y=z"),
        ("OTEL_SERVICE_NAME", "two\nlines"),
        ("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ]);
    let (status, report) = orders.json("/health/detailed").await;
    assert_eq!(status, 200, "{report}");
    let text = report.to_string();
    for variable in [
        "CAMPANILE_TOKENS",
        "CAMPANILE_TOKENS_FILE",
        "CAMPANILE_STORE",
    ] {
        assert!(text.contains(&format!("{variable}: ")), "{text}");
    }
    assert!(
        !text.contains(&digest("1")) && !text.contains(&digest("2")),
        "{text}"
    );
}
