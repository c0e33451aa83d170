use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use self::collector::Collected;
use self::gauges::Gauges;
use crate::name::truncated;
use crate::{Counter, Gauge, RegisterError, Registry, clock};

pub use self::collector::BusinessCollector;
pub use self::error::{BusinessError, BusinessProblem};

mod collector;
mod error;
mod gauges;

/// The figures of the business: found out in the background, shown as JSON and as gauges.
///
/// ```
/// use campanile_metrics::{Business, BusinessCollector, Registry};
///
/// #[derive(serde::Serialize)]
/// struct Users {
///     daily_active_users: u64,
///     total_users: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[derive(Clone)]
/// # struct Pool;
/// # impl Pool { async fn users(&self) -> Result<Users, String> { Ok(Users { daily_active_users: 7, total_users: 19 }) } }
/// # let pool = Pool;
/// let users = BusinessCollector::new("users", move || {
///     let pool = pool.clone();
///     async move { pool.users().await } // a query
/// });
/// let registry = Registry::new();
/// let business = Business::new(&registry, vec![users])?;
/// tokio::select! {
///     () = business.run(std::future::pending()) => {}
///     () = async { while registry.family("business_users_total_users").is_none() { tokio::task::yield_now().await } } => {}
/// }
/// assert!(registry.render().contains("business_users_total_users 19\n"));
/// let body = business.respond(false).into_body();
/// assert!(body.contains(r#""users":{"as_of":""#) && body.contains(r#""daily_active_users":7"#));
/// # Ok(())
/// # }
/// ```
///
/// Neither a scrape nor a request runs a query: both read what was found out last.
///
/// # Figures
///
/// A number becomes a gauge, whose name is `business_`, the section and the names on the way to it, with underscores. Two names are
/// special. A map whose name is `…_by_<label>` has the values of that label: `{"sales_by_country": {"DE": 5}}` in section `shop` is
/// `business_shop_sales_by_country{country="DE"} 5`. And `total` is what its group has altogether: `{"pool": {"total": 9, "idle": 4}}` is
/// `business_shop_pool 9` and `business_shop_pool_idle 4`; at the end of a name `_total` is left out, since it is a counter's. What is not
/// a number is in the JSON only.
///
/// The registry's caps hold. A gauge whose figure is gone is removed. Of two figures that would be one gauge, the first is, and
/// `campanile_registry_refused_total` counts. A gauge is a float; in the JSON an integer past 2^53 is a text.
///
/// # When a collector fails
///
/// The figures from before stay, and their age shows: `as_of` in the JSON, and `campanile_business_last_success_timestamp_seconds` among
/// the metrics. They are stale after three periods and a timeout without new ones.
///
/// # Its own metrics
///
/// | metric | kind | what it is |
/// |---|---|---|
/// | `campanile_business_collections_total{section,outcome}` | counter | collections that ended: `ok`, `error`, `timeout` or `panicked` |
/// | `campanile_business_last_success_timestamp_seconds{section}` | gauge | when figures came last, in seconds since 1970 |
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Business(Arc<Inner>);

struct Inner {
    registry: Registry,
    sections: Vec<Section>,
    is_running: AtomicBool,
}

/// A collector and what it found out.
struct Section {
    collector: BusinessCollector,
    outcomes: [Counter; 4],
    last: Mutex<Last>,
    /// Locked while the collector is called, by the task that does: one that blocks its thread may
    /// outlive the run that called it.
    call: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Last {
    /// The figures, and when they came.
    figures: Option<(Map<String, Value>, jiff::Timestamp, Instant)>,
    failure: Option<Failure>,
    gauges: Gauges,
    /// The gauge of the last success. It is kept, so that it does not expire while collections
    /// fail.
    succeeded: Option<Gauge>,
}

/// How a collection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Error(String),
    Timeout,
    Panicked,
}

/// The maximum length of a stored error, in bytes.
const MAX_ERROR: usize = 1_024;

