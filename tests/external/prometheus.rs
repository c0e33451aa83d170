use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU128;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use campanile::http::TraceRef;
use campanile::metrics::Registry;
use campanile_tests::{
    Orders, Process, drive_orders, eventually, find, free_port, get, request_counts,
};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A Prometheus server.
pub(crate) struct Prometheus {
    pub(crate) address: SocketAddr,
    process: Process,
    pub(crate) folder: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes a target every second.
    async fn start(target: SocketAddr) -> Self {
        let scrape =
            "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: orders\n  static_configs:";
        let config = format!("{scrape}\n  - targets: ['{target}']\n");
        Self::open(TempDir::new().unwrap(), &config).await
    }

    /// Starts a server with the data of another, in the folder `data`.
    pub(crate) async fn open(folder: TempDir, config: &str) -> Self {
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Process::start(
            Command::new(find("prometheus", "prometheus"))
                .arg(format!("--config.file={}", path.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.path().join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--enable-feature=exemplar-storage")
                .arg("--log.level=error"),
        );
        let ready = async || get(address, "/-/ready").await.map(|(status, _)| status);
        eventually(Some(StatusCode::OK), ready).await;
        Self {
            address,
            process,
            folder,
        }
    }

    /// Stops it, and returns what it kept.
    pub(crate) fn stop(self) -> TempDir {
        let Self {
            process, folder, ..
        } = self;
        process.terminate();
        folder
    }

    pub(crate) async fn ask(&self, path: &str) -> Option<Value> {
        let (_, answer) = get(self.address, path).await?;
        Some(serde_json::from_str(&answer).unwrap())
    }

    /// The value of an expression that has one.
    async fn query(&self, encoded: &str) -> Option<f64> {
        let answer = self.ask(&format!("/api/v1/query?query={encoded}")).await?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }
}

/// The client, the scrape response and Prometheus agree on 20,000 requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_with_the_clients_count() {
    let orders = Orders::start();
    let sent = drive_orders(orders.address, 20_000).await;
    eventually(sent.clone(), async || request_counts(&orders.page().await)).await;
    promtool_check(&orders.page().await);

    let prometheus = Prometheus::start(orders.address).await;
    eventually(Some(20_000.0), async || {
        prometheus.query("sum(http_requests_total)").await
    })
    .await;
    let created = sent[r#"endpoint="/orders",method="POST",status_code="201""#] as f64;
    let expression =
        "sum(http_requests_total%7Bendpoint%3D%22%2Forders%22%2Cstatus_code%3D%22201%22%7D)";
    assert_eq!(prometheus.query(expression).await, Some(created));
    assert_eq!(
        prometheus
            .query("sum(http_request_duration_seconds_count)")
            .await,
        Some(20_000.0)
    );
    assert_eq!(prometheus.query("http_requests_in_flight").await, Some(0.0));
    assert_eq!(prometheus.query("up").await, Some(1.0));
}

/// A registry behind a separate route, which Prometheus scrapes as OpenMetrics in gzip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_keeps_exemplars_and_reads_long_pages() {
    let registry = Registry::new();
    for shard in 0..5 {
        registry.describe(&format!("many_{shard}"), "Many series.");
    }
    registry.describe("time_seconds", "A time.");
    for number in 0..5_000 {
        let shard = (number % 5).to_string();
        let number = number.to_string();
        let labels = [("number", number.as_str()), ("text", "a \\ \" \n é")];
        let counter = registry.counter(&format!("many_{shard}_total"), &labels);
        counter.unwrap().increment(3);
    }
    let asked = Arc::new(Mutex::new(HeaderMap::new()));
    let app = {
        let (registry, asked) = (registry.clone(), Arc::clone(&asked));
        let scrape = async move |request: axum::extract::Request| {
            let (request, _) = request.into_parts();
            let response = registry.respond(&request);
            *asked.lock().unwrap() = request.headers;
            response
        };
        Router::new().route("/metrics", axum::routing::get(scrape))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let prometheus = Prometheus::start(target).await;
    for shard in 0..5 {
        let expression = format!(
            "sum(many_{shard}_total%7Btext%3D%22a%20%5C%5C%20%5C%22%20%5Cn%20%C3%A9%22%7D)"
        );
        eventually(Some(3_000.0), async || prometheus.query(&expression).await).await;
    }
    {
        let asked = asked.lock().unwrap();
        let asked = |name: &str| asked[name].to_str().unwrap().to_owned();
        assert!(
            asked("accept").contains("openmetrics") && asked("accept-encoding").contains("gzip")
        );
    }

    // The histogram is there before its exemplar, as one of a service would be.
    let histogram = registry.histogram("time_seconds", &[]).unwrap();
    let trace = TraceRef::new(NonZeroU128::new(0x1234).unwrap(), true);
    histogram.record_in_trace(0.3, trace);
    let exemplars = async || {
        let range = "start=0&end=9999999999";
        let path = format!("/api/v1/query_exemplars?query=time_seconds_bucket&{range}");
        let answer = prometheus.ask(&path).await?;
        let exemplar = &answer["data"][0]["exemplars"][0];
        let trace = exemplar["labels"]["trace_id"].as_str()?.to_owned();
        Some((trace, exemplar["value"].as_str()?.to_owned()))
    };
    let expected = (trace.to_string(), "0.3".to_owned());
    eventually(Some(expected), exemplars).await;
    eventually(Some(1.0), async || {
        prometheus.query("time_seconds_count").await
    })
    .await;
    assert_eq!(prometheus.query("up").await, Some(1.0));
    promtool_check(&registry.render());
}

pub(crate) fn promtool_check(page: &str) {
    let mut promtool = Command::new(find("promtool", "prometheus"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let complaints = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{}\n{page}",
        String::from_utf8_lossy(&complaints)
    );
}
