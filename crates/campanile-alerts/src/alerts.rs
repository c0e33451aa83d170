use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use campanile_series::{LabelSet, Now};
use campanile_store::{Batch, Store, StoreError};
use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use self::active_samples::{ActiveSamples, MAX_ALERTS, active_samples};
use self::restore::Restored;
use crate::delivery::{DeliveryQueue, QueuedNotification};
use crate::evaluate::EvalError;
use crate::evaluate::evaluate;
use crate::notification::{AlertEvent, Notification};
use crate::record::{
    ALERTS, AlertRecord, JournalRecord, LAST_TICK, META, NotificationRecord, OUTBOX, json,
};
use crate::report::{Alert, RuleReport, Stats};
use crate::rule::CheckedRule;
use crate::step::{self, Change, Phase, RuleTiming, step};
use crate::store_writer::StoreWriter;
use crate::time;

mod active_samples;
mod restore;

/// The alert rules of a service, their alerts, and the channels that get notifications.
///
/// A clone refers to the same alerts (an `Arc`).
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    rules: Vec<CheckedRule>,
    queues: Vec<DeliveryQueue>,
    store_writer: StoreWriter,
    /// The state of each rule, in the order of `rules`.
    states: Mutex<Vec<RuleState>>,
    restored: OnceCell<()>,
    /// The number of stored records that could not be used.
    restore_skipped: AtomicU64,
    /// Locked by the `run` that sends.
    running: tokio::sync::Mutex<()>,
    /// Locked during a tick.
    ticking: tokio::sync::Mutex<Ticking>,
    /// The number of the next queued notification.
    number: AtomicU64,
    evaluation_failures: AtomicU64,
}

#[derive(Clone, Default)]
struct RuleState {
    alerts: step::Alerts,
    /// The number of series that matched the last evaluation and share the overflow alert.
    overflow: usize,
    evaluated_at: Option<SystemTime>,
    error: Option<EvalError>,
}

/// The state that one tick leaves for the next.
#[derive(Default)]
struct Ticking {
    /// The time of the last write of `LAST_TICK`.
    heartbeat: Option<Instant>,
    /// The time of the first failed read of the store, and the number of the first notification after it.
    unread: Option<(Instant, u64)>,
}

