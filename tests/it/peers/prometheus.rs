use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use campanile_tests::{Process, eventually, find, free_port, get};
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::quickstart::{Quickstart, counted, drive};

/// A Prometheus that scrapes one target every second.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    async fn start(target: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("prometheus.yml");
        let scrape = "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: quickstart\n  static_configs:";
        std::fs::write(&config, format!("{scrape}\n  - targets: ['{target}']\n")).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Process::start(
            Command::new(find("prometheus", "prometheus"))
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.path().join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error"),
        );
        let ready = async || get(address, "/-/ready").await.map(|(status, _)| status);
        eventually(Some(StatusCode::OK), ready).await;
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }

    /// The value of an expression that has one.
    async fn query(&self, encoded: &str) -> Option<f64> {
        let (_, answer) = get(self.address, &format!("/api/v1/query?query={encoded}")).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }
}

/// 20,000 requests, of which the client, the page and Prometheus say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_with_the_clients_count() {
    let quickstart = Quickstart::start();
    let sent = drive(quickstart.address, 20_000).await;
    eventually(sent.clone(), async || counted(&quickstart.page().await)).await;
    promtool_check(&quickstart.page().await);

    let prometheus = Prometheus::start(quickstart.address).await;
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

fn promtool_check(page: &str) {
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
