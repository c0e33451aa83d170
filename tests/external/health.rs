use std::process::Command;
use std::time::{Duration, Instant};

use campanile::health::{Health, Status, Value, checks};
use campanile_tests::{Process, eventually, find, free_port};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use super::postgres::Postgres;

const PERIOD: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_millis(500);

/// A process and all below it, as far as they are known to the kernel.
fn family(pid: i32) -> Vec<i32> {
    let children = |pid: i32| -> Vec<i32> {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let lists = threads.filter_map(|thread| {
            std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
        });
        let all: Vec<i32> = lists
            .flat_map(|list| {
                list.split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        all
    };
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children(pid));
        next += 1;
    }
    all
}

fn signal(process: &Process, signal: Signal) {
    for pid in family(process.id()) {
        // One of them may have ended meanwhile.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
    }
}

/// Waits until a check is so; returns how long that took.
async fn until(health: &Health, check: &str, expected: Status) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it takes is the question"
    )]
    let begun = Instant::now();
    eventually(expected, async || {
        let report = health.report();
        report
            .checks
            .iter()
            .find(|of| &*of.name == check)
            .unwrap()
            .status
    })
    .await;
    begun.elapsed()
}

async fn follows(name: &str, health: &Health, start: impl Fn() -> Process) {
    let mut server = start();
    until(health, name, Status::Healthy).await;
    for _ in 0..2 {
        // The process is stopped: connections stay open without a response.
        signal(&server, Signal::STOP);
        let took = until(health, name, Status::Unhealthy).await;
        // A tenth more for jitter, and a second for a machine that has other things to do.
        let longest = PERIOD.mul_f64(1.1) + TIMEOUT + Duration::from_secs(1);
        assert!(took < longest, "{name}: {took:?}");
        signal(&server, Signal::CONT);
        until(health, name, Status::Healthy).await;
        // Stopped, and another one started.
        drop(server);
        until(health, name, Status::Unhealthy).await;
        server = start();
        until(health, name, Status::Healthy).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_follows_servers_that_are_frozen_stopped_and_started() {
    let postgres = Postgres::new();
    let port = free_port();
    let redis_url = format!("redis://:s3cret@127.0.0.1:{port}/0");
    let check =
        |check: campanile::health::Check| check.critical().interval(PERIOD).timeout(TIMEOUT);
    let health = Health::builder()
        .check(check(
            checks::postgres("postgres", &postgres.url()).unwrap(),
        ))
        .check(check(checks::redis("redis", &redis_url).unwrap()))
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(health.run(async { drop(stopped.await) }));
    let redis = || {
        let mut command = Command::new(find("redis-server", "redis-server"));
        let port = port.to_string();
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--requirepass",
            "s3cret",
        ]);
        Process::start(command.args(["--save", "", "--appendonly", "no"]))
    };
    tokio::join!(
        follows("postgres", &health, || postgres.start()),
        follows("redis", &health, redis),
    );
    drop(stop);
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_servers_are_details() {
    let postgres = Postgres::new();
    let _postgres = postgres.start();
    let port = free_port();
    let mut command = Command::new(find("redis-server", "redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    let _redis = Process::start(command.args(["--save", "", "--appendonly", "no"]));
    let health = Health::builder()
        .check(
            checks::postgres("postgres", &postgres.url())
                .unwrap()
                .interval(PERIOD),
        )
        .check(
            checks::redis("redis", &format!("redis://127.0.0.1:{port}"))
                .unwrap()
                .interval(PERIOD),
        )
        .build()
        .unwrap();
    let well = async {
        for name in ["postgres", "redis"] {
            until(&health, name, Status::Healthy).await;
        }
    };
    health.run(well).await;
    let report = health.report();
    let details = |number: usize| -> Vec<_> {
        let details = report.checks[number].details.iter();
        details
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect()
    };
    let names = |number: usize| -> Vec<String> {
        details(number).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(
        names(0),
        ["latency_ms", "connections", "active_connections"]
    );
    assert_eq!(
        names(1),
        ["latency_ms", "used_memory_bytes", "connected_clients"]
    );
    // The connection of the check is active.
    assert!(matches!(details(0)[2].1, Value::Integer(1..)));
    assert!(matches!(details(1)[2].1, Value::Integer(1..)));
}
