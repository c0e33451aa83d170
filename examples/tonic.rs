//! gRPC with tonic: a server with the layer and the health service, and a client that asks it.
//!
//! ```sh
//! cargo run --example tonic
//! ```

#![expect(clippy::print_stdout, reason = "it shows what was counted")]

use std::time::Duration;

use campanile::Campanile;
use campanile::health::{Check, Group, Select};
use campanile::metrics::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Request;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let campanile = Campanile::builder("health")
        .check(Check::new("database", async || Ok::<_, std::io::Error>(())))
        .health(|health| health.group(Group::new("orders", Select::check("database"))))
        // This example has no other calls to show.
        .observe(|layer| layer.include_grpc_health())
        .build()?;
    // `grpc.health.v1.Health`, for Kubernetes' probes and clients that balance by themselves.
    let service = campanile.health().grpc();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    // A real service waits for 5 s.
    let drained = campanile
        .health()
        .drain_after(async { drop(stopped.await) }, Duration::ZERO);
    let server = Server::builder()
        .layer(campanile.layer())
        .add_service(service);
    let serving =
        tokio::spawn(server.serve_with_incoming_shutdown(TcpIncoming::from(listener), drained));

    // The checks, and all other background work.
    let running = tokio::spawn({
        let campanile = campanile.clone();
        async move { campanile.run(std::future::pending()).await }
    });

    let mut client = HealthClient::new(Channel::from_shared(url)?.connect().await?);
    for name in ["orders", "orders", "unknown"] {
        let request = Request::new(HealthCheckRequest {
            service: name.to_owned(),
        });
        match client.check(request).await {
            Ok(answer) => println!(
                "{name}: {:?}, id {:?}",
                answer.get_ref().status(),
                answer.metadata().get("x-correlation-id")
            ),
            Err(status) => println!("{name}: {:?}", status.code()),
        }
    }
    // A stream: its first message is the state, and then the client leaves.
    let request = Request::new(HealthCheckRequest {
        service: "orders".to_owned(),
    });
    let mut states = client.watch(request).await?.into_inner();
    println!(
        "watched: {:?}",
        states.message().await?.map(|state| state.status())
    );
    drop((states, client));
    // The server gets the cancellation shortly after.
    while campanile.metrics().get("http_requests_in_flight", &[]) != Some(Value::Gauge(0.0)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    drop(stop);
    serving.await??;
    running.abort();
    let page = campanile.metrics().render();
    page.lines()
        .filter(|line| {
            line.starts_with("http_requests_") || line.starts_with("grpc_server_handled")
        })
        .for_each(|line| println!("{line}"));
    Ok(())
}
