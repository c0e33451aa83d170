use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use campanile_tests::{Client, Process, eventually, example, get};
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The example as built, on a free port.
pub(crate) struct Quickstart {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// The token that it prints.
    pub(crate) token: String,
}

impl Quickstart {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Process::start(
            Command::new(example("quickstart"))
                .env("CAMPANILE_ADDR", "127.0.0.1:0")
                .envs(variables.iter().copied()),
        );
        let line = process.line_with("http://");
        let address = line
            .trim()
            .strip_prefix("http://")
            .and_then(|url| url.split('/').next())
            .unwrap();
        let printed = process.line_with("admin token");
        let token = printed.trim().rsplit(' ').next().unwrap().to_owned();
        Self {
            address: address.parse().unwrap(),
            process,
            token,
        }
    }

    /// The status of a page and what it says, as JSON, for the bearer of the token.
    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        let client = Client::connect(self.address).await.unwrap();
        let bearer = format!("Bearer {}", self.token);
        let mut client = client.header("authorization", &bearer);
        let (status, body) = client.send(Method::GET, path, "").await;
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    /// Sends orders, some of which ask to fail.
    pub(crate) async fn order(&self, good: usize, bad: usize) {
        let mut client = Client::connect(self.address).await.unwrap();
        for number in 0..good + bad {
            let fail = number >= good;
            let body = format!(r#"{{"product":"bell","quantity":1,"price":1,"fail":{fail}}}"#);
            let (status, _) = client.send(Method::POST, "/orders", &body).await;
            assert_eq!(status.as_u16(), if fail { 500 } else { 201 });
        }
    }

    pub(crate) async fn page(&self) -> String {
        get(self.address, "/metrics").await.unwrap().1
    }
}

/// How many requests there were, by the series that should count them.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Requests with all the outcomes that there are; what a client may send, and the series and status that it should be.
const MIX: &[(&str, &str, &str, &str)] = &[
    (
        "GET",
        "/users/7",
        "",
        r#"endpoint="/users/{id}",method="GET",status_code="200""#,
    ),
    (
        "GET",
        "/users/3?q=1",
        "",
        r#"endpoint="/users/{id}",method="GET",status_code="200""#,
    ),
    (
        "GET",
        "/users/99",
        "",
        r#"endpoint="/users/{id}",method="GET",status_code="404""#,
    ),
    (
        "GET",
        "/users/x",
        "",
        r#"endpoint="/users/{id}",method="GET",status_code="400""#,
    ),
    (
        "DELETE",
        "/users/7",
        "",
        r#"endpoint="/users/{id}",method="DELETE",status_code="405""#,
    ),
    (
        "BREW",
        "/users/7",
        "",
        r#"endpoint="/users/{id}",method="_OTHER",status_code="405""#,
    ),
    (
        "GET",
        "/wp-login.php",
        "",
        r#"endpoint="_unmatched_",method="GET",status_code="404""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"bell","quantity":2,"price":950}"#,
        r#"endpoint="/orders",method="POST",status_code="201""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"rope","quantity":1,"price":50,"delay_ms":1}"#,
        r#"endpoint="/orders",method="POST",status_code="201""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"#,
        r#"endpoint="/orders",method="POST",status_code="400""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"bell","quantity":0,"price":950}"#,
        r#"endpoint="/orders",method="POST",status_code="422""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"gong","quantity":1,"price":950}"#,
        r#"endpoint="/orders",method="POST",status_code="404""#,
    ),
    (
        "POST",
        "/orders",
        r#"{"product":"bell","quantity":1,"price":950,"fail":true}"#,
        r#"endpoint="/orders",method="POST",status_code="500""#,
    ),
];

/// Sends requests from 8 connections, some of which leave before the answer, and returns how many there were of each kind.
pub(crate) async fn drive(address: SocketAddr, requests: usize) -> Counts {
    let clients: Vec<_> = (0..8)
        .map(|client| {
            tokio::spawn(async move {
                let mut counts = Counts::new();
                let mut connection = Client::connect(address).await.unwrap();
                for number in (client..requests).step_by(8) {
                    let series = if number % 100 == 99 {
                        leave(address).await;
                        r#"endpoint="/orders",method="POST",status_code="499""#
                    } else {
                        let (method, path, body, series) = MIX[number % MIX.len()];
                        let method = Method::from_bytes(method.as_bytes()).unwrap();
                        let (status, answer) = connection.send(method, path, body).await;
                        let expected = format!("status_code=\"{}\"", status.as_u16());
                        assert!(
                            series.ends_with(&expected),
                            "{path} {body}: {status} {answer}"
                        );
                        series
                    };
                    *counts.entry(series.to_owned()).or_default() += 1;
                }
                counts
            })
        })
        .collect();
    let mut all = Counts::new();
    for client in clients {
        for (series, count) in client.await.unwrap() {
            *all.entry(series).or_default() += count;
        }
    }
    all
}

