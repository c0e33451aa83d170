use std::time::Duration;

use campanile_series::Now;
use campanile_store::{Record, Store, StoreError};

use crate::lane::{Lane, Owed};
use crate::record::{ALERTS, AlertRecord, LAST_TICK, META, NoticeRecord, OUTBOX};
use crate::rule::CheckedRule;
use crate::step::{self, AlertState, Phase};
use crate::{Event, Notice, Severity, time};

/// What a store has from before a restart.
pub(super) struct Restored {
    /// For each rule its alerts.
    pub(super) alerts: Vec<step::Alerts>,
    /// Alerts that are over, because their rule is gone or because they were pending too long ago: the key, and the notice for one
    /// that was firing.
    pub(super) orphans: Vec<(String, AlertRecord, Option<Notice>)>,
    /// Notices that wait, each with the number of its lane.
    pub(super) notices: Vec<(usize, Owed)>,
    /// The number of the next notice.
    pub(super) next: u64,
    /// The number of records that can't be read, or belong to a channel that is gone.
    pub(super) skipped: u64,
}

/// The time without an evaluation after which a pending alert starts over.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);
/// How many records are read at once.
const AT_ONCE: usize = 1_000;

/// Reads the store: all of it, or nothing if the store fails.
pub(super) async fn read(
    store: &dyn Store,
    rules: &[CheckedRule],
    lanes: &[Lane],
    now: Now,
) -> Result<Restored, StoreError> {
    let mut restored = Restored {
        alerts: vec![step::Alerts::new(); rules.len()],
        orphans: Vec::new(),
        notices: Vec::new(),
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
            tracing::error!(key, "an alert of before can't be read");
            restored.skipped += 1;
            continue;
        };
        let (phase, active_at) = (record.phase(), record.active_at());
        let Some(number) = rules.iter().position(|rule| rule.name == record.rule) else {
            let over = |since| Notice {
                event: Event::Resolved,
                rule: record.rule.clone(),
                severity: labels
                    .get("severity")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(Severity::Medium),
                labels: labels.clone(),
                annotations: [("summary".to_owned(), "the rule is gone".to_owned())].into(),
                active_at,
                starts_at: since,
                ends_at: Some(now.wall),
                value: record.value(),
            };
            let notice = match phase {
                Phase::Pending => None,
                Phase::Firing { since } => Some(over(since)),
            };
            restored.orphans.push((key, record, notice));
            continue;
        };
        // There was no evaluation since the last tick.
        let looked = last_tick.map_or(active_at, time::from_millis);
        let away = now.wall.duration_since(looked).unwrap_or_default();
        if phase == Phase::Pending && away > TOLERANCE {
            restored.orphans.push((key, record, None));
            continue;
        }
        let held = looked.duration_since(active_at).unwrap_or_default();
        let alert = AlertState::restored(phase, active_at, held, record.value(), now);
        restored.alerts[number].insert(labels, alert);
    }
    for Record { key, value, .. } in outbox {
        let notice = serde_json::from_slice::<NoticeRecord>(&value)
            .ok()
            .and_then(NoticeRecord::notice);
        let place = key
            .split_once('/')
            .and_then(|(channel, number)| Some((channel, number.parse::<u64>().ok()?)));
        let (Some(notice), Some((channel, number))) = (notice, place) else {
            tracing::error!(key, "a notice of before can't be read");
            restored.skipped += 1;
            continue;
        };
        restored.next = restored.next.max(number + 1);
        match lanes.iter().position(|lane| lane.name() == channel) {
            Some(lane) => restored.notices.push((lane, Owed { key, notice })),
            None => {
                let key = notice.key();
                tracing::error!(channel, key, "a notice waits for a channel that is gone");
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
        let more = store.scan(table, last.as_deref(), AT_ONCE).await?;
        if more.is_empty() {
            return Ok(records);
        }
        records.extend(more);
    }
}
