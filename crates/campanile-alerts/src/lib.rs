//! Alert rules with Prometheus' states, and notices that reach their channels through crashes and outages.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use campanile_alerts::{Alerts, Log, Rule, Severity};
//! use campanile_series::Now;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = Arc::new(AtomicU64::new(20_000));
//! let backlog = {
//!     let queue = Arc::clone(&queue);
//!     move |_: Now| Some(queue.load(Ordering::Relaxed) as f64).filter(|jobs| *jobs > 10_000.0)
//! };
//! let alerts = Alerts::builder()
//!     .rule(Rule::when("QueueBacklog", backlog).hold(Duration::from_secs(300)).severity(Severity::High))
//!     .channel(Log::new("log"))
//!     .build()?;
//! // alerts.run(shutdown) sends the notices, beside something that calls tick every few seconds.
//!
//! let start = Now { wall: SystemTime::now(), mono: Instant::now() };
//! alerts.tick(start).await;
//! assert_eq!(alerts.active()[0].starts_at, None); // pending
//! alerts.tick(start + Duration::from_secs(300)).await;
//! assert_eq!(alerts.active()[0].starts_at, Some(start.wall + Duration::from_secs(300))); // firing
//! queue.store(0, Ordering::Relaxed);
//! alerts.tick(start + Duration::from_secs(305)).await;
//! assert!(alerts.active().is_empty()); // resolved
//! # Ok(())
//! # }
//! ```
//!
//! # States
//!
//! A rule finds a set of things that are wrong, each with labels; each is an alert of its own. One that is found is *pending*, and
//! *fires* once it has been found at every tick for as long as the rule [holds](Rule::hold). One that is not found any more is
//! inactive at once: if it was firing it is *resolved*, if it was pending nothing is said. A rule that can't be evaluated leaves its
//! alerts as they are and is itself [reported](Alerts::rules).
//!
//! An alert is the same from the first tick that finds it to the last one, across restarts: a restart neither fires an alert again
//! that was firing, nor resolves it before the rule has been evaluated for its [look-back](Rule::look_back), 1 minute for a closure.
//! The time for which a pending alert must hold goes on after a restart where it stood; after an hour it begins anew.
//!
//! If more than 1,000 series match a rule, active alerts stay. The next ones are of the worst values: the largest, or for `<` and `<=` the
//! smallest ([`Prepared::rank`]). All others share one alert with the rule's labels and `overflow="true"`, whose value is their number.
//!
//! # Notices
//!
//! Each firing and each resolving is sent to each [channel](Notify) in this order, except to a channel with 10,000 waiting notices. A channel that
//! is added while an alert fires gets the end only. A change and the notices that it owes are
//! one write to the [`Store`](campanile_store::Store), and a notice is forgotten only after it has arrived; with a durable store a crash
//! at any moment loses none. A crash between a notice's arrival and the writing down of it sends the notice a second time, with the
//! same [key](Notice::key). Failed attempts are repeated after 1 s and then at intervals that double up to 60 s, for as long as it takes;
//! what the other side refuses for good is counted, logged and entered into the journal, and not sent again.
//!
//! Every change and every delivery is an entry of the store's journal: JSON with `at`, `event` (`pending`, `firing`, `resolved`,
//! `dropped`, `sent`, `refused`), `rule`, `labels`, `fingerprint`, and where there is one `starts_at`, `channel`, `key` and `reason`.
//!
//! # Bounds
//!
//! | what | limit | past it |
//! |---|---|---|
//! | rules, channels | 1,000, 100 | [`BuildError`] |
//! | alerts of a rule | 1,000 | one more alert, with the label `overflow="true"`, says how many more series match |
//! | time of an evaluation | 10 s | the same |
//! | time of sending | 30 s | another attempt |
//! | notices that wait for a channel | 10,000, and those of one tick | dropped and [counted](ChannelStats::dropped) |
//! | changes that wait for a store that fails | 50,000 | the oldest are dropped and [counted](Stats::store_dropped) |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alerts;

mod builder;
mod channel;
mod evaluate;
mod lane;
mod ledger;
mod notice;
mod record;
mod report;
mod rule;
mod severity;
mod step;
mod time;
mod webhook;

pub use campanile_store::BoxFuture;

pub use self::alerts::Alerts;
pub use self::builder::{AlertsBuilder, BuildError, Problem};
pub use self::channel::{Log, Notify, NotifyError, SettingsError};
pub use self::evaluate::{Answer, EvalError, Evaluate, ExprError, IntoSamples, Prepared};
pub use self::lane::ChannelStats;
pub use self::notice::{Event, Notice};
pub use self::report::{Alert, RuleReport, Stats};
pub use self::rule::Rule;
pub use self::severity::{Severity, SeverityError};
pub use self::webhook::Webhook;
