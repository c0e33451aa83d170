use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use campanile_series::{Labels, Now};
use campanile_store::{Batch, Store, StoreError};
use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use self::found::{Found, MAX_ALERTS, found};
use self::restore::Restored;
use crate::evaluate::evaluate;
use crate::lane::{Lane, Owed};
use crate::ledger::Ledger;
use crate::record::{
    ALERTS, AlertRecord, JournalRecord, LAST_TICK, META, NoticeRecord, OUTBOX, json,
};
use crate::rule::CheckedRule;
use crate::step::{self, Change, Phase, Terms, step};
use crate::{Alert, AlertsBuilder, EvalError, Event, Notice, RuleReport, Stats, time};

mod found;
mod restore;

/// A service's alert rules, their alerts, and the channels that tell of them.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    rules: Vec<CheckedRule>,
    lanes: Vec<Lane>,
    ledger: Ledger,
    /// For each rule its alerts, and how its evaluation went.
    states: Mutex<Vec<RuleState>>,
    restored: OnceCell<()>,
    /// The number of stored records that could not be used.
    restore_skipped: AtomicU64,
    /// Held by the `run` that sends.
    running: tokio::sync::Mutex<()>,
    /// Held for the time of a tick.
    ticking: tokio::sync::Mutex<Ticking>,
    /// The number of the next notice.
    number: AtomicU64,
    evaluation_failures: AtomicU64,
}

#[derive(Clone, Default)]
struct RuleState {
    alerts: step::Alerts,
    /// How many series matched at the last evaluation without an alert of their own.
    overflow: usize,
    evaluated_at: Option<SystemTime>,
    error: Option<EvalError>,
}

/// What a tick needs of the ticks before.
#[derive(Default)]
struct Ticking {
    /// When it was last written down that pending alerts are being looked at.
    heartbeat: Option<Instant>,
    /// When the store was read first without success, and the number of the first notice since then.
    unread: Option<(Instant, u64)>,
}

/// How often that is written down.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long rules are not evaluated because the store can't be read.
const UNREAD: Duration = Duration::from_secs(60);
/// How long notices may be sent for after the shutdown.
const LAST_NOTICES: Duration = Duration::from_secs(5);

impl Alerts {
    /// Returns a builder.
    pub fn builder() -> AlertsBuilder {
        AlertsBuilder::default()
    }

    pub(crate) fn new(rules: Vec<CheckedRule>, lanes: Vec<Lane>, store: Arc<dyn Store>) -> Self {
        let states = vec![RuleState::default(); rules.len()];
        Self(Arc::new(Inner {
            rules,
            lanes,
            ledger: Ledger::new(store),
            states: Mutex::new(states),
            restored: OnceCell::new(),
            restore_skipped: AtomicU64::new(0),
            running: tokio::sync::Mutex::default(),
            ticking: tokio::sync::Mutex::default(),
            number: AtomicU64::new(1),
            evaluation_failures: AtomicU64::new(0),
        }))
    }

    /// Sends what is owed to the channels, until `shutdown` completes and then for 5 s at most.
    ///
    /// Each channel has its own order and its own pace. Rules are evaluated by [`tick`](Self::tick). What a durable store holds is sent
    /// after the next start.
    ///
    /// Only one `run` sends at a time: a second one waits until the first ends, and then takes over.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let inner = &*self.0;
        let mut shutdown = pin!(shutdown);
        let _running = tokio::select! {
            // A run that need not wait sends its last notices, even if the shutdown is already complete.
            biased;
            running = inner.running.lock() => running,
            () = shutdown.as_mut() => return,
        };
        let lanes = inner.lanes.iter().map(|lane| lane.run(&inner.ledger, wall));
        let stop = async {
            shutdown.await;
            let drained = join_all(inner.lanes.iter().map(Lane::drained));
            let _ = timeout(LAST_NOTICES, drained).await;
        };
        tokio::select! {
            _ = join_all(lanes), if !inner.lanes.is_empty() => {}
            () = stop => {}
        }
    }

    /// Evaluates all rules at a moment, writes down what has changed together with the notices that it owes, and hands these to
    /// [`run`](Self::run).
    ///
    /// The first tick takes up what the store has from before. If the store can't be read, each tick tries again. No rule is evaluated
    /// meanwhile, for at most 60 s.
    ///
    /// A tick waits for one that has not ended. If the store fails later, the notices are sent all the same, and the changes are written
    /// as soon as it works again.
    pub async fn tick(&self, now: Now) {
        let inner = &*self.0;
        let mut ticking = inner.ticking.lock().await;
        if !inner.is_restored(&mut ticking, now).await {
            return;
        }
        let heartbeat = &mut ticking.heartbeat;
        let before = inner.states().clone();
        let mut after = Vec::with_capacity(before.len());
        let (mut batches, mut owed) = (Vec::new(), Vec::new());
        for (rule, before) in inner.rules.iter().zip(&before) {
            let (state, changes) = inner.evaluate(rule, before, now).await;
            for (labels, change) in changes {
                let (batch, notices) = inner.note(rule, &labels, change, (before, &state), now);
                batches.push(batch);
                owed.extend(notices);
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
        if let Err(error) = inner.ledger.save(batches).await {
            tracing::error!(%error, "alerts can't be written down: they are sent all the same");
        }
        *inner.states() = after;
        for (lane, owed) in owed {
            inner.lanes[lane].push(owed);
        }
    }

    /// Returns the alerts that are pending or firing, in the order of the rules.
    pub fn active(&self) -> Vec<Alert> {
        // The texts of alerts may be the host's, who may ask for what is under this lock.
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
                is_warming: alert.is_restored,
            })
        });
        alerts.collect()
    }

    /// Returns how the rules are, in the order in which they were added.
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

    /// Returns what has happened since the process began.
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
            store_failures: inner.ledger.failures(),
            store_dropped: inner.ledger.dropped(),
            restore_skipped: inner.restore_skipped.load(Ordering::Relaxed),
            channels: inner.lanes.iter().map(Lane::stats).collect(),
        }
    }
}

