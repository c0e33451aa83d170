//! Health checks that run in the background, and probes for Kubernetes, load balancers and gRPC.
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
//!     .check(
//!         Check::new("mail", || async { Err::<(), _>("connection refused") })
//!             .timeout(Duration::from_secs(2)),
//!     )
//!     .build()?;
//! let running = tokio::spawn(health.run(std::future::pending()));
//! # while health.report().checks.iter().any(|check| check.status == Status::Unknown) { tokio::task::yield_now().await; }
//!
//! // `mail` is not critical: without it the service is degraded, and still ready.
//! assert_eq!(health.report().status, Status::Degraded);
//! let response = health.get("/health/ready");
//! assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, r#"{"status":"ready"}"#));
//! # running.abort();
//! # Ok(())
//! # }
//! ```
//!
//! A probe never runs a check: it reads the last results. Without [`Health::run`], no check runs.
//!
//! # Paths
//!
//! | path | subject | `status` in JSON |
//! |---|---|---|
//! | `/health` | all checks | `healthy`, `degraded`, `unhealthy` |
//! | `/health/detailed` | all checks, each with its status, and the uptime | the same |
//! | `/health/readiness`, `/health/ready`, `/readyz` | the group `readiness`, and the phase | `ready`, `not_ready` |
//! | `/health/liveness`, `/health/live`, `/livez` | the group `liveness` | `alive`, `not_alive` |
//! | `/health/startup`, `/startupz` | whether the service has started | `started`, `starting` |
//! | `/health/{group}` | any other [`Group`], with its checks | as `/health` |
//! | `/health/{group}/{check}`, `/readyz/{check}`, … | one check of a group | `healthy`, `degraded`, `unhealthy`, `unknown` |
//!
//! The code is 200 for healthy and degraded, and 503 otherwise; [`Group::code`] changes it. Each
//! path also exists with a final slash. The methods are GET and HEAD. Responses are not cacheable.
//!
//! | query | effect |
//! |---|---|
//! | `verbose` | adds the checks |
//! | `exclude=name` | ignores a check; at most 64 |
//! | `refresh=true` | calls the check of the path soon, if the caller may see errors |
//!
//! `/health…` responds with JSON. `/livez`, `/readyz` and `/startupz` respond with the text of
//! `kube-apiserver`. With `Accept`, a client chooses `application/json`, `application/health+json`
//! (draft-inadarei-api-health-check-06) or `text/plain`.
//!
//! Responses contain check names, statuses and the [version](HealthBuilder::version) only. Messages
//! and durations are in the [`Report`] and in the log. For authorized callers use
//! [`Health::respond_with`].
//!
//! # Serving
//!
//! | server | use |
//! |---|---|
//! | axum | `Health::routes` (feature `axum`) |
//! | tower | [`Health::service`] |
//! | any other | [`Health::respond`] |
//! | gRPC | `Health::grpc` (feature `grpc`) |
//!
//! # Status
//!
//! A check's [`Outcome`] is healthy, degraded or unhealthy. The service has the worst status of its
//! checks, by their importance:
//!
//! | check | if it fails, the service is |
//! |---|---|
//! | [critical](Check::critical) | unhealthy, and not ready |
//! | default | degraded |
//! | [informational](Check::informational) | not affected |
//!
//! With a [threshold](Check::failure_threshold), the status changes after some results in a row. A
//! failed check is [retried](Check::retry_interval) before its interval is over. A check is unknown
//! if it has not run yet, or if its result is [outdated](Check::stale_after). Unknown counts as
//! failed.
//!
//! If all replicas share a dependency, a critical check makes all of them unready at once.
//! [`Group`] shows how to leave a check out of readiness.
//!
//! # Lifecycle
//!
//! | phase | from | readiness |
//! |---|---|---|
//! | [starting](Phase::Starting) | the build | fails |
//! | [ready](Phase::Ready) | no [hold](Health::hold_startup) is left, and the group `startup` is healthy | by its checks |
//! | [draining](Phase::Draining) | [`Health::drain`] | fails, so that load balancers stop sending requests |
//! | [stopped](Phase::Stopped) | the end of [`Health::run`] | fails |
//!
//! To drain at a shutdown signal:
//!
//! | server | use |
//! |---|---|
//! | axum | `axum::serve(…).with_graceful_shutdown(health.drain_after(signal, delay))` |
//! | tonic | `server.serve_with_shutdown(address, health.drain_after(signal, delay))` |
//! | hyper | `health.drain_after(signal, delay).await`, then `graceful_shutdown` of each connection |
//!
//! # Features
//!
//! In the crate `campanile`, the features have the prefix `health-`, such as `health-grpc`; `axum`
//! is the same.
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
mod check_state;
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
mod redact;
mod report;
mod respond;
mod service;
mod transitions;
mod value;
mod watchdog;

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
pub use self::outcome::Outcome;
#[cfg(feature = "passive")]
#[cfg_attr(docsrs, doc(cfg(feature = "passive")))]
pub use self::passive::{PassiveCheck, PassiveCheckBuilder};
pub use self::phase::{Phase, StartupHold};
pub use self::report::{CheckReport, Report, Status};
pub use self::respond::{ResponseDetail, preferred_type};
pub use self::service::HealthService;
pub use self::transitions::{Transition, Transitions};
pub use self::value::Value;
pub use self::watchdog::Watchdog;
