//! Service levels of HTTP exchanges, of jobs, and of time: counted one by one, in fixed memory, over 90 days.
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
//! // One failure in a thousand is all that the objective allows, but most of its 30 days are still to come.
//! assert_eq!(report.objectives[0].standing, Standing::Warning);
//! assert_eq!(report.objectives[1].current, Some(20.0));
//! assert_eq!(sla.read(Duration::from_secs(3_600), now).bad(), 1);
//! # Ok::<_, campanile_sla::BuildError>(())
//! ```
//!
//! # What counts
//!
//! An exchange is *valid* unless it is a probe or a scrape ([by its user agent](Slo::requests)), or its client left early. A request that is cancelled after 10 s
//! ([`abandoned_after`](Slo::abandoned_after)) was abandoned, and is *bad*. For a latency, a request is bad if it was cancelled after its
//! bound had passed, and not valid if it was cancelled before; a combined objective has both rules. So a service that hangs has data.
//!
//! A valid exchange is *bad* if its status is 500 or above, if it panicked, or if its service or its body failed; of gRPC
//! calls those are bad whose status is a [failure of the server](campanile_http::GrpcStatus::is_server_failure). All others are good. An
//! objective may have [other requests](Slo::requests), [routes](Slo::route), and another idea of what is [valid](Slo::valid) and
//! [good](Slo::good); or count [what it is told](Slo::tracked).
//!
//! | objective | figure | unit | better | budget |
//! |---|---|---|---|---|
//! | [`availability`](Slo::availability) | good ones among the valid ones | % | higher | yes |
//! | [`latency`](Slo::latency) | those that took no longer than a bound | % | higher | yes |
//! | [`combined`](Slo::combined) | those that are good and took no longer | % | higher | yes |
//! | [`uptime`](Slo::uptime) | the time in which something was up, of that in which it is known | % | higher | yes |
//! | [`gauge`](Slo::gauge) | slices of the time in which a gauge was within a bound on average | % | higher | yes |
//! | [`error_rate`](Slo::error_rate) | bad ones among the valid ones | % | lower | yes |
//! | [`response_time`](Slo::response_time) | mean [latency](campanile_http::End::latency) of the valid ones | ms | lower | |
//! | [`percentile`](Slo::percentile) | a percentile of these latencies, to a hundredth | ms | lower | |
//! | [`throughput`](Slo::throughput) | valid ones in each second that was covered | req/s | higher | |
//!
//! # How an objective stands
//!
//! A share of what is good is judged by its error budget, which is the share of failures that the target allows: *violated* once it is used
//! up, *warning* while less than a quarter is left or the last hour used it faster than the window gives it (burn rate above 1),
//! *compliant* otherwise. The others are compliant at their target or better, in warning within 10 % of it, violated beyond. Without
//! anything valid there is *no data*, which is neither; a throughput of nothing is 0, and has no data without coverage only.
//!
//! # Young windows
//!
//! A window is young until there are counts for all of it: after a first start, after a restart without a store, and in a calendar's month until it
//! ends. Its figures are those that were counted, and never extrapolated. Its verdict is more careful:
//!
//! | objective | *provisional* | *violated* |
//! |---|---|---|
//! | share | fewer samples than one failure takes to stay within the target, and fewer than three failures | the failures exceed what the whole window allows at the traffic so far; until then *warning* |
//! | error rate | the same, and at least 20 samples | the same |
//! | response time, percentile | fewer than 20 samples, also when the window is full | as ever |
//! | throughput | less than a minute, or than the window, is covered | as ever |
//!
//! For an uptime ten seconds count as one sample here. While an objective is provisional, [`SloState`] is that of no data, so that a gate stays open. A
//! [`BurnAlert`] waits until its long window is covered for as long as its short one.
//!
//! # Budgets
//!
//! The failures that an objective allows are its [`Budget`]: how much is used, how fast in several windows, and when it is used up.
//! [`Sla::slo`] tells it to each request that asks, without a lock, so that a service can shed load or hold a rollout.
//! [`Sla::burn_alerts`] rings over two windows at a time, as the SRE workbook has it, and not for fewer than three failures.
//! [`Sla::lints`] says which of them never can.
//!
//! What should not count is [forgiven](Sla::adjust) afterwards or [announced](Sla::maintain) before, by somebody and for a reason.
//!
//! # Windows
//!
//! A [`Window`] rolls on, up to 92 days, or is the calendar's month or quarter in a time zone. Counts are kept in rings of buckets: 1 s for
//! windows up to 2 minutes, 10 s up to 1 hour, 5 minutes up to 24 hours, 1 hour up to 93 days. A window begins with the bucket that its start
//! falls into, and so reaches back by up to one bucket more. Whatever the traffic, each thing that is counted takes 96 KB, and percentiles
//! another 92 KB; objectives that count the same share it. A route that is [told apart](Slo::per_route) takes 24 KB over 30 days.
//!
//! Every figure says how many things it is made of (`samples`), and which part of its window was watched (`coverage`): the time
//! before the process began, or when it was suspended, paused or blocked for more than 30 s, is neither up nor down.
//!
//! Time follows the monotonic clock and is compared with the wall clock:
//!
//! - If the wall clock is more than 2 s ahead, by a suspend or because it was set, the difference is a gap without coverage.
//! - If it is behind by at most 5 minutes, nothing changes.
//! - If it stays more than 5 minutes behind or a week ahead for one minute, it was set. All counts, adjustments and incidents move with it
//!   and keep their ages, within the width of their buckets.
//!
//! A wall clock in the first 93 days of 1970 is not set yet, and ignored.
//!
//! [`Sla::clock_steps`] counts both kinds of steps.
//!
//! [`Sla::snapshot`] gives all of it out and [`Sla::restore`] takes it back, so that it can survive a restart; [`merge`] makes one of those of
//! several replicas. [`Sla::statement`] tells of a month that is over.
//!
//! # Other engines
//!
//! [`Sla::export`] writes the same objectives for others: [rules for Prometheus](Export::prometheus_rules) with the names of Sloth's,
//! which are [proven](Export::prometheus_tests) and give the same alerts; a [resource](Export::prometheus_rule_resource) of its operator; a
//! [dashboard](Export::grafana_dashboard) for Grafana; and [OpenSLO](Export::open_slo), which `from_open_slo` reads.
//!
//! # Cost
//!
//! For each thing that is counted an exchange takes a comparison and adds to counters that its thread alone writes to; once a second one exchange
//! moves the counts of all into the rings. Of more than 32 threads some share their counters.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `openslo` | no | `from_open_slo` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod sla;