/// The interval between writes of `LAST_TICK` while alerts are pending.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest time that an unreadable store delays the first evaluation.
const MAX_RESTORE_DELAY: Duration = Duration::from_secs(60);
/// The time for queued notifications after the shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl Alerts {
    pub(crate) fn new(
        rules: Vec<CheckedRule>,
        queues: Vec<DeliveryQueue>,
        store: Arc<dyn Store>,
    ) -> Self {
        let states = vec![RuleState::default(); rules.len()];
        Self(Arc::new(Inner {
            rules,
            queues,
            store_writer: StoreWriter::new(store),
            states: Mutex::new(states),
            restored: OnceCell::new(),
            restore_skipped: AtomicU64::new(0),
            running: tokio::sync::Mutex::default(),
            ticking: tokio::sync::Mutex::default(),
            number: AtomicU64::new(1),
            evaluation_failures: AtomicU64::new(0),
        }))
    }

    /// Sends queued notifications to the channels until `shutdown` completes, and then for at most 5 s.
    ///
    /// Each channel has its own queue. `run` evaluates no rules: [`tick`](Self::tick) does. Notifications that
    /// are still queued at the end stay in the store, and a durable store keeps them for the next start.
    ///
    /// Only one `run` sends at a time. A second one waits until the first ends.
    ///
    /// The future owns its state, so it can be spawned: `tokio::spawn(alerts.run(shutdown))`.
    pub fn run<F: Future<Output = ()>>(&self, shutdown: F) -> impl Future<Output = ()> + use<F> {
        let inner = Arc::clone(&self.0);
        async move { inner.run(shutdown).await }
    }

    /// Evaluates all rules at `now`. Commits each change of an alert and its notifications to the store in one
    /// batch, and queues the notifications for [`run`](Self::run).
    ///
    /// The first tick restores alerts and notifications from the store. If the store can't be read, each tick
    /// tries again, and no rule is evaluated for at most 60 s.
    ///
    /// Ticks never overlap: a second call waits for the first. If the store fails later, notifications are still
    /// sent, and the changes are kept in memory and written when the store works again.
    pub async fn tick(&self, now: Now) {
        let inner = &*self.0;
        let mut ticking = inner.ticking.lock().await;
        if !inner.is_restored(&mut ticking, now).await {
            return;
        }
        let heartbeat = &mut ticking.heartbeat;
        let before = inner.states().clone();
        let mut after = Vec::with_capacity(before.len());
        let (mut batches, mut queued) = (Vec::new(), Vec::new());
        for (rule, before) in inner.rules.iter().zip(&before) {
            let (state, changes) = inner.evaluate(rule, before, now).await;
            for (labels, change) in changes {
                let (batch, notifications) =
                    inner.record_change(rule, &labels, change, (before, &state), now);
                batches.push(batch);
                queued.extend(notifications);
            }
            after.push(state);
        }
        let is_pending = |state: &RuleState| {
            state
                .alerts
                .values()
                .any(|alert| alert.phase == Phase::Pending)
        };
        let is_due =
            heartbeat.is_none_or(|last| now.mono.saturating_duration_since(last) >= HEARTBEAT);
        if is_due && after.iter().any(is_pending) {
            *heartbeat = Some(now.mono);
            let mut batch = Batch::new();
            batch.put(META, LAST_TICK, time::to_millis(now.wall).to_string());
            batches.push(batch);
        }
        if let Err(error) = inner.store_writer.save(batches).await {
            tracing::error!(%error, "failed to write alerts to the store; notifications are still sent");
        }
        *inner.states() = after;
        for (queue, queued) in queued {
            inner.queues[queue].push(queued);
        }
    }

    /// Returns the pending and firing alerts, in the order of the rules.
    pub fn active(&self) -> Vec<Alert> {
        // `annotations_with` runs application code, which may call `active` again: the lock must be free.
        let states = self.0.states().clone();
        let rules = self.0.rules.iter().zip(states.iter());
        let alerts = rules.flat_map(|(rule, state)| {
            state.alerts.iter().map(|(labels, alert)| Alert {
                rule: rule.name.clone(),
                severity: rule.severity,
                labels: labels.clone(),
                annotations: rule.annotations(labels, alert.value),
                active_at: alert.active_at,
                starts_at: match alert.phase {
                    Phase::Pending => None,
                    Phase::Firing { since } => Some(since),
                },
                value: alert.value,
                awaiting_history: alert.is_restored,
            })
        });
        alerts.collect()
    }

    /// Returns the state of each rule, in the order in which the rules were added.
    pub fn rules(&self) -> Vec<RuleReport> {
        let states = self.0.states();
        let rules = self.0.rules.iter().zip(states.iter());
        let reports = rules.map(|(rule, state)| RuleReport {
            name: rule.name.clone(),
            evaluated_at: state.evaluated_at,
            error: state.error.as_ref().map(ToString::to_string),
        });
        reports.collect()
    }

    /// Returns the counts since the process started.
    pub fn stats(&self) -> Stats {
        let inner = &*self.0;
        let states = inner.states();
        let alerts = states.iter().flat_map(|state| state.alerts.values());
        let (pending, firing): (Vec<_>, Vec<_>) =
            alerts.partition(|alert| alert.phase == Phase::Pending);
        Stats {
            firing: firing.len(),
            pending: pending.len(),
            overflow: states.iter().map(|state| state.overflow).sum(),
            evaluation_failures: inner.evaluation_failures.load(Ordering::Relaxed),
            store_failures: inner.store_writer.failures(),
            store_dropped: inner.store_writer.dropped(),
            restore_skipped: inner.restore_skipped.load(Ordering::Relaxed),
            channels: inner.queues.iter().map(DeliveryQueue::stats).collect(),
        }
    }
}

