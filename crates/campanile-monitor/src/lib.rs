//! Evaluates alert rules, persists SLOs, and serves the REST API with authorization.
//!
//! ```
//! use campanile_alerts::{Rule, Severity};
//! use campanile_health::Health;
//! use campanile_metrics::Registry;
//! use campanile_monitor::{Monitor, Role, Sources, Token};
//! use campanile_sla::{ServiceLevels, Slo};
//! use http::{Request, StatusCode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sla = ServiceLevels::builder().slo(Slo::availability("availability", "99.9%")).build()?;
//! let (token, secret) = Token::generate("ada", Role::Viewer)?;
//! let monitor = Monitor::builder(Sources::new(Registry::new(), Health::builder().build()?, sla))
//!     .rule(Rule::expr("QueueBacklog", "queue_size > 10000").severity(Severity::High))
//!     .token(token)
//!     .build()?;
//! // `tokio::spawn(monitor.run(shutdown))` does the background work.
//!
//! let get = |path: &str, authorization: &str| {
//!     let request = Request::get(path).header("authorization", authorization).body(()).unwrap();
//!     monitor.respond(&request.into_parts().0).status()
//! };
//! assert_eq!(get("/monitoring/sla", &format!("Bearer {secret}")), StatusCode::OK);
//! assert_eq!(get("/monitoring/sla", "Bearer something else"), StatusCode::UNAUTHORIZED);
//! assert_eq!(get("/metrics", ""), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! # Routes
//!
//! | path | access | response |
//! |---|---|---|
//! | `/metrics` | public | the registry, in [OpenMetrics or Prometheus' text format](campanile_metrics::Registry::respond) |
//! | `/metrics/business` | read | the [business metrics](campanile_metrics::collectors::BusinessMetrics); with a token also the errors of their collectors |
//! | `/health`, `/health/readiness`, … | public | the [probes](campanile_health#paths) |
//! | `/health/detailed` | public | names and statuses of the checks; with a token also their errors |
//! | `/monitoring/sla` | read | all SLOs as JSON, HTML or CSV, by `Accept`; with `?month=2026-11` and `&zone=Europe/Berlin` the [monthly report](campanile_sla::ServiceLevels::monthly_report), in UTC without a zone |
//! | `/monitoring/sla/{name}` | read | one SLO, in the same formats; 404 lists the known names |
//! | `/api/v1/monitor/alerts/active` | read | the pending and firing alerts |
//!
//! All routes are GET and HEAD, with and without a final slash.
//!
//! # Access
//!
//! A client authenticates with a header `Authorization: Bearer <token>`. The SHA-256 of the secret must match a
//! [`Token`]. Each [`Role`] includes the ones before it. If a request has the header, only the header counts.
//!
//! Without a configured token, clients on the same machine may read, unless
//! [`trust_loopback`](MonitorBuilder::trust_loopback) is off. A client is on the same machine if all of these hold:
//!
//! - The request's [`Peer`] is a loopback address. A request without a peer counts as remote.
//! - The request has no `Forwarded`, `X-Forwarded-…`, `X-Real-IP` or `Via`.
//! - The request's host is `localhost` or a loopback address.
//!
//! A rejected request gets 401 or 403 with a constant body. It counts in `campanile_auth_failures_total` with the
//! `reason` `missing`, `malformed`, `unknown`, `forbidden` or `rate_limited`. An unknown token on a public route counts
//! too, and gets the response without a token. Without configured tokens, the header is ignored on public routes.
//!
//! After 30 unknown tokens in one minute from one address (for IPv6 from one /64 network), further tokens of the
//! address are rejected until the minute is over. Public routes then respond as without a token, and other routes with
//! 429 and `Retry-After`. At most 1,024 addresses are tracked. Clients behind one proxy share its address, and all
//! requests without a [`Peer`] count as one client.
//!
//! [`Monitor::authorize`] lets the same tokens guard routes of the application.
//!
//! # Evaluation
//!
//! [`Monitor::run`] evaluates the rules every 5 s. It also passes the time, the series of gauges and the health to
//! the SLOs, and writes their counts to the store every 10 s and at the end. A killed process loses at most 10 s of
//! counts. The default store is in memory and ends with the process; `/health/detailed` and
//! `campanile_store_durable` report it.
//!
//! # Metrics
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `campanile_alerts` | gauge | `state`: `pending`, `firing` |
//! | `campanile_auth_failures_total` | counter | `reason` |
//! | `campanile_clock_steps_total` | counter of clock changes and machine suspensions | |
//! | `campanile_notification_queue_age_seconds` | gauge: age of the oldest queued notification, 0 if the queue is empty | `channel` |
//! | `campanile_notification_queue_length` | gauge | `channel` |
//! | `campanile_notifications_total` | counter | `channel`, `outcome`: `sent`, `failed` (retried), `rejected`, `dropped` |
//! | `campanile_restore_skipped_total` | counter of invalid stored alerts and notifications at the start | |
//! | `campanile_rule_evaluation_failures_total` | counter | |
//! | `campanile_rule_evaluations_total` | counter of evaluations of all rules | |
//! | `campanile_rule_overflow_series` | gauge of series that match rules beyond the limit of 1,000 alerts | |
//! | `campanile_slo_events_total` | counter of the events of SLOs with a budget | `slo`, `result`: `good`, `bad` |
//! | `campanile_stalls_total` | counter of pauses of the process of more than 30 s | |
//! | `campanile_store_dropped_total` | counter of dropped changes and decisions | `writer`: `alerts`, `sla` |
//! | `campanile_store_durable` | gauge: 1, or 0 for memory | |
//! | `campanile_store_errors_total` | counter of failed writes, which are retried | `writer`: `alerts`, `sla` |
//! | `campanile_store_up` | gauge: 0 while the store fails | |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth;
mod authorize;
mod builder;
mod burn_rate_rules;
mod catch_panic;
mod error;
#[cfg(test)]
mod gate;
mod guesses;
mod monitor;
mod peer;
mod response;
mod routes;
mod selector;
mod self_metrics;
mod service;
mod slo_driver;
mod sources;
mod threshold;
mod token;

pub use campanile_metrics::export::ScrapeBody as Body;

pub use self::auth::{Access, Principal};
pub use self::authorize::{Authorize, AuthorizeLayer, ResponseFuture};
pub use self::builder::MonitorBuilder;
pub use self::burn_rate_rules::burn_rate_rules;
pub use self::error::{BuildError, DecisionError, Problem};
pub use self::monitor::Monitor;
pub use self::peer::Peer;
pub use self::routes::Route;
pub use self::service::MonitorService;
pub use self::sources::Sources;
pub use self::threshold::Threshold;
pub use self::token::{GenerateError, Role, Token, TokenError};
