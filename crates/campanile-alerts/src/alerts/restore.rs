use std::time::Duration;

use campanile_series::Now;
use campanile_store::{Record, Store, StoreError};

use crate::delivery::{DeliveryQueue, QueuedNotification};
use crate::notification::{AlertEvent, Notification};
use crate::record::{ALERTS, AlertRecord, LAST_TICK, META, NotificationRecord, OUTBOX};
use crate::rule::CheckedRule;
use crate::severity::Severity;
use crate::step::{self, AlertState, Phase};
use crate::time;

/// The alerts and notifications that a store holds from before a restart.
pub(super) struct Restored {
    /// The alerts of each rule, in the order of the rules.
    pub(super) alerts: Vec<step::Alerts>,
    /// Alerts that ended, because their rule is gone or because they were pending too long ago: the key, the
    /// record, and the notification if the alert was firing.
    pub(super) orphans: Vec<(String, AlertRecord, Option<Notification>)>,
    /// Queued notifications, each with the index of its queue.
    pub(super) notifications: Vec<(usize, QueuedNotification)>,
    /// The number of the next notification.
    pub(super) next: u64,
    /// The number of records that are invalid or belong to an unknown channel.
    pub(super) skipped: u64,
}

/// The time without an evaluation after which a pending alert starts over.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);
/// The maximum number of records of one scan.
const MAX_SCAN: usize = 1_000;

/// Reads all alerts and notifications from the store.
pub(super) async fn read(
    store: &dyn Store,
    rules: &[CheckedRule],
    queues: &[DeliveryQueue],
    now: Now,
) -> Result<Restored, StoreError> {
    let mut restored = Restored {
        alerts: vec![step::Alerts::new(); rules.len()],
        orphans: Vec::new(),
        notifications: Vec::new(),
        next: 1,
        skipped: 0,
    };
    let last_tick = store.get(META, LAST_TICK).await?;
    let last_tick =
        last_tick.and_then(|value| std::str::from_utf8(&value).ok()?.parse::<u64>().ok());
    let (alerts, outbox) = (all(store, ALERTS).await?, all(store, OUTBOX).await?);
    for Record { key, value, .. } in alerts {
        let record = serde_json::from_slice::<AlertRecord>(&value);
        let parsed = record
            .ok()
            .and_then(|record| Some((record.labels().ok()?, record)));
        let Some((labels, record)) = parsed else {
            tracing::error!(key, "skipped invalid stored alert");
            restored.skipped += 1;
            continue;
        };
        let (phase, active_at) = (record.phase(), record.active_at());
        let Some(number) = rules.iter().position(|rule| rule.name == record.rule) else {
            let over = |since| Notification {
                event: AlertEvent::Resolved,
                rule: record.rule.clone(),
                severity: labels
                    .get("severity")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(Severity::Medium),
                labels: labels.clone(),
                annotations: [("summary".to_owned(), "the rule was removed".to_owned())].into(),
                active_at,
                starts_at: since,
                ends_at: Some(now.wall),
                value: record.value(),
            };
            let notification = match phase {
                Phase::Pending => None,
                Phase::Firing { since } => Some(over(since)),
            };
            restored.orphans.push((key, record, notification));
            continue;
        };
        // The alert was not evaluated after the last tick.
        let evaluated = last_tick.map_or(active_at, time::from_millis);
        let away = now.wall.duration_since(evaluated).unwrap_or_default();
        if phase == Phase::Pending && away > TOLERANCE {
            restored.orphans.push((key, record, None));
            continue;
        }
        let pending_time = evaluated.duration_since(active_at).unwrap_or_default();
        let alert = AlertState::restored(phase, active_at, pending_time, record.value(), now);
        restored.alerts[number].insert(labels, alert);
    }
    for Record { key, value, .. } in outbox {
        let notification = serde_json::from_slice::<NotificationRecord>(&value)
            .ok()
            .and_then(NotificationRecord::notification);
        let place = key
            .split_once('/')
            .and_then(|(channel, number)| Some((channel, number.parse::<u64>().ok()?)));
        let (Some(notification), Some((channel, number))) = (notification, place) else {
            tracing::error!(key, "skipped invalid stored notification");
            restored.skipped += 1;
            continue;
        };
        restored.next = restored.next.max(number + 1);
        match queues.iter().position(|queue| queue.name() == channel) {
            Some(queue) => restored
                .notifications
                .push((queue, QueuedNotification { key, notification })),
            None => {
                let key = notification.key();
                tracing::error!(
                    channel,
                    key,
                    "skipped stored notification of an unknown channel"
                );
                restored.skipped += 1;
            }
        }
    }
    Ok(restored)
}

/// Returns all records of a table.
async fn all(store: &dyn Store, table: &str) -> Result<Vec<Record>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let last = records.last().map(|record| record.key.clone());
        let more = store.scan(table, last.as_deref(), MAX_SCAN).await?;
        if more.is_empty() {
            return Ok(records);
        }
        records.extend(more);
    }
}
