use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// A section of business metrics, and the closure that collects it.
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`interval`](Self::interval) | 60 s | 1 ms to 30 days |
/// | [`timeout`](Self::timeout) | 10 s | 1 ms to 30 days |
#[must_use = "a collector does nothing until it is added to a builder"]
pub struct BusinessCollector {
    pub(super) section: String,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    collect: Box<dyn Fn() -> BoxFuture + Send + Sync>,
}

type BoxFuture = Pin<Box<dyn Future<Output = Collected> + Send>>;

/// The output of a collector's future.
pub(super) type Collected = Result<Map<String, Value>, String>;

/// The maximum size of a section's values as JSON, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The maximum number of a section's gauges.
const MAX_NUMBERS: usize = 1_000;

impl BusinessCollector {
    /// Creates a collector that calls a closure for the values of a section.
    ///
    /// The values are any type that serializes to a map, with numbers at any depth. They can have
    /// 64 KiB as JSON and 1,000 numbers. The section's name has 1 to 64 characters of `[a-z0-9_]`
    /// and begins with a letter.
    ///
    /// The closure is called many times, so clone its captures into each future:
    /// `move || { let pool = pool.clone(); async move { … } }`. A closure without captures can be
    /// `async || …`. If a call exceeds the timeout, its future is dropped. A panic is a failure.
    pub fn new<F, T, E>(
        section: impl Into<String>,
        collect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        let collect = move || -> BoxFuture {
            let values = collect();
            Box::pin(async move {
                let values = values.await.map_err(|error| error.to_string())?;
                checked(&values)
            })
        };
        Self {
            section: section.into(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            collect: Box::new(collect),
        }
    }

    /// Sets the time between the starts of two calls, from 1 ms to 30 days. A longer call delays
    /// the next one.
    ///
    /// Defaults to 60 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the maximum duration of a call, from 1 ms to 30 days.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls the closure and returns its future.
    pub(super) fn call(&self) -> BoxFuture {
        (self.collect)()
    }
}

/// The fields of a section in `GET /metrics/business` besides its values.
const RESERVED: [&str; 3] = ["as_of", "error", "stale"];

fn checked(values: &impl Serialize) -> Result<Map<String, Value>, String> {
    let values = serde_json::to_value(values).map_err(|error| error.to_string())?;
    let Value::Object(values) = values else {
        return Err("invalid values: expected a struct or a map".to_owned());
    };
    if let Some(name) = RESERVED.into_iter().find(|name| values.contains_key(*name)) {
        return Err(format!(
            "invalid value name {name:?}: expected none of `as_of`, `error`, `stale`"
        ));
    }
    let count = numbers(&values);
    if count > MAX_NUMBERS {
        return Err(format!(
            "too many numbers {count}: expected at most {MAX_NUMBERS}"
        ));
    }
    let bytes = serde_json::to_string(&values).map_or(0, |text| text.len());
    if bytes > MAX_BYTES {
        return Err(format!(
            "values too large {bytes} bytes: expected at most {MAX_BYTES}"
        ));
    }
    Ok(values)
}

/// Returns the count of numbers, which become gauges.
fn numbers(values: &Map<String, Value>) -> usize {
    let count = |value: &Value| match value {
        Value::Number(_) => 1,
        Value::Object(group) => numbers(group),
        _ => 0,
    };
    values.values().map(count).sum()
}

impl fmt::Debug for BusinessCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusinessCollector")
            .field("section", &self.section)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
