use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::collector::{BusinessCollector, Collected};
use super::gauges::Gauges;
use crate::name::truncated;
use crate::{Counter, Gauge, RegisterError, Registry, clock};

/// A collector and its last values.
pub(super) struct Section {
    pub(super) collector: BusinessCollector,
    outcomes: [Counter; 4],
    last: Mutex<Last>,
    /// Locked by the task that calls the collector. A call that blocks its thread may outlive the
    /// run that started it.
    call: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Last {
    /// The values, and the time at which they were collected.
    values: Option<(Map<String, Value>, jiff::Timestamp, Instant)>,
    failure: Option<Failure>,
    gauges: Gauges,
    /// The gauge of the last success. The handle keeps the series from expiring while collections
    /// fail.
    succeeded: Option<Gauge>,
}

/// The reason of a failed collection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Error(String),
    Timeout,
    Panicked,
}

/// The maximum length of a stored error, in bytes.
const MAX_ERROR: usize = 1_024;

pub(super) const COLLECTIONS: &str = "campanile_business_collections_total";
pub(super) const SUCCEEDED: &str = "campanile_business_last_success_timestamp_seconds";

impl Section {
    /// Registers the counters of a section.
    pub(super) fn new(
        registry: &Registry,
        collector: BusinessCollector,
    ) -> Result<Self, RegisterError> {
        let section = ("section", collector.section.as_str());
        let outcome = |outcome| registry.counter(COLLECTIONS, &[section, ("outcome", outcome)]);
        let outcomes = [
            outcome("ok")?,
            outcome("error")?,
            outcome("timeout")?,
            outcome("panicked")?,
        ];
        Ok(Self {
            outcomes,
            last: Mutex::default(),
            call: Arc::default(),
            collector,
        })
    }

    /// Calls the collector once per interval, forever.
    pub(super) async fn watch(&self, registry: &Registry) {
        let mut ticks = interval(self.collector.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let only = Arc::clone(&self.call).lock_owned().await;
            // A panic stays in the task.
            let mut task = JoinSet::new();
            let collected = self.collect(&mut task, only).await;
            self.record(registry, collected);
            // The next call starts only after this one has ended.
            task.shutdown().await;
        }
    }

    /// Calls the collector in a task, until it returns the values or the timeout elapses.
    async fn collect(
        &self,
        task: &mut JoinSet<Collected>,
        only: OwnedMutexGuard<()>,
    ) -> Result<Map<String, Value>, Failure> {
        let call = std::panic::AssertUnwindSafe(|| self.collector.call());
        // The closure itself can panic before it returns a future.
        let Ok(call) = std::panic::catch_unwind(call) else {
            return Err(Failure::Panicked);
        };
        task.spawn(async move {
            let _only = only;
            call.await
        });
        match timeout(self.collector.timeout, task.join_next()).await {
            Ok(Some(Ok(collected))) => {
                collected.map_err(|error| Failure::Error(truncated(error, MAX_ERROR)))
            }
            Ok(_) => Err(Failure::Panicked),
            Err(_) => Err(Failure::Timeout),
        }
    }

    /// Stores the outcome of a call.
    fn record(&self, registry: &Registry, collected: Result<Map<String, Value>, Failure>) {
        let section = &*self.collector.section;
        // Setting gauges may log, and a subscriber may read the values: no lock is held here.
        let mut gauges = std::mem::take(&mut self.last().gauges);
        if let Ok(values) = &collected {
            gauges.set(registry, section, values);
        }
        let mut last = self.last();
        last.gauges = gauges;
        let before = last.failure.take();
        let outcome = match collected {
            Ok(values) => {
                let at = timestamp();
                // The series does not exist before, because 0 would mean 1970.
                if last.succeeded.is_none() {
                    last.succeeded = registry.gauge(SUCCEEDED, &[("section", section)]).ok();
                }
                if let Some(succeeded) = &last.succeeded {
                    succeeded.set(at.as_millisecond() as f64 / 1e3);
                }
                last.values = Some((values, at, now()));
                0
            }
            Err(failure) => {
                let outcome = match &failure {
                    Failure::Error(_) => 1,
                    Failure::Timeout => 2,
                    Failure::Panicked => 3,
                };
                last.failure = Some(failure);
                outcome
            }
        };
        self.outcomes[outcome].increment(1);
        let failure = last.failure.clone();
        drop(last);
        // Only a change is logged, not each call.
        match (before, failure) {
            (None, Some(failure)) => {
                let error = failure.message(true);
                tracing::warn!(section, error, "failed to collect business metrics");
            }
            (Some(_), None) => tracing::info!(section, "business metrics collected again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Returns the section as JSON; `errors` selects whether error messages are included.
    pub(super) fn to_json(&self, errors: bool) -> Value {
        let BusinessCollector {
            interval, timeout, ..
        } = &self.collector;
        let now = now();
        let last = self.last();
        let max_age = interval.saturating_mul(3).saturating_add(*timeout);
        let is_fresh = |at: Instant| now.saturating_duration_since(at) <= max_age;
        let values = last.values.as_ref();
        let error = last.failure.as_ref().map(|failure| failure.message(errors));
        let mut json = Map::new();
        let as_of = values.map_or(Value::Null, |(_, at, _)| rfc3339(*at));
        json.insert("as_of".to_owned(), as_of);
        json.insert("error".to_owned(), error.into());
        let is_stale = !values.is_some_and(|(_, _, at)| is_fresh(*at));
        json.insert("stale".to_owned(), is_stale.into());
        let values = values.into_iter().flat_map(|(values, ..)| values);
        json.extend(values.map(|(name, value)| (name.clone(), exact(value))));
        json.into()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        // No code that can panic or log runs under the lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// Returns the error message if it may be shown, and else the kind of failure.
    fn message(&self, shows_error: bool) -> &str {
        match self {
            Self::Error(error) if shows_error => error,
            Self::Error(_) => "failed",
            Self::Timeout => "timed out",
            Self::Panicked => "panicked",
        }
    }
}

/// Returns a value whose integers beyond 2^53 are strings, because many JSON parsers only have
/// floats.
fn exact(value: &Value) -> Value {
    const MAX_EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    match value {
        Value::Number(number) => {
            let unsigned = number.as_u64();
            let size = unsigned.or_else(|| number.as_i64().map(i64::unsigned_abs));
            match size {
                Some(size) if size > MAX_EXACT => number.to_string().into(),
                _ => value.clone(),
            }
        }
        Value::Object(group) => {
            let group = group.iter();
            Value::Object(
                group
                    .map(|(name, value)| (name.clone(), exact(value)))
                    .collect(),
            )
        }
        Value::Array(list) => list.iter().map(exact).collect(),
        value => value.clone(),
    }
}

pub(super) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the calls of collectors and the responses are edges"
    )]
    Instant::now()
}

pub(super) fn timestamp() -> jiff::Timestamp {
    let milliseconds = i64::try_from(clock::milliseconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

pub(super) fn rfc3339(at: jiff::Timestamp) -> Value {
    format!("{at:.3}").into()
}
