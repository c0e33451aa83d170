use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Client, Process, example, get};

/// The `orders` example, on a free port.
#[derive(Debug)]
pub struct Orders {
    /// The process of the service.
    pub process: Process,
    /// The address of the service.
    pub address: SocketAddr,
    /// The admin token that the service prints.
    pub token: String,
}

impl Orders {
    /// Starts the service.
    ///
    /// # Panics
    ///
    /// If the example was not built.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts the service with environment variables.
    ///
    /// # Panics
    ///
    /// If the example was not built.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Process::start(
            Command::new(example("orders"))
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

    /// Returns the status and the JSON body of a route, requested with the token.
    ///
    /// # Panics
    ///
    /// If the response is not JSON.
    pub async fn json(&self, path: &str) -> (u16, Value) {
        let client = Client::connect(self.address).await.unwrap();
        let bearer = format!("Bearer {}", self.token);
        let mut client = client.header("authorization", &bearer);
        let (status, body) = client.send(Method::GET, path, "").await;
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    /// Sends orders: `good` ones, then `bad` ones, which fail.
    ///
    /// # Panics
    ///
    /// If a response has another status than 201 and 500.
    pub async fn order(&self, good: usize, bad: usize) {
        let mut client = Client::connect(self.address).await.unwrap();
        for number in 0..good + bad {
            let fail = number >= good;
            let body = format!(r#"{{"product":"bell","quantity":1,"price":1,"fail":{fail}}}"#);
            let (status, _) = client.send(Method::POST, "/orders", &body).await;
            assert_eq!(status.as_u16(), if fail { 500 } else { 201 });
        }
    }

    /// Returns the scrape response.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub async fn page(&self) -> String {
        get(self.address, "/metrics").await.unwrap().1
    }
}

/// Request counts, by the labels of the series that count them.
pub type RequestCounts = BTreeMap<String, u64>;

/// Requests of all outcomes: method, path, body, and the labels of the series that counts them.
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

/// Sends requests over 8 connections, and returns how many there were of each kind. One request in
/// 100 is cancelled before its response.
///
/// # Panics
///
/// If a response has another status than expected.
pub async fn drive_orders(address: SocketAddr, requests: usize) -> RequestCounts {
    let clients: Vec<_> = (0..8)
        .map(|client| {
            tokio::spawn(async move {
                let mut counts = RequestCounts::new();
                let mut connection = Client::connect(address).await.unwrap();
                for number in (client..requests).step_by(8) {
                    let series = if number % 100 == 99 {
                        cancel_order(address).await;
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
    let mut all = RequestCounts::new();
    for client in clients {
        for (series, count) in client.await.unwrap() {
            *all.entry(series).or_default() += count;
        }
    }
    all
}

/// Sends an order that takes 10 s, and cancels it.
async fn cancel_order(address: SocketAddr) {
    drop(begin_order(address).await);
}

/// Sends an order that takes 10 s, and returns when the service has begun to read the body.
///
/// # Panics
///
/// If the service does not accept the request.
pub async fn begin_order(address: SocketAddr) -> TcpStream {
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

/// Returns the request counts of a scrape response.
///
/// # Panics
///
/// If a count is not an integer.
pub fn request_counts(page: &str) -> RequestCounts {
    let lines = page
        .lines()
        .filter_map(|line| line.strip_prefix("http_requests_total{")?.split_once("} "));
    lines
        .map(|(series, count)| (series.to_owned(), count.parse().unwrap()))
        .collect()
}