const COLLECTIONS: &str = "campanile_business_collections_total";
const SUCCEEDED: &str = "campanile_business_last_success_timestamp_seconds";

impl Business {
    /// Returns the business figures of these collectors. None of them is called before [`run`](Self::run) is.
    ///
    /// # Errors
    ///
    /// If a collector's settings are not valid: the error lists all that is wrong.
    pub fn new(
        registry: &Registry,
        collectors: Vec<BusinessCollector>,
    ) -> Result<Self, BusinessError> {
        BusinessError::check(&collectors)?;
        if !collectors.is_empty() {
            registry.describe(COLLECTIONS, "Collections of business figures, by outcome.");
            let text = "When business figures came last, in seconds since the Unix epoch.";
            registry.describe(SUCCEEDED, text);
        }
        let sections = collectors.into_iter();
        let sections = sections.map(|collector| Section::new(registry, collector));
        let sections = sections.collect::<Result<_, _>>();
        Ok(Self(Arc::new(Inner {
            registry: registry.clone(),
            sections: sections.map_err(BusinessError::registering)?,
            is_running: AtomicBool::new(false),
        })))
    }

    /// Collects each section at once and then once a period, until `shutdown` completes.
    ///
    /// Each has a task of its own, which ends with this future. Only one call of a collector is in progress at a time; for the same reason
    /// a second `run` beside the first only waits. A call that blocks its thread can't be stopped:
    /// it goes on after this has returned, and a later run waits for its end before it calls that
    /// collector.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        if self.0.sections.is_empty() {
            return shutdown.await;
        }
        if self.0.is_running.swap(true, Ordering::Relaxed) {
            tracing::warn!("the collectors are running already: a second run only waits");
            return shutdown.await;
        }
        let _running = Running(&self.0.is_running);
        let mut tasks = JoinSet::new();
        for number in 0..self.0.sections.len() {
            let inner = Arc::clone(&self.0);
            tasks.spawn(async move {
                let section = &inner.sections[number];
                section.watch(&inner.registry).await;
            });
        }
        let watched = async {
            while tasks.join_next().await.is_some() {
                tracing::error!("the task of a collector has ended, and collects no more");
            }
            std::future::pending().await
        };
        tokio::select! {
            () = shutdown => {}
            () = watched => {}
        }
        tasks.shutdown().await;
    }

    /// Answers a GET of `/metrics/business`: `timestamp`, and for each section its figures with `as_of`, which is null before there are any,
    /// `stale` and `error`, which is null if the last collection went well.
    ///
    /// Without `errors` an error is only `failed`, `timed out` or `panicked`, because its text may be
    /// confidential.
    pub fn respond(&self, errors: bool) -> Response<String> {
        let now = now();
        let mut body = Map::new();
        body.insert("timestamp".to_owned(), moment(timestamp()));
        for section in &self.0.sections {
            let name = section.collector.section.clone();
            body.insert(name, section.shown(now, errors));
        }
        let mut response = Response::new(Value::Object(body).to_string());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl Section {
    fn new(registry: &Registry, collector: BusinessCollector) -> Result<Self, RegisterError> {
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

    async fn watch(&self, registry: &Registry) {
        let mut ticks = interval(self.collector.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let only = Arc::clone(&self.call).lock_owned().await;
            // A panic stays in the task.
            let mut task = JoinSet::new();
            let collected = self.collect(&mut task, only).await;
            self.note(registry, collected);
            // Until it has ended, so that there is never a second one.
            task.shutdown().await;
        }
    }

    /// Calls the collector in a task, until it has the figures or is too late.
    async fn collect(
        &self,
        task: &mut JoinSet<Collected>,
        only: OwnedMutexGuard<()>,
    ) -> Result<Map<String, Value>, Failure> {
        let call = std::panic::AssertUnwindSafe(|| self.collector.call());
        // What the closure does before it returns its future is part of the call.
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

    fn note(&self, registry: &Registry, collected: Result<Map<String, Value>, Failure>) {
        let section = &*self.collector.section;
        // Setting gauges may log, and a subscriber of the log may read the values.
        let mut gauges = std::mem::take(&mut self.last().gauges);
        if let Ok(figures) = &collected {
            gauges.set(registry, section, figures);
        }
        let mut last = self.last();
        last.gauges = gauges;
        let before = last.failure.take();
        let outcome = match collected {
            Ok(figures) => {
                let at = timestamp();
                // There is no such series before, since 0 would be in 1970.
                if last.succeeded.is_none() {
                    last.succeeded = registry.gauge(SUCCEEDED, &[("section", section)]).ok();
                }
                if let Some(succeeded) = &last.succeeded {
                    succeeded.set(at.as_millisecond() as f64 / 1e3);
                }
                last.figures = Some((figures, at, now()));
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
        // The log has each change, and not each call.
        match (before, failure) {
            (None, Some(failure)) => {
                let error = failure.text(true);
                tracing::warn!(section, error, "business figures can't be collected");
            }
            (Some(_), None) => tracing::info!(section, "business figures are collected again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn shown(&self, now: Instant, errors: bool) -> Value {
        let BusinessCollector {
            period, timeout, ..
        } = &self.collector;
        let last = self.last();
        let longest = period.saturating_mul(3).saturating_add(*timeout);
        let is_fresh = |at: Instant| now.saturating_duration_since(at) <= longest;
        let figures = last.figures.as_ref();
        let error = last.failure.as_ref().map(|failure| failure.text(errors));
        let mut shown = Map::new();
        let as_of = figures.map_or(Value::Null, |(_, at, _)| moment(*at));
        shown.insert("as_of".to_owned(), as_of);
        shown.insert("error".to_owned(), error.into());
        let is_stale = !figures.is_some_and(|(_, _, at)| is_fresh(*at));
        shown.insert("stale".to_owned(), is_stale.into());
        let figures = figures.into_iter().flat_map(|(figures, ..)| figures);
        shown.extend(figures.map(|(name, figure)| (name.clone(), exact(figure))));
        shown.into()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        // Nothing that can panic or log runs under the lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn text(&self, in_full: bool) -> &str {
        match self {
            Self::Error(error) if in_full => error,
            Self::Error(_) => "failed",
            Self::Timeout => "timed out",
            Self::Panicked => "panicked",
        }
    }
}

/// Returns a figure in which integers that a float can't hold are texts, since many readers of JSON have floats only.
fn exact(figure: &Value) -> Value {
    const MOST: u64 = 1 << f64::MANTISSA_DIGITS;
    match figure {
        Value::Number(number) => {
            let unsigned = number.as_u64();
            let size = unsigned.or_else(|| number.as_i64().map(i64::unsigned_abs));
            match size {
                Some(size) if size > MOST => number.to_string().into(),
                _ => figure.clone(),
            }
        }
        Value::Object(group) => {
            let group = group.iter();
            Value::Object(
                group
                    .map(|(name, figure)| (name.clone(), exact(figure)))
                    .collect(),
            )
        }
        Value::Array(list) => list.iter().map(exact).collect(),
        figure => figure.clone(),
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the collectors' runs and their answers are edges"
    )]
    Instant::now()
}

fn timestamp() -> jiff::Timestamp {
    let milliseconds = i64::try_from(clock::milliseconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

fn moment(at: jiff::Timestamp) -> Value {
    format!("{at:.3}").into()
}

/// The mark of the one run that there may be.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// None at all.
impl Default for Business {
    fn default() -> Self {
        Self(Arc::new(Inner {
            registry: Registry::new(),
            sections: Vec::new(),
            is_running: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for Business {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = self.0.sections.iter();
        let sections = sections.map(|section| &section.collector);
        f.debug_list().entries(sections).finish()
    }
}

#[cfg(test)]
mod tests;
