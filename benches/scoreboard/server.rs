//! The CPU time that the layers add to a real axum server.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_prometheus::BaseMetricLayer;
use campanile::Campanile;
use campanile_tests::Client;
use http::{HeaderName, Method};
use metrics_exporter_prometheus::PrometheusBuilder;
use rustix::time::{ClockId, clock_gettime};
use tower::ServiceBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::figure::{Effort, Figure};

/// Many short slices, so that a disturbance of the machine affects all sides.
const REQUESTS: usize = 8_000;
const CONNECTIONS: usize = 16;

pub(crate) fn measure(effort: Effort) -> Figure {
    let requests = effort.of(REQUESTS);
    let mut servers = ["bare", "ours", "peers"].map(Server::start);
    // The first round only warms up. Each begins with another side, so that none is always after the same one.
    let (ours, peers): (Vec<_>, Vec<_>) = (0..=effort.rounds * 3)
        .map(|round| {
            let mut took = [0.0; 3];
            for side in (0..3).map(|side| (round + side) % 3) {
                took[side] = servers[side].cpu_per_request(requests);
            }
            let [bare, ours, peers] = took;
            (ours - bare, peers - bare)
        })
        .skip(1)
        .unzip();
    let name = "tower-http 0.7 request-id, TraceLayer; axum-prometheus 0.10";
    Figure::compare(
        ("http.server", "µs of CPU"),
        &ours,
        (name, &peers),
        1.0 / 3.0,
    )
}

/// A server in a separate process, which ends with its standard input.
pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    #[expect(
        clippy::expect_used,
        reason = "a benchmark that can't start its server can only stop"
    )]
    pub(crate) fn start(side: &str) -> Self {
        let own = std::env::current_exe().expect("the program's own path");
        let mut child = Command::new(own)
            .args(["--serve", side])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can't be started");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let address = line(&mut stdout)
            .parse()
            .expect("the server prints its address");
        Self {
            child,
            stdin,
            stdout,
            address,
        }
    }

    /// Sends requests, and returns the microseconds of the server's CPU time for each.
    #[expect(
        clippy::expect_used,
        reason = "a benchmark that loses its server can only stop"
    )]
    fn cpu_per_request(&mut self, requests: usize) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let before = self.cpu();
        runtime.block_on(async {
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let address = self.address;
                    tokio::spawn(async move {
                        let mut client =
                            Client::connect(address).await.expect("the server listens");
                        for _ in 0..requests / CONNECTIONS {
                            let (status, _) = client.send(Method::GET, "/users/7", "").await;
                            assert!(status.is_success());
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.expect("a client failed");
            }
        });
        (self.cpu() - before).as_nanos() as f64 / 1_000.0 / requests as f64
    }

    #[expect(
        clippy::expect_used,
        reason = "a benchmark that loses its server can only stop"
    )]
    fn cpu(&mut self) -> Duration {
        self.stdin.write_all(b"cpu\n").expect("the server ended");
        Duration::from_nanos(
            line(&mut self.stdout)
                .parse()
                .expect("the server prints its processor time"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    // At the end of the stream the empty line is what can't be parsed.
    let _ = from.read_line(&mut line);
    line.trim().to_owned()
}

/// Runs in the child: serves, and prints the process's CPU time for each line that it reads.
pub(crate) fn serve(side: &str) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let app = runtime.as_ref().ok().and_then(|runtime| app(side, runtime));
    let (Ok(runtime), Some(app)) = (runtime, app) else {
        eprintln!("--serve {side}: the sides are bare, ours, peers and health");
        return ExitCode::from(2);
    };
    let serving = async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, app).await
    };
    runtime.spawn(async {
        if let Err(error) = serving.await {
            eprintln!("{error}");
        }
    });
    for _ in std::io::stdin().lines() {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        println!("{}", time.tv_sec * 1_000_000_000 + time.tv_nsec);
    }
    ExitCode::SUCCESS
}

fn app(side: &str, runtime: &tokio::runtime::Runtime) -> Option<Router> {
    let app = Router::new().route(
        "/users/{id}",
        get(async |Path(id): Path<u64>| format!("user {id}")),
    );
    match side {
        "bare" => Some(app),
        "ours" => {
            // Without the log, which the peers don't write either.
            let campanile = Campanile::builder("scoreboard").build().ok()?;
            campanile.metrics().install().ok()?;
            Some(campanile.wrap(app))
        }
        "health" => Some(crate::probe::app(runtime)),
        "peers" => {
            let handle = PrometheusBuilder::new().install_recorder().ok()?;
            // Without it the exporter's samples pile up.
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    handle.run_upkeep();
                }
            });
            let id = HeaderName::from_static("x-request-id");
            let layers = ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
                .layer(PropagateRequestIdLayer::new(id))
                .layer(TraceLayer::new_for_http())
                .layer(BaseMetricLayer::new());
            Some(app.layer(layers))
        }
        _ => None,
    }
}