/// Sends an order that takes 10 s, and leaves.
async fn leave(address: SocketAddr) {
    drop(begin(address).await);
}

/// Sends an order that takes 10 s; the service has begun with it then.
async fn begin(address: SocketAddr) -> TcpStream {
    let body = r#"{"product":"bell","quantity":1,"price":1,"delay_ms":10000}"#;
    let head = "POST /orders HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-type: application/json";
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// The counts that a page shows.
pub(crate) fn counted(page: &str) -> Counts {
    let lines = page
        .lines()
        .filter_map(|line| line.strip_prefix("http_requests_total{")?.split_once("} "));
    lines
        .map(|(series, count)| (series.to_owned(), count.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_agree_with_the_clients_count_to_the_request() {
    let quickstart = Quickstart::start();
    let sent = drive(quickstart.address, 20_000).await;
    assert_eq!(sent.values().sum::<u64>(), 20_000);
    eventually(sent.clone(), async || counted(&quickstart.page().await)).await;

    let page = quickstart.page().await;
    let line = |wanted: &str| {
        assert!(
            page.lines().any(|line| line == wanted),
            "{wanted} is not in\n{page}"
        )
    };
    line("http_requests_in_flight 0");
    let left = sent[r#"endpoint="/orders",method="POST",status_code="499""#];
    line(&format!(
        r#"http_requests_abnormal_total{{endpoint="/orders",method="POST",outcome="cancelled"}} {left}"#
    ));
    let orders: u64 = sent
        .iter()
        .filter(|(series, _)| series.contains("/orders"))
        .map(|(_, count)| count)
        .sum();
    line(&format!(
        r#"http_request_duration_seconds_count{{endpoint="/orders",method="POST"}} {orders}"#
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
    let (_, report) = quickstart.json("/monitoring/sla").await;
    for name in ["availability", "response_time", "error_rate", "throughput"] {
        assert_eq!(report["metrics"][name]["samples"], valid, "{name}");
    }
    let current = |name: &str| report["metrics"][name]["current"].as_f64().unwrap();
    assert!((current("error_rate") - 100.0 * failed / valid as f64).abs() < 1e-9);
    assert!((current("availability") + current("error_rate") - 100.0).abs() < 1e-9);
    // Most of their windows is still to come; a throughput is judged after a minute.
    let overall = report["overall_status"].as_str().unwrap();
    assert!(["warning", "violated"].contains(&overall), "{overall}");

    let mut process = quickstart.process;
    assert!(process.line_with("curl").contains("/users/7"));
    assert!(process.terminate().success());
}

/// At the first signal the order in progress goes on; the second cuts it.
#[tokio::test]
async fn a_second_signal_cuts_the_drain() {
    let quickstart = Quickstart::start();
    let mut order = begin(quickstart.address).await;
    quickstart.process.signal_to_terminate();
    eventually(true, async || {
        TcpStream::connect(quickstart.address).await.is_err()
    })
    .await;
    let mut answer = Vec::new();
    let waiting =
        tokio::time::timeout(Duration::from_millis(100), order.read_to_end(&mut answer)).await;
    waiting.expect_err("the order was cut by the first signal");
    assert!(quickstart.process.terminate().success());
    // The connection may end with a reset.
    let _ = order.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_bad_address_is_named() {
    let output = Command::new(example("quickstart"))
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
    let quickstart = Quickstart::start_with(&[
        ("CAMPANILE_TOKENS", &tokens),
        ("CAMPANILE_TOKENS_FILE", "/no/such/file"),
        ("CAMPANILE_STORE", "/no/such/folder/orders.redb"),
        ("RUST_LOG", "info,x=y=z"),
        ("OTEL_SERVICE_NAME", "two\nlines"),
        ("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ]);
    let (status, report) = quickstart.json("/health/detailed").await;
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
