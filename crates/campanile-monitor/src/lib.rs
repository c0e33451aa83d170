//! What ties the parts together: the tick that evaluates and remembers, the REST API, and the guard on every route.
//!
//! ```
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use campanile_alerts::{Rule, Severity};
//! use campanile_health::Health;
//! use campanile_metrics::Registry;
//! use campanile_monitor::{Monitor, Role, Sources, Token};
//! use campanile_series::Now;
//! use campanile_sla::{Sla, Slo};
//! use http::{Request, StatusCode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Now { wall: SystemTime::now(), mono: Instant::now() };
//! let sla = Sla::builder().objective(Slo::availability("availability", "99.9%")).build(now)?;
//! let (token, secret) = Token::generate("ada", Role::Viewer)?;
//! let monitor = Monitor::builder(Sources::new(Registry::new(), Health::builder().build()?, sla))
//!     .rule(Rule::promql("QueueBacklog", r#"agent_queue_size{queue="orders"} > 10000"#).severity(Severity::High))
//!     .token(token)
//!     .build()?;
//! // monitor.run(shutdown) does the work in the background.
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
//! | path | for | answer |
//! |---|---|---|
//! | `/metrics` | anybody | the registry, in [OpenMetrics or Prometheus' text format](campanile_metrics::Registry::respond) |
//! | `/metrics/business` | readers; with a credential | the [business figures](campanile_metrics::Business); and what their collectors failed with |
//! | `/health`, `/health/readiness`, … | anybody | the [probes](campanile_health#paths) |
//! | `/health/detailed` | anybody; with a credential | names and statuses; and what the checks failed with |
//! | `/monitoring/sla` | readers | all objectives, in JSON, HTML or CSV by `Accept`; with `?month=2026-11` and `&zone=Europe/Berlin` the [statement](campanile_sla::Sla::statement) of a month, in UTC without a zone |
//! | `/monitoring/sla/{name}` | readers | one objective, in the same forms; 404 with the known names |
//! | `/api/v1/monitor/alerts/active` | readers | the alerts that are pending or firing |
//!
//! All are GET and HEAD, each also with a final slash.
//!
//! # Who may see what
//!
//! A *reader* has a credential: a header `Authorization: Bearer <token>`, whose SHA-256 is that of a [`Token`]. A [role](Role) that may
//! do more may also do all that the ones before it may. A request with an `Authorization` is judged by it alone.
//!
//! While no token is configured, clients on the same machine are readers too, unless
//! [`trust_loopback`](MonitorBuilder::trust_loopback) is off. A request comes from the same machine if its [`Peer`] is a loopback
//! address, it has no `Forwarded`, `X-Forwarded-…`, `X-Real-IP` or `Via`, and its host is `localhost` or a loopback address. A request
//! without a peer counts as remote.
//!
//! A request that is refused gets 401 or 403 with a constant text, and counts in `campanile_auth_failures_total`, whose label `reason` is
//! `missing`, `malformed`, `unknown`, `forbidden` or `rate_limited`. Unknown tokens on public routes are
//! counted too, and get what a request without a token gets; without a configured token they are not looked at. After 30
//! unknown tokens in a minute from one address (for IPv6 from one /64 network), its tokens are not looked at until the minute
//! is over: public routes answer as without a token, and others with 429 and `Retry-After`. The addresses of 1,024 clients are kept. Clients behind one proxy share its address, and all
//! requests without a [`Peer`] count as one.
//!
//! # The tick
//!
//! [`Monitor::run`] evaluates the rules every 5 s, hands the wall clock, the gauges that objectives ask for and the health to the service levels,
//! and writes the counts of these to the store every
//! 10 s and at the end: a process that is killed loses at most that much of them. With the default store, memory, all of it ends with the
//! process; `/health/detailed` and `campanile_store_durable` say so.
//!
//! # Metrics
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `campanile_alerts` | gauge | `state`: `pending`, `firing` |
//! | `campanile_auth_failures_total` | counter | `reason` |
//! | `campanile_clock_steps_total` | counter of how often the wall clock was set, or the machine suspended | |
//! | `campanile_notices_total` | counter | `channel`, `outcome`: `sent`, `failed` (tried again), `refused`, `dropped` |
//! | `campanile_notices_oldest_seconds` | gauge: age of the oldest notice that waits, 0 for none | `channel` |
//! | `campanile_notices_waiting` | gauge | `channel` |
//! | `campanile_restore_skipped_total` | counter of stored alerts and notices that could not be used after the start | |
//! | `campanile_rule_failures_total` | counter | |
//! | `campanile_rule_overflow_series` | gauge of series that match rules beyond their limit of 1,000 alerts | |
//! | `campanile_slo_events_total` | counter of what objectives with a budget count | `slo`, `result`: `good`, `bad` |
//! | `campanile_stalls_total` | counter of how often the process stood still for more than 30 s | |
//! | `campanile_store_dropped_total` | counter of changes and decisions that were dropped | `writer`: `alerts`, `sla` |
//! | `campanile_store_durable` | gauge: 1, or 0 for memory | |
//! | `campanile_store_failures_total` | counter of writes that the store did not take at once | `writer`: `alerts`, `sla` |
//! | `campanile_store_up` | gauge: 0 while the store fails | |
//! | `campanile_ticks_total` | counter | |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod monitor;

mod bodies;
mod builder;
mod burn;
mod catch_panic;
#[cfg(test)]
mod gate;
mod guard;
mod guesses;
mod levels;
mod peer;
mod publish;
mod routes;
mod selector;
mod sources;
mod threshold;
mod token;

pub use campanile_metrics::Page as Body;

pub use self::builder::{BuildError, MonitorBuilder, Problem};
pub use self::burn::burn_rate_rules;
pub use self::guard::Access;
pub use self::levels::DecisionError;
pub use self::monitor::Monitor;
pub use self::peer::Peer;
pub use self::routes::Route;
pub use self::sources::Sources;
pub use self::threshold::Threshold;
pub use self::token::{GenerateError, Role, Token, TokenError};
