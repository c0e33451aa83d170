use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use campanile_series::{Labels, Now};

/// The alerts of one rule, by their labels. An alert that is not there is inactive.
pub(crate) type Alerts = BTreeMap<Labels, AlertState>;

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlertState {
    pub(crate) phase: Phase,
    /// Since when it has been wrong.
    pub(crate) active_at: SystemTime,
    /// How long it had been wrong at `anchor`.
    held: Duration,
    anchor: Instant,
    pub(crate) value: f64,
    /// It is from before a restart, and was not found wrong again yet.
    pub(crate) is_restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Firing { since: SystemTime },
}

/// What is asked of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) hold: Duration,
    pub(crate) look_back: Duration,
}

/// What has changed for an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was inactive and is pending.
    Pending,
    /// It fires.
    Firing { since: SystemTime },
    /// It was firing and is inactive.
    Resolved { since: SystemTime },
    /// It was pending and is inactive.
    Dropped,
}

impl AlertState {
    /// Returns an alert from before a restart, which had been wrong for a time.
    pub(crate) fn restored(
        phase: Phase,
        active_at: SystemTime,
        held: Duration,
        value: f64,
        now: Now,
    ) -> Self {
        Self {
            phase,
            active_at,
            held,
            anchor: now.mono,
            value,
            is_restored: true,
        }
    }

    fn new(value: f64, now: Now) -> Self {
        Self {
            phase: Phase::Pending,
            active_at: now.wall,
            held: Duration::ZERO,
            anchor: now.mono,
            value,
            is_restored: false,
        }
    }

    /// Returns how long the alert has been active, by the monotonic clock.
    fn held(&self, now: Now) -> Duration {
        self.held + now.mono.saturating_duration_since(self.anchor)
    }
}

/// Takes a rule's alerts one evaluation further: Prometheus' states, inactive → pending → firing → inactive.
///
/// `found` is what is wrong now, and `covers` how far back the data reach that say so. Until they reach back as far as the rule
/// looks, that something is not found says nothing of an alert that was restored.
pub(crate) fn step(
    alerts: &Alerts,
    terms: Terms,
    found: &BTreeMap<Labels, f64>,
    covers: Duration,
    now: Now,
) -> (Alerts, Vec<(Labels, Change)>) {
    let mut next = Alerts::new();
    let mut changes = Vec::new();
    for (labels, &value) in found {
        let before = alerts.get(labels);
        let mut alert = match before {
            // Time without evaluations does not count.
            Some(alert) if alert.is_restored => AlertState {
                anchor: now.mono,
                is_restored: false,
                value,
                ..alert.clone()
            },
            Some(alert) => AlertState {
                value,
                ..alert.clone()
            },
            None => AlertState::new(value, now),
        };
        if alert.phase == Phase::Pending {
            if alert.held(now) >= terms.hold {
                alert.phase = Phase::Firing { since: now.wall };
                changes.push((labels.clone(), Change::Firing { since: now.wall }));
            } else if before.is_none() {
                changes.push((labels.clone(), Change::Pending));
            }
        }
        next.insert(labels.clone(), alert);
    }
    for (labels, alert) in alerts {
        if found.contains_key(labels) {
            continue;
        }
        if alert.is_restored && covers < terms.look_back {
            next.insert(labels.clone(), alert.clone());
            continue;
        }
        let change = match alert.phase {
            Phase::Pending => Change::Dropped,
            Phase::Firing { since } => Change::Resolved { since },
        };
        changes.push((labels.clone(), change));
    }
    (next, changes)
}

#[cfg(test)]
mod tests;
