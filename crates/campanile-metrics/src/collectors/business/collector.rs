use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// A section of the business figures, and how to find them out.
///
/// | setting | default |
/// |---|---|
/// | [`every`](Self::every) | 60 s |
/// | [`timeout`](Self::timeout) | 10 s |
#[must_use = "a collector does nothing until it is given to a `Business` or a builder"]
pub struct BusinessCollector {
    pub(super) section: String,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    collect: Box<dyn Fn() -> BoxFuture + Send + Sync>,
}

type BoxFuture = Pin<Box<dyn Future<Output = Collected> + Send>>;

/// What a collector's future is ready with.
pub(super) type Collected = Result<Map<String, Value>, String>;

/// The maximum size of a section's values as JSON, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The maximum number of a section's gauges.
const MAX_NUMBERS: usize = 1_000;

impl BusinessCollector {
    /// Returns a collector that calls a closure for the figures of a section: anything that
    /// serialises to a map, with numbers at
    /// any depth.
    ///
    /// The closure is called again and again, so what it captures is cloned into each future:
    /// `move || { let pool = pool.clone(); async move { … } }`. One that captures nothing can be
    /// `async || …`.
    ///
    /// The section's name has 1 to 64 characters of `[a-z0-9_]` and begins with a letter. A call that takes too long is dropped, and a
    /// panic is a failure. There may be 64 KiB of figures, as JSON, with 1,000 numbers.
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
            let figures = collect();
            Box::pin(async move {
                let figures = figures.await.map_err(|error| error.to_string())?;
                checked(&figures)
            })
        };
        Self {
            section: section.into(),
            period: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            collect: Box::new(collect),
        }
    }

    /// Sets the time from one call to the next, from 1 ms to 30 days. A call that takes longer than this delays the next.
    ///
    /// Defaults to 60 s.
    pub fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// Sets how long a call may take, from 1 ms to 30 days.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls the closure, whose future is then to be run.
    pub(super) fn call(&self) -> BoxFuture {
        (self.collect)()
    }
}

/// What `GET /metrics/business` says of a section besides its figures.
pub(super) const OWN: [&str; 3] = ["as_of", "error", "stale"];

fn checked(figures: &impl Serialize) -> Result<Map<String, Value>, String> {
    let figures = serde_json::to_value(figures).map_err(|error| error.to_string())?;
    let Value::Object(figures) = figures else {
        return Err("the figures are no map: return a struct, or a map of names".to_owned());
    };
    if let Some(own) = OWN.into_iter().find(|own| figures.contains_key(*own)) {
        return Err(format!(
            "a figure is named {own:?}, which says how the section is: choose another name"
        ));
    }
    let count = numbers(&figures);
    if count > MAX_NUMBERS {
        return Err(format!(
            "there are {count} numbers: {MAX_NUMBERS} are the most"
        ));
    }
    let bytes = serde_json::to_string(&figures).map_or(0, |text| text.len());
    if bytes > MAX_BYTES {
        return Err(format!(
            "the figures take {bytes} bytes: {MAX_BYTES} are the most"
        ));
    }
    Ok(figures)
}

/// Returns how many numbers there are that become gauges.
fn numbers(figures: &Map<String, Value>) -> usize {
    let count = |figure: &Value| match figure {
        Value::Number(_) => 1,
        Value::Object(group) => numbers(group),
        _ => 0,
    };
    figures.values().map(count).sum()
}

impl fmt::Debug for BusinessCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusinessCollector")
            .field("section", &self.section)
            .field("period", &self.period)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
