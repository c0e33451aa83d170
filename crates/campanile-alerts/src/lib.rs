//! Alert rules with Prometheus' states, and durable notifications to channels.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use campanile_alerts::{Alerts, LogChannel, Rule, Severity};
//! use campanile_series::Now;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = Arc::new(AtomicU64::new(20_000));
//! let backlog = {
//!     let queue = Arc::clone(&queue);
//!     move |_: Now| Some(queue.load(Ordering::Relaxed) as f64).filter(|jobs| *jobs > 10_000.0)
//! };
//! let rule = Rule::when("QueueBacklog", backlog)
//!     .pending_for(Duration::from_secs(300))
//!     .severity(Severity::High);
//! let alerts = Alerts::builder().rule(rule).channel(LogChannel::new("log")).build()?;
//! // `tokio::spawn(alerts.run(shutdown))` sends notifications; a loop calls `tick` every few seconds.
//!
//! let start = Now { wall: SystemTime::now(), mono: Instant::now() };
//! alerts.tick(start).await;
//! assert_eq!(alerts.active()[0].starts_at, None); // pending
//! alerts.tick(start + Duration::from_secs(300)).await;
//! assert!(alerts.active()[0].starts_at.is_some()); // firing
//! queue.store(0, Ordering::Relaxed);
//! alerts.tick(start + Duration::from_secs(305)).await;
//! assert!(alerts.active().is_empty()); // resolved
//! # Ok(())
//! # }
//! ```
//!
//! # States
//!
//! An evaluation of a [`Rule`] returns samples. Each sample is an active alert, identified by its labels.
//!
//! | state | meaning |
//! |---|---|
//! | pending | the alert is active, for less than [`pending_for`](Rule::pending_for) |
//! | firing | every evaluation returned the alert for at least `pending_for` |
//! | inactive | the last evaluation did not return the alert |
//!
//! When an evaluation no longer returns an alert, a firing alert resolves, and a pending alert is dropped without a
//! notification. If an evaluation fails, the rule's alerts stay, and [`Alerts::rules`] reports the error.
//!
//! Alerts survive a restart if the store is durable. A restored firing alert sends no second notification. It resolves
//! only after the rule has been evaluated for its [look-back](Rule::look_back). A pending alert keeps its pending time,
//! unless the process was down for more than one hour.
//!
//! A rule has at most 1,000 alerts. If more series match, active alerts stay, and then the samples with the highest
//! [rank](PreparedExpr::rank) become alerts. All others share one alert with the rule's labels and `overflow="true"`,
//! whose value is their number.
//!
//! # Notifications
//!
//! Each firing and each resolved alert is sent to each [`Channel`], in order. A state change and its notifications are
//! committed to the [`Store`](campanile_store::Store) in one batch. A notification is deleted only after its channel
//! accepted it, so with a durable store no crash loses one. A crash between the delivery and its commit sends the
//! notification again, with the same [key](Notification::key).
//!
//! Failed attempts are retried after 1 s, and then after pauses that double up to 60 s, without a limit of attempts.
//! A notification that the receiver rejects is counted, logged and recorded in the journal, and not retried. A channel
//! that is added while an alert is firing gets only the resolved notification.
//!
//! # Journal
//!
//! The store's journal has an entry for each state change and each delivery. An entry is JSON with `at`, `event`, `rule`,
//! `labels` and `fingerprint`, and with `starts_at`, `channel`, `key` and `reason` where they apply. The events are
//! `pending`, `firing`, `resolved`, `dropped`, `sent` and `rejected`.
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | rules, channels | 1,000, 100 | [`BuildError`] |
//! | alerts of a rule | 1,000 | one more alert with the label `overflow="true"` |
//! | time of an evaluation | 10 s | the evaluation fails |
//! | time of an attempt to send | 30 s | another attempt |
//! | queued notifications of a channel | 10,000 | new ones are dropped and [counted](ChannelStats::dropped) |
//! | changes that are kept while the store fails | 50,000 | the oldest are dropped and [counted](Stats::store_dropped) |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alerts;
mod builder;
mod channel;
mod delivery;
mod error;
mod evaluate;
mod notification;
mod record;
mod report;
mod rule;
mod severity;
mod step;
mod store_writer;
mod time;
mod webhook;

pub use campanile_store::BoxFuture;

pub use self::alerts::Alerts;
pub use self::builder::AlertsBuilder;
pub use self::channel::{Channel, ChannelError, LogChannel, SettingsError};
pub use self::delivery::ChannelStats;
pub use self::error::{BuildError, Problem};
pub use self::evaluate::{EvalError, Evaluation, ExprEngine, ExprError, IntoSamples, PreparedExpr};
pub use self::notification::{AlertEvent, Notification};
pub use self::report::{Alert, RuleReport, Stats};
pub use self::rule::Rule;
pub use self::severity::{Severity, SeverityError};
pub use self::webhook::Webhook;
