//! Health checks that run in the background, and probes that only read what they found.
//!
//! ```
//! use std::time::Duration;
//!
//! use campanile_health::{Check, Health, Status};
//! use http::StatusCode;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let health = Health::builder()
//!     .check(Check::new("database", || async { Ok::<_, std::io::Error>(()) }).critical())
//!     .check(Check::new("mail", || async { Err::<(), _>("connection refused") }).timeout(Duration::from_secs(2)))
//!     .build()?;
//! let running = tokio::spawn({
//!     let health = health.clone();
//!     async move { health.run(std::future::pending()).await }
//! });
//! # while health.report().checks.iter().any(|check| check.status == Status::Unknown) { tokio::task::yield_now().await; }
//!
//! // The mail is not critical: without it the service is degraded, and still ready.
//! assert_eq!(health.report().status, Status::Degraded);
//! let answer = health.get("/health/ready");
//! assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, r#"{"status":"ready"}"#));
//! # running.abort();
//! # Ok(())
//! # }
//! ```
//!
//! A critical check also fails readiness. If all replicas share the dependency, all of them become unready at once: [`Group`] shows how to leave
//! such a check out of readiness.
//!
//! # Paths
//!
//! | path | what it is about | the `status` in JSON |
//! |---|---|---|
//! | `/health` | all checks | `healthy`, `degraded`, `unhealthy` |
//! | `/health/detailed` | the same, with each check and the uptime | the same |
//! | `/health/readiness`, `/health/ready`, `/readyz` | the group `readiness`, and whether the service has started and doesn't drain | `ready`, `not_ready` |
//! | `/health/liveness`, `/health/live`, `/livez` | the group `liveness` | `alive`, `not_alive` |
//! | `/health/startup`, `/startupz` | whether the service has started, whatever its dependencies do | `started`, `starting` |
//! | `/health/{group}` | any other [`Group`], with its checks | as `/health` |
//! | `/health/{group}/{check}`, `/readyz/{check}`, … | one check of a group | `healthy`, `degraded`, `unhealthy`, `unknown` |
//!
//! The code is 200 if it is healthy or degraded and 503 if it is not, unless the group [says otherwise](Group::code). Each path also
//! exists with a final slash. They answer GET and HEAD, and responses must not be cached. `?verbose` adds the checks, and `?exclude=name`
//! ignores one. If the caller may see errors, `?refresh=true` has that check called soon.
//!
//! `/health…` answers JSON and `/livez`, `/readyz` and `/startupz` answer text as `kube-apiserver` does, unless `Accept` asks for another of
//! `application/json`, `application/health+json` (draft-inadarei-api-health-check-06) and `text/plain`.
//!
//! Responses contain names, statuses and the [version](HealthBuilder::version). Messages and durations are in the [`Report`] and in the
//! log. For authorized callers, [`Health::respond_with`] shows them, too.
//!
//! # What counts as what
//!
//! A check's [`Outcome`] is healthy, degraded or unhealthy; with [thresholds](Check::thresholds) it takes some in a row. A failed check makes the
//! service degraded, a failed [critical](Check::critical) one unhealthy, an [informational](Check::informational) one nothing; the worst of
//! them counts. A check that has not run yet, or whose result is older than [three periods](Check::stale_after), is unknown, and counts as if it
//! had failed. Without [`Health::run`] no check ever runs. A check that fails is [retried](Check::retry_interval) before its period is over.
//!
//! # Life
//!
//! A service is [starting](Phase::Starting) until no [hold](Health::hold_startup) is left and the group `startup` (heartbeats and the watchdog) is healthy, then ready, and
//! [draining](Health::drain_after) before it ends, so that load balancers stop sending requests first.
//!
//! | what ends it | how |
//! |---|---|
//! | axum | `axum::serve(…).with_graceful_shutdown(async move { health.drain_after(signal, delay).await })` |
//! | tonic | `server.serve_with_shutdown(address, async move { health.drain_after(signal, delay).await })` |
//! | hyper | `health.drain_after(signal, delay).await`, and then each connection's `graceful_shutdown` |
//!
//! # Features
//!
//! In the crate `campanile`, each has the prefix `health-`, such as `health-grpc`, except `axum`.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | `Health::routes` |
//! | `grpc` | no | `Health::grpc`: the gRPC service `grpc.health.v1` |
//! | `http` | no | [`checks::http`], and [`client`] |
//! | `passive` | no | [`PassiveCheck`], derived from the requests to a dependency |
//! | `postgres`, `redis` | no | [`checks::postgres`](fn@checks::postgres), [`checks::redis`](fn@checks::redis) |
//! | `system` | no | [`checks::cpu`], [`descriptors`](checks::descriptors), [`disk`](checks::disk), [`load`](checks::load), [`memory`](checks::memory) |
//! | `tls` | no | [`checks::certificate`] |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod check;
pub mod checks;
mod clock;
mod error;
mod group;
#[cfg(feature = "grpc")]
mod grpc;
mod health;
mod heartbeat;
mod kubernetes;
mod outcome;
#[cfg(feature = "passive")]
mod passive;
mod phase;
mod report;
mod respond;
mod service;
mod transitions;
mod watchdog;
mod watched;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use campanile_client as client;

pub use self::builder::HealthBuilder;
pub use self::check::{Check, HealthCheck, HealthFuture, Importance};
pub use self::error::{BuildError, Problem};
pub use self::group::{Group, Select};
#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub use self::grpc::{GrpcHealth, GrpcWatchStream};
pub use self::health::Health;
pub use self::heartbeat::Heartbeat;
pub use self::outcome::{Outcome, Value};
#[cfg(feature = "passive")]
#[cfg_attr(docsrs, doc(cfg(feature = "passive")))]
pub use self::passive::{PassiveCheck, PassiveCheckBuilder};
pub use self::phase::{Phase, StartupHold};
pub use self::report::{CheckReport, Report, Status};
pub use self::respond::{ResponseDetail, preferred_type};
pub use self::service::HealthService;
pub use self::transitions::{Transition, Transitions};
pub use self::watchdog::Watchdog;