impl Inner {
    /// Evaluates a rule, and takes its alerts one step further.
    async fn evaluate(
        &self,
        rule: &CheckedRule,
        before: &RuleState,
        now: Now,
    ) -> (RuleState, Vec<(Labels, Change)>) {
        let answer = evaluate(&*rule.prepared, now).await;
        let found = answer.and_then(|answer| {
            let found = found(rule, answer.samples, &before.alerts)?;
            Ok((found, answer.covers))
        });
        let evaluated_at = Some(now.wall);
        match found {
            Ok((Found { alerts, overflow }, covers)) => {
                if overflow > 0 && before.overflow == 0 {
                    let rule = &rule.name;
                    tracing::warn!(rule, overflow, limit = MAX_ALERTS, "too many alerts");
                }
                if before.error.is_some() {
                    tracing::info!(rule = rule.name, "a rule can be evaluated again");
                }
                let (look_back, covers) = rule.reach(covers, now);
                let terms = Terms {
                    hold: rule.hold,
                    look_back,
                };
                let (alerts, changes) = step(&before.alerts, terms, &alerts, covers, now);
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
                    tracing::error!(rule = rule.name, %error, "a rule can't be evaluated");
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

    /// Returns what is to be written down for a change, and the notices that it owes, each with the number of its lane.
    fn note(
        &self,
        rule: &CheckedRule,
        labels: &Labels,
        change: Change,
        (before, after): (&RuleState, &RuleState),
        now: Now,
    ) -> (Batch, Vec<(usize, Owed)>) {
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
            Change::Firing { since } => (Event::Firing, since),
            Change::Resolved { since } => (Event::Resolved, since),
            Change::Pending | Change::Dropped => return (batch, Vec::new()),
        };
        let alert = after
            .alerts
            .get(labels)
            .or_else(|| before.alerts.get(labels));
        let value = alert.map_or(f64::NAN, |alert| alert.value);
        let active_at = alert.map_or(starts_at, |alert| alert.active_at);
        let notice = Notice {
            event,
            rule: rule.name.clone(),
            severity: rule.severity,
            labels: labels.clone(),
            annotations: rule.annotations(labels, value),
            active_at,
            starts_at,
            ends_at: (event == Event::Resolved).then_some(now.wall),
            value,
        };
        let owed = self.owe(&notice, &mut batch);
        (batch, owed)
    }

    /// Adds a notice to a batch, once for each channel.
    fn owe(&self, notice: &Notice, batch: &mut Batch) -> Vec<(usize, Owed)> {
        let lanes = self.lanes.iter().enumerate();
        let owed = lanes
            .filter(|(_, lane)| lane.has_room())
            .map(|(number, lane)| {
                let key = format!(
                    "{}/{:020}",
                    lane.name(),
                    self.number.fetch_add(1, Ordering::Relaxed)
                );
                batch.put(OUTBOX, key.as_str(), json(&NoticeRecord::new(notice)));
                let notice = notice.clone();
                (number, Owed { key, notice })
            });
        owed.collect()
    }

    /// Takes up what the store has from before, if that was not done yet. Returns whether rules can be evaluated.
    async fn is_restored(&self, ticking: &mut Ticking, now: Now) -> bool {
        let first = ticking.unread.map(|(_, number)| number);
        let restore = || self.restore(first, now);
        let Err(error) = self.restored.get_or_try_init(restore).await else {
            return true;
        };
        let (since, _) = *ticking.unread.get_or_insert_with(|| {
            tracing::error!(%error, "failed to read stored alerts: rules are not evaluated yet");
            // Beyond all numbers that the store can have.
            let number = time::to_millis(now.wall).saturating_mul(1_000);
            self.number.store(number, Ordering::Relaxed);
            (now.mono, number)
        });
        now.mono.saturating_duration_since(since) >= UNREAD
    }

    /// Takes up what the store has from before. Notices from `first` on are of this process.
    async fn restore(&self, first: Option<u64>, now: Now) -> Result<(), StoreError> {
        let restored = restore::read(self.ledger.store(), &self.rules, &self.lanes, now);
        let Restored {
            alerts,
            orphans,
            notices,
            next,
            skipped,
        } = restored.await?;
        self.restore_skipped.store(skipped, Ordering::Relaxed);
        self.number.fetch_max(next, Ordering::Relaxed);
        let is_own = |owed: &Owed| first.is_some_and(|first| owed.number() >= Some(first));
        for (lane, owed) in notices.into_iter().filter(|(_, owed)| !is_own(owed)) {
            self.lanes[lane].push(owed);
        }
        let (mut batches, mut owed) = (Vec::new(), Vec::new());
        for (key, record, notice) in orphans {
            let mut batch = Batch::new();
            batch.delete(ALERTS, key);
            if let Some(notice) = notice {
                let since = notice.starts_at;
                let change = Change::Resolved { since };
                batch.append(json(&JournalRecord::change(
                    now.wall,
                    &record.rule,
                    &notice.labels,
                    change,
                )));
                owed.extend(self.owe(&notice, &mut batch));
            }
            batches.push(batch);
        }
        if let Err(error) = self.ledger.save(batches).await {
            tracing::error!(%error, "alerts that are over can't be taken away");
        }
        for (lane, owed) in owed {
            self.lanes[lane].push(owed);
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
        reason = "the journal tells when a notice was sent"
    )]
    SystemTime::now()
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts")
            .field("rules", &self.0.rules.len())
            .field("channels", &self.0.lanes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
