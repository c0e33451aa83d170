//! Custom checks, groups of checks, and Kubernetes' probes.
//!
//! ```sh
//! cargo run --example custom_check
//! curl -i localhost:8000/readyz?verbose
//! curl -i localhost:8000/health/storage
//! curl -i localhost:8000/livez
//! ```
//!
//! | variable | default | sets |
//! |---|---|---|
//! | `CAMPANILE_ADDR` | `127.0.0.1:8000` | where it listens |

#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use campanile::Campanile;
use campanile::health::checks::{self, Bounds};
use campanile::health::{
    Check, Group, HealthCheck, HealthFuture, Heartbeat, Outcome, Select, Watchdog,
};
use campanile::telemetry::Writer;
use tokio::net::TcpListener;

/// A check with settings, which is a type.
struct License {
    days_left: u32,
}

impl HealthCheck for License {
    fn check(&self) -> HealthFuture<'_> {
        Box::pin(async {
            let outcome = match self.days_left {
                0 => Outcome::unhealthy("the license has ended"),
                1..15 => Outcome::degraded("the license ends soon"),
                _ => Outcome::healthy(),
            };
            outcome.detail("days_left", self.days_left)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let consumer = Heartbeat::new("consumer", Duration::from_secs(30));
    let campanile = Campanile::builder("orders")
        .telemetry(|log| log.writer(Writer::stderr()))
        // A closure: an error is a failure.
        .check(
            Check::new("payments", async || Err::<(), _>("refused"))
                .failure_threshold(3)
                .success_threshold(2)
                .depends_on("network"),
        )
        .check(Check::from_impl("license", License { days_left: 9 }).informational())
        // This check blocks its thread.
        .check(
            Check::blocking("migrations", || std::fs::metadata("/").map(drop))
                .critical()
                .tag("storage"),
        )
        .check(
            checks::disk("disk", "/", Bounds::at_most(95.0, 100.0))
                .critical()
                .tag("storage"),
        )
        .check(checks::dns("network", "localhost").interval(Duration::from_secs(5)))
        .health(|health| {
            health
                // Tasks that have to go on, and the runtime itself, are what liveness is about.
                .heartbeat(&consumer)
                .watchdog(Watchdog::new())
                .group(Group::new("storage", Select::tag("storage")))
        })
        .install()?;
    tokio::spawn(async move {
        loop {
            // One message after the other; each time around it says that it lives.
            consumer.beat();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });

    let app = campanile.wrap(Router::new().route("/", get(async || "hello")));
    let address = std::env::var("CAMPANILE_ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("CAMPANILE_ADDR={address}: {error}"))?;
    println!("for the container in Kubernetes:\n");
    println!("{}", campanile.health().probes_yaml("http"));
    println!("http://{}", listener.local_addr()?);
    campanile.serve(listener, app).await?;
    Ok(())
}
