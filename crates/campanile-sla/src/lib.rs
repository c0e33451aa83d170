//! Service level objectives (SLOs) with error budgets and burn rate alerts, counted exactly in
//! fixed memory over windows of up to 92 days.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use campanile_sla::{ServiceLevels, Slo, SloStatus};
//!
//! let levels = ServiceLevels::builder()
//!     .slo(Slo::availability("availability", "99.9%"))
//!     .slo(Slo::mean_latency("latency", Duration::from_millis(200)))
//!     .build()?;
//!
//! // `levels.observer()` counts the requests of a layer. Here we count some directly.
//! for number in 0..1_000 {
//!     levels.record_at(number > 0, Duration::from_millis(20), Instant::now());
//! }
//!
//! let report = levels.report();
//! assert_eq!(report.slos[0].current, Some(99.9));
//! // One failure in 1,000 is the whole budget so far, but most of the 30 days are still to come.
//! assert_eq!(report.slos[0].status, SloStatus::Warning);
//! assert_eq!(report.slos[1].current, Some(20.0));
//! assert_eq!(levels.counts(Duration::from_secs(3_600)).bad(), 1);
//! assert!(levels.slo("availability")?.budget_remaining() < 0.1);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kinds of SLOs
//!
//! | SLO | value | unit | better | budget |
//! |---|---|---|---|---|
//! | [`availability`](Slo::availability) | share of good requests | % | higher | yes |
//! | [`latency`](Slo::latency) | share of requests within a limit | % | higher | yes |
//! | [`success_within`](Slo::success_within) | share of good and fast requests | % | higher | yes |
//! | [`uptime`](Slo::uptime) | share of time that is up | % | higher | yes |
//! | [`gauge`](Slo::gauge) | share of time slices within a bound | % | higher | yes |
//! | [`error_rate`](Slo::error_rate) | share of bad requests | % | lower | yes |
//! | [`mean_latency`](Slo::mean_latency) | mean latency | ms | lower | |
//! | [`latency_percentile`](Slo::latency_percentile) | percentile of the latency | ms | lower | |
//! | [`throughput`](Slo::throughput) | requests per second | req/s | higher | |
//!
//! Latencies are those of [`End::latency`](campanile_http::End::latency).
//!
//! # What counts
//!
//! The [`Source`] of an SLO provides its events: HTTP requests, the application, health checks or a
//! metric.
//!
//! A request is *valid*, unless it is a probe or a scrape ([by its user agent](Slo::filter)), or
//! its client cancelled it early. A request that is cancelled after 10 s or more
//! ([`abandoned_after`](Slo::abandoned_after)) was abandoned, and is *bad*. For a latency SLO, a
//! request that is cancelled after the limit is bad, and one that is cancelled before is not valid.
//! An SLO of [`success_within`](Slo::success_within) uses both rules. So a service that hangs still
//! has data.
//!
//! A valid request is *bad* if its status is 500 or above, if it panicked, or if its service or
//! body failed. A gRPC call is bad if its status is a
//! [server failure](campanile_http::GrpcStatus::is_server_failure). All other requests are good.
//!
//! [`route`](Slo::route), [`filter`](Slo::filter), [`valid_if`](Slo::valid_if) and
//! [`good_if`](Slo::good_if) change these rules per SLO.
//!
//! # Status
//!
//! The error budget is the share of bad events that the target allows. An SLO with a budget is:
//!
//! - *violated* once the budget is exhausted,
//! - *warning* while less than a quarter remains, or if the burn rate of the last hour is above 1,
//! - *compliant* otherwise.
//!
//! An SLO without a budget is compliant at its target or better, warning within 10 % of it, and
//! violated beyond. Without valid events the status is *no data*. The throughput is then 0, and has
//! no data only without coverage.
//!
//! # Young windows
//!
//! A window is young until its counts cover all of it: after a first start, after a restart without
//! a store, and in a calendar month until its end. Values are those that were counted, and never
//! extrapolated. The status is more careful:
//!
//! | SLO | *provisional* | *violated* |
//! |---|---|---|
//! | share | fewer than [needed](SloReport::samples_needed) samples and three bad events | see below |
//! | error rate | as above, with at least 20 samples needed | see below |
//! | mean latency, percentile | fewer than 20 samples | as in a full window |
//! | throughput | less than a minute, or than the window, is covered | as in a full window |
//!
//! A share or an error rate is violated if its bad events exceed the budget of the whole window at
//! the current traffic. Until then the status is *warning*.
//!
//! For an uptime, ten seconds correspond to one sample. While an SLO is provisional, its
//! [`SloHandle`] returns the whole budget, so an application does not shed load. A [`BurnAlert`]
//! requires that its long window is covered for the length of its short one.
//!
//! # Budgets and alerts
//!
//! [`ServiceLevels::slo`] returns a handle with the remaining budget, which takes no lock. A request
//! handler can use it to shed load. [`ServiceLevels::burn_alerts`] evaluates multi-window burn rate
//! alerts, as the SRE workbook defines them. [`ServiceLevels::lints`] reports alerts that can never
//! fire.
//!
//! To exclude past failures, use [`ServiceLevels::exclude_failures`]. To exclude a future period,
//! use [`ServiceLevels::schedule_maintenance`]. Both record an author and a reason.
//!
//! # Windows
//!
//! A [`Window`] is rolling, of up to 92 days, or is the current calendar month or quarter in a time
//! zone. Counts are stored in ring buffers of buckets:
//!
//! | window | bucket |
//! |---|---|
//! | up to 2 minutes | 1 s |
//! | up to 1 hour | 10 s |
//! | up to 24 hours | 5 min |
//! | up to 93 days | 1 h |
//!
//! Window starts are rounded down to a bucket boundary, so a window may include up to one
//! additional bucket. An SLO takes 96 KB, independent of the traffic, and a percentile an
//! additional 92 KB. SLOs that count the same events share this memory. A route that is
//! [tracked separately](Slo::per_route) takes 24 KB over 30 days.
//!
//! Each report has the number of events (`samples`), and the observed share of the window
//! (`coverage`). Time before the start of the process, and time in which it was suspended, paused
//! or blocked for more than 30 s, is neither up nor down.
//!
//! # Clocks
//!
//! Time follows the monotonic clock, and is compared with the wall clock:
//!
//! - If the wall clock is more than 2 s ahead, because it was set or the machine was suspended, the
//!   difference is not covered.
//! - If it is behind by at most 5 minutes, nothing changes.
//! - If it stays more than a week ahead, or 5 minutes behind, for one minute, it is treated as
//!   deliberately set. All counts, adjustments and incidents are then shifted with it, within the
//!   width of their buckets.
//!
//! A wall clock in the first 93 days of 1970 is treated as not set, and ignored.
//! [`ServiceLevels::clock_steps`] counts the steps of both kinds.
//!
//! # Restarts and replicas
//!
//! [`ServiceLevels::snapshot`] returns all counts, and [`ServiceLevels::restore`] restores them after a
//! restart. [`merge`] combines the snapshots of several replicas. [`ServiceLevels::monthly_report`]
//! returns the report of a past month.
//!
//! # Other tools
//!
//! [`ServiceLevels::export`] returns the SLOs as Prometheus rules with tests, as a Grafana dashboard, and
//! as OpenSLO definitions, which the module [`export`] also reads.
//!
//! # Cost
//!
//! Per indicator, a request takes a comparison and updates counters that only its thread writes.
//! Once per second one request moves the counts into the ring buffers. With more than 32 threads,
//! some share their counters.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `openslo` | no | `export::from_open_slo` |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod active_slo;
mod adjustment;
mod budget;
mod builder;
mod counts;
mod error;
pub mod export;
mod handle;
mod history;
mod incident;
mod indicator;
mod lint;
mod monthly_report;
mod observer;
mod ratio;
mod recorder;
mod report;
mod ring;
mod routes;
mod service_levels;
mod shards;
mod sketch;
mod slices;
mod slo;
mod snapshot;
mod source;
mod spec;
mod state;
mod status;
mod stream;
mod target;
mod time;
mod validate;
mod view;
mod window;
mod windows;

pub use self::adjustment::{Adjustment, MaintenanceWindow};
pub use self::budget::{Budget, BurnAlert, BurnRate, Urgency};
pub use self::builder::ServiceLevelsBuilder;
pub use self::counts::SliCounts;
pub use self::error::{
    AdjustError, BuildError, MonthlyReportError, Problem, RecorderError, RestoreError, UnknownSlo,
};
pub use self::handle::SloHandle;
pub use self::incident::Incident;
pub use self::lint::Lint;
pub use self::monthly_report::MonthlyReport;
pub use self::observer::{SliExchange, SliObserver};
pub use self::recorder::{EventRecorder, GaugeRecorder, UptimeRecorder};
pub use self::report::{Report, RouteReport, SloReport};
pub use self::service_levels::ServiceLevels;
pub use self::slo::{Bound, Slo};
pub use self::snapshot::{apply_changes, merge};
pub use self::source::Source;
pub use self::status::SloStatus;
pub use self::window::Window;
