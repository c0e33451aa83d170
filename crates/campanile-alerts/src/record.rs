//! The JSON records in the store.

use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::{LabelError, LabelSet};
use serde::{Deserialize, Serialize};

use crate::notification::{AlertEvent, Notification};
use crate::step::{AlertState, Change, Phase};
use crate::time;

/// The table of alerts. A key is the rule and the fingerprint.
pub(crate) const ALERTS: &str = "alerts";
/// The table of queued notifications. A key is the channel and a number.
pub(crate) const OUTBOX: &str = "outbox";
/// The table of the state that a restart needs.
pub(crate) const META: &str = "alerts_meta";
/// The key in `META` of the last evaluation of a pending alert, in milliseconds since 1970.
pub(crate) const LAST_TICK: &str = "last_tick";

type LabelMap = BTreeMap<String, String>;

fn label_map(labels: &LabelSet) -> LabelMap {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// JSON has no NaN and no infinity, so numbers are stored as bits.
fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn from_bits(text: &str) -> f64 {
    u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
}

/// An alert at its last state change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertRecord {
    pub(crate) rule: String,
    labels: LabelMap,
    active_at: u64,
    /// The time since which the alert is firing; `None` for a pending alert.
    firing_since: Option<u64>,
    value: String,
}

impl AlertRecord {
    pub(crate) fn new(rule: &str, labels: &LabelSet, alert: &AlertState) -> Self {
        Self {
            rule: rule.to_owned(),
            labels: label_map(labels),
            active_at: time::to_millis(alert.active_at),
            firing_since: match alert.phase {
                Phase::Pending => None,
                Phase::Firing { since } => Some(time::to_millis(since)),
            },
            value: bits(alert.value),
        }
    }

    pub(crate) fn labels(&self) -> Result<LabelSet, LabelError> {
        LabelSet::new(self.labels.iter())
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.firing_since {
            None => Phase::Pending,
            Some(since) => Phase::Firing {
                since: time::from_millis(since),
            },
        }
    }

    pub(crate) fn active_at(&self) -> SystemTime {
        time::from_millis(self.active_at)
    }

    pub(crate) fn value(&self) -> f64 {
        from_bits(&self.value)
    }
}

/// A queued notification.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotificationRecord {
    event: String,
    rule: String,
    severity: String,
    labels: LabelMap,
    annotations: BTreeMap<String, String>,
    /// Records of earlier versions lack it.
    active_at: Option<u64>,
    starts_at: u64,
    ends_at: Option<u64>,
    value: String,
}

impl NotificationRecord {
    pub(crate) fn new(notification: &Notification) -> Self {
        Self {
            event: notification.event.as_str().to_owned(),
            rule: notification.rule.clone(),
            severity: notification.severity.to_string(),
            labels: label_map(&notification.labels),
            annotations: notification.annotations.clone(),
            active_at: Some(time::to_millis(notification.active_at)),
            starts_at: time::to_millis(notification.starts_at),
            ends_at: notification.ends_at.map(time::to_millis),
            value: bits(notification.value),
        }
    }

    /// Returns the notification, or `None` if the record is invalid.
    pub(crate) fn notification(self) -> Option<Notification> {
        Some(Notification {
            event: match self.event.as_str() {
                "firing" => AlertEvent::Firing,
                "resolved" => AlertEvent::Resolved,
                _ => return None,
            },
            severity: self.severity.parse().ok()?,
            labels: LabelSet::new(self.labels).ok()?,
            rule: self.rule,
            annotations: self.annotations,
            active_at: time::from_millis(self.active_at.unwrap_or(self.starts_at)),
            starts_at: time::from_millis(self.starts_at),
            ends_at: self.ends_at.map(time::from_millis),
            value: from_bits(&self.value),
        })
    }
}

/// An entry of the journal.
#[derive(Debug, Serialize)]
pub(crate) struct JournalRecord<'a> {
    at: String,
    /// `pending`, `firing`, `resolved`, `dropped`; `sent`, `rejected`.
    event: &'static str,
    rule: &'a str,
    labels: LabelMap,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> JournalRecord<'a> {
    pub(crate) fn change(at: SystemTime, rule: &'a str, labels: &LabelSet, change: Change) -> Self {
        let (event, since) = match change {
            Change::Pending => ("pending", None),
            Change::Firing { since } => ("firing", Some(since)),
            Change::Resolved { since } => ("resolved", Some(since)),
            Change::Dropped => ("dropped", None),
        };
        Self {
            at: time::to_text(at),
            event,
            rule,
            labels: label_map(labels),
            fingerprint: labels.fingerprint().to_string(),
            starts_at: since.map(time::to_text),
            channel: None,
            key: None,
            reason: None,
        }
    }

    /// Creates the entry of a notification that was sent, or rejected for a reason.
    pub(crate) fn delivery(
        at: SystemTime,
        channel: &'a str,
        notification: &'a Notification,
        rejected: Option<&'a str>,
    ) -> Self {
        Self {
            at: time::to_text(at),
            event: if rejected.is_some() {
                "rejected"
            } else {
                "sent"
            },
            rule: &notification.rule,
            labels: label_map(&notification.labels),
            fingerprint: notification.labels.fingerprint().to_string(),
            starts_at: Some(time::to_text(notification.starts_at)),
            channel: Some(channel),
            key: Some(notification.key()),
            reason: rejected,
        }
    }
}

/// Returns a record as JSON.
pub(crate) fn json(record: &impl Serialize) -> Vec<u8> {
    // Strings and integers always serialize.
    serde_json::to_vec(record).unwrap_or_default()
}
