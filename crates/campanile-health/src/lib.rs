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
//!     .check(Check::new("mail", || async { Err("connection refused") }).timeout(Duration::from_secs(2)))
//!     .build()?;
//! let running = tokio::spawn({
//!     let health = health.clone();
//!     async move { health.run(std::future::pending()).await }
//! });
//! # while health.report().checks.iter().any(|check| check.status == Status::Unknown) { tokio::task::yield_now().await; }
//!
//! // The mail is not critical: without it the service is degraded, and still ready.
//! assert_eq!(health.report().status, Status::Degraded);
//! let answer = health.respond("/health/ready").expect("one of its paths");
//! assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, r#"{"status":"ready"}"#));
//! # running.abort();
//! # Ok(())
//! # }
//! ```
//!
//! # Paths
//!
//! | path | status | body's `status` |
//! |---|---|---|
//! | `/health` | 200, or 503 if unhealthy | `healthy`, `degraded`, `unhealthy` |
//! | `/health/detailed` | the same | the same, with the checks' names and statuses and the uptime |
//! | `/health/readiness`, `/health/ready` | 200, or 503 if unhealthy | `ready`, `not_ready` |
//! | `/health/liveness`, `/health/live` | 200 | `alive` |
//!
//! Each also with a final slash; the answers are JSON and not to be cached. Liveness knows no checks: it says that the process
//! answers, since a restart mends no dependency. What a check failed with is in the [`Report`] and in the log, and not in these
//! answers, which anybody may ask for; [`Health::respond_with`] shows it to whoever the caller knows to be allowed.
//!
//! # What counts as what
//!
//! A failed check makes the service degraded, a failed [critical](Check::critical) one unhealthy. A check that has not run yet,
//! or whose result is older than three periods and its timeout, is unknown, and counts as if it had failed. Without
//! [`Health::run`] no check ever runs.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `axum` | no | `Health::routes` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod health;

mod builder;
mod check;
mod report;
mod respond;

pub use self::builder::{BuildError, HealthBuilder, Problem};
pub use self::check::Check;
pub use self::health::Health;
pub use self::report::{CheckReport, Report, Status};
pub use self::respond::Details;
