use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use self::section::{COLLECTIONS, SUCCEEDED, Section, rfc3339, timestamp};
use crate::Registry;

pub use self::collector::BusinessCollector;
pub use self::error::{BusinessError, BusinessProblem};

mod collector;
mod error;
mod gauges;
mod section;

/// Business metrics that are collected in the background, as gauges and as JSON.
///
/// ```
/// use campanile_metrics::collectors::{BusinessCollector, BusinessMetrics};
/// use campanile_metrics::Registry;
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
/// # impl Pool {
/// #     async fn users(&self) -> Result<Users, String> {
/// #         Ok(Users { daily_active_users: 7, total_users: 19 })
/// #     }
/// # }
/// # let pool = Pool;
/// let users = BusinessCollector::new("users", move || {
///     let pool = pool.clone();
///     async move { pool.users().await } // a query
/// });
/// let registry = Registry::new();
/// let business = BusinessMetrics::builder().collector(users).register(&registry)?;
/// tokio::spawn(business.run(std::future::pending()));
///
/// # while registry.family_snapshot("business_users_total_users").is_none() {
/// #     tokio::task::yield_now().await;
/// # }
/// assert!(registry.render().contains("business_users_total_users 19\n"));
/// let body = business.respond(false).into_body();
/// assert!(body.contains(r#""users":{"as_of":""#) && body.contains(r#""daily_active_users":7"#));
/// # Ok(())
/// # }
/// ```
///
/// Neither a scrape nor a request runs a query: both read the last collected values.
///
/// # Values
///
/// Each number becomes a gauge. Its name is `business_`, the section, and the keys that lead to the
/// number, joined with underscores. Values that are not numbers are in the JSON only. Two forms of
/// keys are special:
///
/// - A map under a key `…_by_<label>` becomes one series per entry. In section `shop`,
///   `{"sales_by_country": {"DE": 5}}` is `business_shop_sales_by_country{country="DE"} 5`.
/// - A key `total` stands for its map: `{"pool": {"total": 9, "idle": 4}}` is `business_shop_pool 9`
///   and `business_shop_pool_idle 4`. A key that ends with `_total` loses the suffix, because it
///   belongs to counters.
///
/// The limits of the registry apply. If a value disappears, its gauge is removed. If two values
/// have the same gauge, the first one is exported and `campanile_registry_rejected_total` counts
/// the other. A gauge is a float. In the JSON, an integer beyond 2^53 is a string.
///
/// # Failures
///
/// If a collector fails, its last values stay. Their age is `as_of` in the JSON, and the metric
/// `campanile_business_last_success_timestamp_seconds`. Values are stale if they are older than
/// three intervals and one timeout.
///
/// # Metrics of the collectors
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `campanile_business_collections_total{section,outcome}` | counter | finished collections: `ok`, `error`, `timeout` or `panicked` |
/// | `campanile_business_last_success_timestamp_seconds{section}` | gauge | Unix time of the last success, in seconds |
///
/// A clone shares the state (an `Arc`).
#[derive(Clone)]
pub struct BusinessMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    sections: Vec<Section>,
    is_running: AtomicBool,
}

/// The collectors of a [`BusinessMetrics`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`collector`](Self::collector) | none | 100 collectors |
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `register` is called"]
pub struct BusinessMetricsBuilder {
    collectors: Vec<BusinessCollector>,
}

impl BusinessMetricsBuilder {
    /// Adds a collector. It is not called before [`run`](BusinessMetrics::run) is.
    ///
    /// Defaults to none. There can be 100 collectors.
    pub fn collector(mut self, collector: BusinessCollector) -> Self {
        self.collectors.push(collector);
        self
    }

    /// Registers the metrics of the collectors.
    ///
    /// # Errors
    ///
    /// If settings of collectors are invalid, or a name belongs to another metric. The error lists
    /// all problems.
    pub fn register(self, registry: &Registry) -> Result<BusinessMetrics, BusinessError> {
        let collectors = self.collectors;
        BusinessError::check(&collectors)?;
        if !collectors.is_empty() {
            registry.describe(COLLECTIONS, "Collections of business metrics, by outcome.");
            let help = "Unix time of the last successful collection, in seconds.";
            registry.describe(SUCCEEDED, help);
        }
        let sections = collectors.into_iter();
        let sections = sections.map(|collector| Section::new(registry, collector));
        let sections = sections.collect::<Result<_, _>>();
        Ok(BusinessMetrics(Arc::new(Inner {
            registry: registry.clone(),
            sections: sections.map_err(BusinessError::registering)?,
            is_running: AtomicBool::new(false),
        })))
    }
}

impl BusinessMetrics {
    /// Creates a builder without collectors.
    pub fn builder() -> BusinessMetricsBuilder {
        BusinessMetricsBuilder::default()
    }

    /// Collects each section immediately and then once per interval, until `shutdown` completes.
    ///
    /// Each section has its own task, which ends with the returned future. At most one call of a
    /// collector runs at a time. A second `run` beside the first only waits for its `shutdown`. A
    /// call that blocks its thread can't be stopped: it continues after this future has ended, and
    /// a later run waits for it before it calls that collector.
    pub fn run<S: Future<Output = ()>>(&self, shutdown: S) -> impl Future<Output = ()> + use<S> {
        let inner = Arc::clone(&self.0);
        async move {
            if inner.sections.is_empty() {
                return shutdown.await;
            }
            if inner.is_running.swap(true, Ordering::Relaxed) {
                tracing::warn!("collectors already running, this run only waits");
                return shutdown.await;
            }
            let _running = Running(&inner.is_running);
            let mut tasks = JoinSet::new();
            for number in 0..inner.sections.len() {
                let inner = Arc::clone(&inner);
                tasks.spawn(async move {
                    let section = &inner.sections[number];
                    section.watch(&inner.registry).await;
                });
            }
            let watched = async {
                while tasks.join_next().await.is_some() {
                    tracing::error!(
                        "task of a collector ended, its section is no longer collected"
                    );
                }
                std::future::pending().await
            };
            tokio::select! {
                () = shutdown => {}
                () = watched => {}
            }
            tasks.shutdown().await;
        }
    }

    /// Returns the response to a GET of `/metrics/business`.
    ///
    /// The JSON has a `timestamp` and one object per section: its values, and three fields.
    ///
    /// | field | meaning |
    /// |---|---|
    /// | `as_of` | time of the last success; null before the first |
    /// | `stale` | whether the values are too old |
    /// | `error` | the error of the last collection; null if it succeeded |
    ///
    /// If `errors` is false, an error is only `failed`, `timed out` or `panicked`, because its
    /// message may be confidential.
    pub fn respond(&self, errors: bool) -> Response<String> {
        let mut body = Map::new();
        body.insert("timestamp".to_owned(), rfc3339(timestamp()));
        for section in &self.0.sections {
            let name = section.collector.section.clone();
            body.insert(name, section.to_json(errors));
        }
        let mut response = Response::new(Value::Object(body).to_string());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Marks the one active run.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// No collectors, and an empty registry.
impl Default for BusinessMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            registry: Registry::new(),
            sections: Vec::new(),
            is_running: AtomicBool::new(false),
        }))
    }
}

impl fmt::Debug for BusinessMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = self.0.sections.iter();
        let sections = sections.map(|section| &section.collector);
        f.debug_list().entries(sections).finish()
    }
}

#[cfg(test)]
mod tests;
