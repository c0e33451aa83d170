//! Service levels of HTTP exchanges: availability, response time, error rate and throughput, counted per request in fixed
//! memory.
//!
//! ```
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use campanile_sla::{Sla, Slo, Standing};
//! use campanile_series::Now;
//!
//! let day = Duration::from_secs(24 * 60 * 60);
//! let start = Now { wall: SystemTime::now(), mono: Instant::now() };
//! let sla = Sla::builder()
//!     .objective(Slo::availability("availability", "99.9%").over(30 * day))
//!     .objective(Slo::response_time("response_time", Duration::from_millis(200)).over(day))
//!     .build(start)?;
//!
//! // `sla.observer()` does this for each exchange that a layer sees.
//! for _ in 0..999 {
//!     sla.record(true, Duration::from_millis(20), start.mono);
//! }
//! sla.record(false, Duration::from_millis(20), start.mono);
//!
//! let now = start + Duration::from_secs(60);
//! let report = sla.report(now);
//! assert_eq!(report.objectives[0].current, Some(99.9));
//! // One failure in a thousand is all that the objective allows: its budget is used up.
//! assert_eq!(report.objectives[0].standing, Standing::Violated);
//! assert_eq!(report.objectives[1].current, Some(20.0));
//! assert_eq!(sla.read(Duration::from_secs(3_600), now).bad(), 1);
//! # Ok::<_, campanile_sla::BuildError>(())
//! ```
//!
//! # What counts
//!
//! An exchange is *valid* unless it was cancelled: a client that leaves says nothing of the service. A valid exchange is *bad* if
//! its status is 500 or above, if it panicked, or if its service or its body failed; of gRPC calls those are bad whose status
//! is a [failure of the server](campanile_http::GrpcStatus::is_server_failure). All others are good.
//!
//! | objective | figure | unit | better |
//! |---|---|---|---|
//! | [`availability`](Slo::availability) | good exchanges among the valid ones | % | higher |
//! | [`response_time`](Slo::response_time) | mean [latency](campanile_http::End::latency) of the valid ones | ms | lower |
//! | [`error_rate`](Slo::error_rate) | bad exchanges among the valid ones | % | lower |
//! | [`throughput`](Slo::throughput) | valid exchanges in each second that was covered | req/s | higher |
//!
//! # How an objective stands
//!
//! Availability is judged by its error budget, which is the share of failures that the target allows: *violated* once it is used
//! up, *warning* while less than a quarter is left or the last hour used it faster than the window gives it (burn rate above 1),
//! *compliant* otherwise. The others are compliant at their target or better, in warning within 10 % of it, violated beyond. Without
//! a valid exchange there is *no data*, which is neither.
//!
//! # Budgets
//!
//! The failures that an availability or an error rate allows are its [`Budget`]: how much is used, how fast in several windows, and when it is used up.
//! [`Sla::slo`] tells it to each request that asks, without a lock, so that a service can shed load or hold a rollout.
//! [`Sla::burn_alerts`] rings over two windows at a time, as the SRE workbook has it, and not for a handful of requests.
//!
//! # Windows
//!
//! Counts are kept in rings of buckets: 1 s for windows up to 2 minutes, 10 s up to 1 hour, 5 minutes up to 24 hours, 1 hour
//! up to 30 days. A window begins with the bucket that its start falls into, and so reaches back by up to one bucket more. All
//! rings together take 60 KB, whatever the traffic.
//!
//! Every figure says how many exchanges it is made of (`samples`), and which part of its window was watched (`coverage`): the time
//! before the process began, or when it was suspended, is neither up nor down. Time goes by the monotonic clock. When the wall
//! clock is found ahead of it, by a suspend or because it was set, a gap without coverage is left; when it is found behind, time
//! goes on as it did.
//!
//! [`Sla::snapshot`] gives the counts out and [`Sla::restore`] takes them back, so that they can survive a restart.
//!
//! # Cost
//!
//! An exchange takes a comparison and two atomic adds, without a lock; once a second one exchange moves the counts into the rings.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod sla;

mod budget;
mod builder;
mod objective;
mod observer;
mod report;
mod ring;
mod snapshot;
mod state;
mod windows;

pub use self::budget::{Budget, BurnAlert, BurnRate, Urgency};
pub use self::builder::{BuildError, Problem, SlaBuilder};
pub use self::objective::Slo;
pub use self::observer::SliObserver;
pub use self::report::{ObjectiveReport, Report, Standing};
pub use self::ring::Reading;
pub use self::sla::Sla;
pub use self::snapshot::RestoreError;
pub use self::state::{SloHandle, SloState, UnknownObjective};