mod adjustment;
mod budget;
mod builder;
mod check;
mod export;
mod incident;
mod judge;
mod lint;
mod objective;
mod observer;
mod report;
mod ring;
mod shards;
mod share;
mod sketch;
mod slices;
mod slo;
mod snapshot;
mod source;
mod state;
mod stream;
mod tracker;
mod window;
mod windows;

pub use self::adjustment::{AdjustError, Adjustment, Maintenance};
pub use self::budget::{Budget, BurnAlert, BurnRate, Urgency};
pub use self::builder::{BuildError, Problem, SlaBuilder};
pub use self::export::{Export, ExportError};
#[cfg(feature = "openslo")]
#[cfg_attr(docsrs, doc(cfg(feature = "openslo")))]
pub use self::export::{OpenSloError, from_open_slo};
pub use self::incident::Incident;
pub use self::lint::Lint;
pub use self::observer::{SliExchange, SliObserver};
pub use self::report::{ObjectiveReport, Report, RouteReport, Standing};
pub use self::ring::Reading;
pub use self::sla::{Sla, Statement, StatementError};
pub use self::slo::{Bound, Slo};
pub use self::snapshot::{RestoreError, apply_changes, merge};
pub use self::state::{SloHandle, SloState, UnknownObjective};
pub use self::tracker::{Slices, TrackError, Tracker, Uptime};
pub use self::window::Window;
