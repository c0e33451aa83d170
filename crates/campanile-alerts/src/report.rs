use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::Labels;

use crate::{ChannelStats, Severity};

/// An alert that is pending or firing; from [`Alerts::active`](crate::Alerts::active).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The severity.
    pub severity: Severity,
    /// The labels, which are the alert's identity.
    pub labels: Labels,
    /// The rule's texts.
    pub annotations: BTreeMap<String, String>,
    /// Since when it has been wrong.
    pub active_at: SystemTime,
    /// Since when it has been firing; `None` while it is pending.
    pub starts_at: Option<SystemTime>,
    /// The value that it last rang with.
    pub value: f64,
    /// Whether it is from before a restart, and the data don't reach back far enough yet to say that it is over.
    pub is_warming: bool,
}

impl Alert {
    /// Returns the alert's id from its first match to its end: the labels' fingerprint and `active_at` in milliseconds since 1970. The key
    /// of each [notice](crate::Notice::key) of the alert begins with it.
    pub fn id(&self) -> String {
        crate::notice::id(&self.labels, self.active_at)
    }
}

/// How a rule is; from [`Alerts::rules`](crate::Alerts::rules).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleReport {
    /// The name.
    pub name: String,
    /// When it was evaluated last.
    pub evaluated_at: Option<SystemTime>,
    /// Why it could not be evaluated, if it couldn't: its alerts stay as they were.
    pub error: Option<String>,
}

/// What has happened since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Alerts that fire.
    pub firing: usize,
    /// Alerts that are pending.
    pub pending: usize,
    /// Series that match a rule without an alert of their own, because the rule has 1,000 alerts: an alert with the label
    /// `overflow="true"` stands for them.
    pub overflow: usize,
    /// Evaluations that failed.
    pub evaluation_failures: u64,
    /// Writes that the store did not take; what was to be written is kept and tried again.
    pub store_failures: u64,
    /// Changes that were given up, because the store failed for too long.
    pub store_dropped: u64,
    /// Stored alerts and notices that could not be read at the start, and notices of channels that are gone.
    pub restore_skipped: u64,
    /// The channels, in the order in which they were added.
    pub channels: Vec<ChannelStats>,
}
