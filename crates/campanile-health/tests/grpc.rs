//! `grpc.health.v1` with the client of tonic-health.

#![cfg(feature = "grpc")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile_health::{Check, Group, Health, Select};
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn check_and_watch_agree_with_the_probes() {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = Arc::clone(&is_well);
    let check = Check::new("db", move || {
        let is_well = well.load(Ordering::Relaxed);
        async move { is_well.then_some(()).ok_or("down") }
    });
    let check = check.critical().interval(Duration::from_millis(10));
    let health = Health::builder()
        .check(check)
        .group(Group::new("storage", Select::check("db")))
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(health.grpc());
    let (signal, signalled) = oneshot::channel::<()>();
    let drained = health.drain_after(async { drop(signalled.await) }, Duration::ZERO);
    let incoming = TcpListenerStream::new(listener);
    let server_ended = tokio::spawn(server.serve_with_incoming_shutdown(incoming, drained));
    let channel = Channel::from_shared(address).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let (serving, not_serving) = (
        ServingStatus::Serving as i32,
        ServingStatus::NotServing as i32,
    );

    // Nothing has run yet.
    for (service, expected) in [
        ("", not_serving),
        ("liveness", serving),
        ("startup", serving),
    ] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status, expected, "{service}");
    }
    let error = client.check(of("unknown")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let mut storage = client.watch(of("storage")).await.unwrap().into_inner();
    let mut readiness = client.watch(of("")).await.unwrap().into_inner();
    let mut unknown = client.watch(of("unknown")).await.unwrap().into_inner();
    assert_eq!(
        storage.message().await.unwrap().unwrap().status,
        not_serving
    );
    assert_eq!(
        readiness.message().await.unwrap().unwrap().status,
        not_serving
    );
    let service_unknown = ServingStatus::NotServing as i32 + 1;
    assert_eq!(
        unknown.message().await.unwrap().unwrap().status,
        service_unknown
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(health.run(async { drop(stopped.await) }));
    assert_eq!(storage.message().await.unwrap().unwrap().status, serving);
    assert_eq!(readiness.message().await.unwrap().unwrap().status, serving);
    is_well.store(false, Ordering::Relaxed);
    assert_eq!(
        storage.message().await.unwrap().unwrap().status,
        not_serving
    );
    assert_eq!(
        readiness.message().await.unwrap().unwrap().status,
        not_serving
    );
    is_well.store(true, Ordering::Relaxed);
    assert_eq!(storage.message().await.unwrap().unwrap().status, serving);
    assert_eq!(readiness.message().await.unwrap().unwrap().status, serving);
    // The server ends although there are watchers: each gets the last status, and the end of its
    // stream.
    let answer = client.check(of("storage")).await.unwrap().into_inner();
    assert_eq!(answer.status, serving);
    drop(signal);
    assert_eq!(
        readiness.message().await.unwrap().unwrap().status,
        not_serving
    );
    assert_eq!(readiness.message().await.unwrap(), None);
    assert_eq!(storage.message().await.unwrap(), None);
    let ended = tokio::time::timeout(Duration::from_secs(30), server_ended);
    ended.await.unwrap().unwrap().unwrap();
    drop(stop);
    running.await.unwrap();
}
