//! A service that has a tracing subscriber of its own, to which our layer is added.
//!
//! ```sh
//! cargo run --example existing_subscriber
//! ```

use std::time::Duration;

use campanile::Campanile;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `build` puts nothing in a global place.
    let campanile = Campanile::builder("orders").telemetry(|log| log).build()?;
    let telemetry = campanile.telemetry().ok_or("it was asked for")?;
    tracing_subscriber::registry()
        // The service's own, for people, on the standard error.
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        // Ours, in JSON, on the standard output.
        .with(telemetry.layer())
        .with(telemetry.filter())
        .init();

    tracing::info!(items = 3, "accepted");
    let _ = telemetry.shutdown(Duration::from_secs(5));
    Ok(())
}
