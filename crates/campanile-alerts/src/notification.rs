use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::LabelSet;

use crate::severity::Severity;

/// A notification of an alert that started firing or was resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notification {
    /// The event: firing or resolved.
    pub event: AlertEvent,
    /// The rule's name.
    pub rule: String,
    /// The rule's severity.
    pub severity: Severity,
    /// The alert's labels.
    pub labels: LabelSet,
    /// The rule's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The time since which the alert is active: pending or firing.
    pub active_at: SystemTime,
    /// The time since which the alert is firing.
    pub starts_at: SystemTime,
    /// The time at which the alert was resolved; `None` while it is firing.
    pub ends_at: Option<SystemTime>,
    /// The alert's last value.
    pub value: f64,
}

/// An event of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertEvent {
    /// The alert started firing.
    Firing,
    /// The alert was resolved.
    Resolved,
}

impl AlertEvent {
    /// Returns the event's name: `firing` or `resolved`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Notification {
    /// Returns the notification's unique key: the [alert's id](crate::Alert::id) and the event. It is the same in
    /// each attempt.
    pub fn key(&self) -> String {
        let id = id(&self.labels, self.active_at);
        format!("{id}-{}", self.event.as_str())
    }
}

/// Returns an alert's id, which stays the same until the alert ends.
pub(crate) fn id(labels: &LabelSet, active_at: SystemTime) -> String {
    let fingerprint = labels.fingerprint();
    let active_at = crate::time::to_millis(active_at);
    format!("{fingerprint}-{active_at}")
}
