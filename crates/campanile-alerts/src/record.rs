//! What is kept in the store, as JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::{LabelError, Labels};
use serde::{Deserialize, Serialize};

use crate::step::{AlertState, Change, Phase};
use crate::{Event, Notice, time};

/// Alerts: rule and fingerprint.
pub(crate) const ALERTS: &str = "alerts";
/// Notices that wait: channel and number.
pub(crate) const OUTBOX: &str = "outbox";
/// What is needed to start again.
pub(crate) const META: &str = "alerts_meta";
/// In `META`: when a pending alert was last looked at, in milliseconds since 1970.
pub(crate) const LAST_TICK: &str = "last_tick";

type LabelMap = BTreeMap<String, String>;

fn label_map(labels: &Labels) -> LabelMap {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// JSON has no NaN and no infinities, so numbers are kept by their bits.
fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn from_bits(text: &str) -> f64 {
    u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
}

/// An alert, at the last change of its state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertRecord {
    pub(crate) rule: String,
    labels: LabelMap,
    active_at: u64,
    /// Since when it fires; a pending one doesn't.
    firing_since: Option<u64>,
    value: String,
}

impl AlertRecord {
    pub(crate) fn new(rule: &str, labels: &Labels, alert: &AlertState) -> Self {
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

    pub(crate) fn labels(&self) -> Result<Labels, LabelError> {
        Labels::new(self.labels.iter())
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

/// A notice that waits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoticeRecord {
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

impl NoticeRecord {
    pub(crate) fn new(notice: &Notice) -> Self {
        Self {
            event: notice.event.as_str().to_owned(),
            rule: notice.rule.clone(),
            severity: notice.severity.to_string(),
            labels: label_map(&notice.labels),
            annotations: notice.annotations.clone(),
            active_at: Some(time::to_millis(notice.active_at)),
            starts_at: time::to_millis(notice.starts_at),
            ends_at: notice.ends_at.map(time::to_millis),
            value: bits(notice.value),
        }
    }

    /// Returns the notice, if this is one.
    pub(crate) fn notice(self) -> Option<Notice> {
        Some(Notice {
            event: match self.event.as_str() {
                "firing" => Event::Firing,
                "resolved" => Event::Resolved,
                _ => return None,
            },
            severity: self.severity.parse().ok()?,
            labels: Labels::new(self.labels).ok()?,
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
    /// `pending`, `firing`, `resolved`, `dropped`; `sent`, `refused`.
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
    pub(crate) fn change(at: SystemTime, rule: &'a str, labels: &Labels, change: Change) -> Self {
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

    /// Of a notice that was sent, or refused for a reason.
    pub(crate) fn delivery(
        at: SystemTime,
        channel: &'a str,
        notice: &'a Notice,
        refused: Option<&'a str>,
    ) -> Self {
        Self {
            at: time::to_text(at),
            event: if refused.is_some() { "refused" } else { "sent" },
            rule: &notice.rule,
            labels: label_map(&notice.labels),
            fingerprint: notice.labels.fingerprint().to_string(),
            starts_at: Some(time::to_text(notice.starts_at)),
            channel: Some(channel),
            key: Some(notice.key()),
            reason: refused,
        }
    }
}

/// Returns a record as JSON.
pub(crate) fn json(record: &impl Serialize) -> Vec<u8> {
    // Texts and whole numbers can always be written.
    serde_json::to_vec(record).unwrap_or_default()
}
