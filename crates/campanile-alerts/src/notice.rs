use std::collections::BTreeMap;
use std::time::SystemTime;

use campanile_series::Labels;

use crate::Severity;

/// What a channel is to tell: that an alert fires, or no longer does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notice {
    /// What has happened.
    pub event: Event,
    /// The rule's name.
    pub rule: String,
    /// The severity.
    pub severity: Severity,
    /// The alert's labels.
    pub labels: Labels,
    /// The rule's texts.
    pub annotations: BTreeMap<String, String>,
    /// Since when the alert has been pending or firing.
    pub active_at: SystemTime,
    /// Since when the alert has been firing.
    pub starts_at: SystemTime,
    /// When it was resolved, if it is.
    pub ends_at: Option<SystemTime>,
    /// The value that it last rang with.
    pub value: f64,
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It fires.
    Firing,
    /// It fires no longer.
    Resolved,
}

impl Event {
    /// Returns the event in words: `firing`, `resolved`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Notice {
    /// Returns a key that is the same however often the notice is sent, and no other notice's: the [alert's id](crate::Alert::id), and the
    /// event.
    pub fn key(&self) -> String {
        let id = id(&self.labels, self.active_at);
        format!("{id}-{}", self.event.as_str())
    }
}

/// Returns the id of an alert from its first match to its end.
pub(crate) fn id(labels: &Labels, active_at: SystemTime) -> String {
    let fingerprint = labels.fingerprint();
    let active_at = crate::time::to_millis(active_at);
    format!("{fingerprint}-{active_at}")
}
