use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use campanile_series::{LabelSet, Now};

/// The active alerts of one rule, by their labels.
pub(crate) type Alerts = BTreeMap<LabelSet, AlertState>;

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlertState {
    pub(crate) phase: Phase,
    /// The time since which the alert is active.
    pub(crate) active_at: SystemTime,
    /// How long the alert had been active at `since`.
    pending_time: Duration,
    since: Instant,
    pub(crate) value: f64,
    /// Whether the alert was restored and no evaluation has returned it since.
    pub(crate) is_restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Firing { since: SystemTime },
}

/// The durations of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleTiming {
    pub(crate) pending_for: Duration,
    pub(crate) look_back: Duration,
}

/// A state change of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Inactive to pending.
    Pending,
    /// Inactive or pending to firing.
    Firing { since: SystemTime },
    /// Firing to inactive.
    Resolved { since: SystemTime },
    /// Pending to inactive.
    Dropped,
}

impl AlertState {
    /// Creates an alert from before a restart, which had been active for `pending_time`.
    pub(crate) fn restored(
        phase: Phase,
        active_at: SystemTime,
        pending_time: Duration,
        value: f64,
        now: Now,
    ) -> Self {
        Self {
            phase,
            active_at,
            pending_time,
            since: now.mono,
            value,
            is_restored: true,
        }
    }

    fn new(value: f64, now: Now) -> Self {
        Self {
            phase: Phase::Pending,
            active_at: now.wall,
            pending_time: Duration::ZERO,
            since: now.mono,
            value,
            is_restored: false,
        }
    }

    /// Returns how long the alert has been active, by the monotonic clock.
    fn pending_time(&self, now: Now) -> Duration {
        self.pending_time + now.mono.saturating_duration_since(self.since)
    }
}

/// Steps a rule's alerts by one evaluation and returns the new alerts and their changes.
///
/// The states are Prometheus' (`rules/alerting.go`):
///
/// ```text
/// inactive ──▶ pending ──▶ firing
///     ▲           │           │
///     └─ dropped ─┴─ resolved ┘
/// ```
///
/// `active` holds the samples of the evaluation, and `history` is the age of the oldest data behind them. While the
/// history is shorter than the look-back, a restored alert without a sample stays.
pub(crate) fn step(
    alerts: &Alerts,
    timing: RuleTiming,
    active: &BTreeMap<LabelSet, f64>,
    history: Duration,
    now: Now,
) -> (Alerts, Vec<(LabelSet, Change)>) {
    let mut next = Alerts::new();
    let mut changes = Vec::new();
    for (labels, &value) in active {
        let before = alerts.get(labels);
        let mut alert = match before {
            // The time without evaluations does not count.
            Some(alert) if alert.is_restored => AlertState {
                since: now.mono,
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
            if alert.pending_time(now) >= timing.pending_for {
                alert.phase = Phase::Firing { since: now.wall };
                changes.push((labels.clone(), Change::Firing { since: now.wall }));
            } else if before.is_none() {
                changes.push((labels.clone(), Change::Pending));
            }
        }
        next.insert(labels.clone(), alert);
    }
    for (labels, alert) in alerts {
        if active.contains_key(labels) {
            continue;
        }
        if alert.is_restored && history < timing.look_back {
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
