use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::LabelSet;

use crate::delivery::ChannelStats;
use crate::severity::Severity;

/// A pending or firing alert; see [`Alerts::active`](crate::Alerts::active).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The rule's severity.
    pub severity: Severity,
    /// The alert's labels, which identify it.
    pub labels: LabelSet,
    /// The rule's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The time since which the alert is active: pending or firing.
    pub active_at: SystemTime,
    /// The time since which the alert is firing; `None` while it is pending.
    pub starts_at: Option<SystemTime>,
    /// The alert's last value.
    pub value: f64,
    /// Whether the alert was restored and cannot resolve yet, because the rule has not seen a full look-back since the
    /// restart.
    pub awaiting_history: bool,
}

impl Alert {
    /// Returns the alert's id: the labels' fingerprint and `active_at` in milliseconds since 1970. It stays the same
    /// until the alert ends. The [key](crate::Notification::key) of each notification starts with it.
    pub fn id(&self) -> String {
        crate::notification::id(&self.labels, self.active_at)
    }
}

/// The state of a rule; see [`Alerts::rules`](crate::Alerts::rules).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleReport {
    /// The rule's name.
    pub name: String,
    /// The time of the last evaluation.
    pub evaluated_at: Option<SystemTime>,
    /// The error of the last evaluation, if it failed. The rule's alerts stay as they were.
    pub error: Option<String>,
}

/// Counts since the process started; see [`Alerts::stats`](crate::Alerts::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of firing alerts.
    pub firing: usize,
    /// The number of pending alerts.
    pub pending: usize,
    /// The number of series that match a rule beyond its limit of 1,000 alerts. They share one alert with the label
    /// `overflow="true"`.
    pub overflow: usize,
    /// Failed evaluations.
    pub evaluation_failures: u64,
    /// Failed commits. Their batches are kept and retried.
    pub store_failures: u64,
    /// Dropped changes, because the store failed for too long.
    pub store_dropped: u64,
    /// Stored alerts and notifications that were invalid at the start, and notifications of unknown channels.
    pub restore_skipped: u64,
    /// The counts of each channel, in the order in which the channels were added.
    pub channels: Vec<ChannelStats>,
}