impl Inner {
    async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let _running = tokio::select! {
            // A run that gets the lock at once drains its queues, even if the shutdown is already complete.
            biased;
            running = self.running.lock() => running,
            () = shutdown.as_mut() => return,
        };
        let queues = self
            .queues
            .iter()
            .map(|queue| queue.run(&self.store_writer, wall));
        let stop = async {
            shutdown.await;
            let drained = join_all(self.queues.iter().map(DeliveryQueue::drained));
            let _ = timeout(DRAIN_TIMEOUT, drained).await;
        };
        tokio::select! {
            _ = join_all(queues), if !self.queues.is_empty() => {}
            () = stop => {}
        }
    }

    /// Evaluates a rule and steps its alerts.
    async fn evaluate(
        &self,
        rule: &CheckedRule,
        before: &RuleState,
        now: Now,
    ) -> (RuleState, Vec<(LabelSet, Change)>) {
        let evaluation = evaluate(&*rule.prepared, now).await;
        let active = evaluation.and_then(|evaluation| {
            let active = active_samples(rule, evaluation.samples, &before.alerts)?;
            Ok((active, evaluation.history))
        });
        let evaluated_at = Some(now.wall);
        match active {
            Ok((ActiveSamples { alerts, overflow }, history)) => {
                if overflow > 0 && before.overflow == 0 {
                    let rule = &rule.name;
                    tracing::warn!(rule, overflow, limit = MAX_ALERTS, "too many alerts");
                }
                if before.error.is_some() {
                    tracing::info!(rule = rule.name, "rule evaluation recovered");
                }
                let (look_back, history) = rule.reach(history, now);
                let timing = RuleTiming {
                    pending_for: rule.pending_for,
                    look_back,
                };
                let (alerts, changes) = step(&before.alerts, timing, &alerts, history, now);
                let state = RuleState {
                    alerts,
                    overflow,
                    evaluated_at,
                    error: None,
                };
                (state, changes)
            }
            Err(error) => {
                self.evaluation_failures.fetch_add(1, Ordering::Relaxed);
                if before.error.as_ref() != Some(&error) {
                    tracing::error!(rule = rule.name, %error, "failed to evaluate rule");
                }
                let state = RuleState {
                    alerts: before.alerts.clone(),
                    overflow: before.overflow,
                    evaluated_at,
                    error: Some(error),
                };
                (state, Vec::new())
            }
        }
    }

    /// Returns the batch that records a change, and its notifications, each with the index of its queue.
    fn record_change(
        &self,
        rule: &CheckedRule,
        labels: &LabelSet,
        change: Change,
        (before, after): (&RuleState, &RuleState),
        now: Now,
    ) -> (Batch, Vec<(usize, QueuedNotification)>) {
        let mut batch = Batch::new();
        let key = format!("{}/{}", rule.name, labels.fingerprint());
        match after.alerts.get(labels) {
            Some(alert) => batch.put(
                ALERTS,
                key,
                json(&AlertRecord::new(&rule.name, labels, alert)),
            ),
            None => batch.delete(ALERTS, key),
        };
        batch.append(json(&JournalRecord::change(
            now.wall, &rule.name, labels, change,
        )));
        let (event, starts_at) = match change {
            Change::Firing { since } => (AlertEvent::Firing, since),
            Change::Resolved { since } => (AlertEvent::Resolved, since),
            Change::Pending | Change::Dropped => return (batch, Vec::new()),
        };
        let alert = after
            .alerts
            .get(labels)
            .or_else(|| before.alerts.get(labels));
        let value = alert.map_or(f64::NAN, |alert| alert.value);
        let active_at = alert.map_or(starts_at, |alert| alert.active_at);
        let notification = Notification {
            event,
            rule: rule.name.clone(),
            severity: rule.severity,
            labels: labels.clone(),
            annotations: rule.annotations(labels, value),
            active_at,
            starts_at,
            ends_at: (event == AlertEvent::Resolved).then_some(now.wall),
            value,
        };
        let queued = self.enqueue(&notification, &mut batch);
        (batch, queued)
    }

    /// Adds a notification to a batch once per channel.
    fn enqueue(
        &self,
        notification: &Notification,
        batch: &mut Batch,
    ) -> Vec<(usize, QueuedNotification)> {
        let queues = self.queues.iter().enumerate();
        let queued = queues
            .filter(|(_, queue)| queue.has_room())
            .map(|(number, queue)| {
                let key = format!(
                    "{}/{:020}",
                    queue.name(),
                    self.number.fetch_add(1, Ordering::Relaxed)
                );
                batch.put(
                    OUTBOX,
                    key.as_str(),
                    json(&NotificationRecord::new(notification)),
                );
                let notification = notification.clone();
                (number, QueuedNotification { key, notification })
            });
        queued.collect()
    }

    /// Restores alerts and notifications unless that is done. Returns whether rules can be evaluated.
    async fn is_restored(&self, ticking: &mut Ticking, now: Now) -> bool {
        let first = ticking.unread.map(|(_, number)| number);
        let restore = || self.restore(first, now);
        let Err(error) = self.restored.get_or_try_init(restore).await else {
            return true;
        };
        let (since, _) = *ticking.unread.get_or_insert_with(|| {
            tracing::error!(%error, "failed to read stored alerts; rules are not evaluated yet");
            // Larger than every number that the store can hold.
            let number = time::to_millis(now.wall).saturating_mul(1_000);
            self.number.store(number, Ordering::Relaxed);
            (now.mono, number)
        });
        now.mono.saturating_duration_since(since) >= MAX_RESTORE_DELAY
    }

    /// Restores alerts and notifications. This process created the notifications from number `first` on.
    async fn restore(&self, first: Option<u64>, now: Now) -> Result<(), StoreError> {
        let restored = restore::read(self.store_writer.store(), &self.rules, &self.queues, now);
        let Restored {
            alerts,
            orphans,
            notifications,
            next,
            skipped,
        } = restored.await?;
        self.restore_skipped.store(skipped, Ordering::Relaxed);
        self.number.fetch_max(next, Ordering::Relaxed);
        let is_own =
            |queued: &QueuedNotification| first.is_some_and(|first| queued.number() >= Some(first));
        for (queue, queued) in notifications
            .into_iter()
            .filter(|(_, queued)| !is_own(queued))
        {
            self.queues[queue].push(queued);
        }
        let (mut batches, mut queued) = (Vec::new(), Vec::new());
        for (key, record, notification) in orphans {
            let mut batch = Batch::new();
            batch.delete(ALERTS, key);
            if let Some(notification) = notification {
                let since = notification.starts_at;
                let change = Change::Resolved { since };
                batch.append(json(&JournalRecord::change(
                    now.wall,
                    &record.rule,
                    &notification.labels,
                    change,
                )));
                queued.extend(self.enqueue(&notification, &mut batch));
            }
            batches.push(batch);
        }
        if let Err(error) = self.store_writer.save(batches).await {
            tracing::error!(%error, "failed to delete resolved alerts");
        }
        for (queue, queued) in queued {
            self.queues[queue].push(queued);
        }
        for (state, alerts) in self.states().iter_mut().zip(alerts) {
            // Rules may have been evaluated already.
            let known = std::mem::replace(&mut state.alerts, alerts);
            state.alerts.extend(known);
        }
        Ok(())
    }

    fn states(&self) -> MutexGuard<'_, Vec<RuleState>> {
        // Nothing that can panic runs under the lock.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wall() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the journal records the time of a delivery"
    )]
    SystemTime::now()
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts")
            .field("rules", &self.0.rules.len())
            .field("channels", &self.0.queues.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
