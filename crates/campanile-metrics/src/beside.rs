//! The values of another exporter in the same process, read from its text.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::constant_labels::ConstantLabels;

mod encode;
#[cfg(feature = "prometheus-exporter")]
mod prometheus;
mod text;

pub(crate) use self::encode::write;
pub(crate) use self::text::{ExternalFamily, Reading};

/// An exporter whose values a [`Registry`](crate::Registry) exports with its own; see
/// [`RegistryBuilder::beside`](crate::RegistryBuilder::beside).
///
/// With feature `prometheus-exporter` the `PrometheusHandle` of metrics-exporter-prometheus 0.18
/// implements this. A closure that writes the text implements it too:
///
/// ```
/// use std::io::Write;
///
/// use campanile_metrics::{Registry, Value};
///
/// let registry = Registry::builder()
///     .beside(|out: &mut dyn Write| out.write_all(b"# TYPE jobs_total counter\njobs_total 3\n"))
///     .build()?;
/// assert_eq!(registry.get("jobs_total", &[]), Some(Value::Counter(3)));
/// # Ok::<_, campanile_metrics::BuildError>(())
/// ```
pub trait Source: Send + Sync + 'static {
    /// Writes all values in Prometheus' text format 0.0.4, each family after its `# TYPE` line.
    ///
    /// The registry calls this at most once a second, on the thread that reads the registry.
    ///
    /// # Errors
    ///
    /// If the values can't be written. The registry then keeps the previous ones.
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()>;

    /// Does periodic work of the exporter, such as aggregating recorded samples. Called every few
    /// seconds.
    ///
    /// Does nothing by default.
    fn upkeep(&self) {}
}

impl<F> Source for F
where
    F: Fn(&mut dyn io::Write) -> io::Result<()> + Send + Sync + 'static,
{
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        self(out)
    }
}

/// A source as a setting.
#[derive(Clone)]
pub(crate) struct AnySource(pub(crate) Arc<dyn Source>);

impl fmt::Debug for AnySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// The minimum time between two reads.
const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum length of the text in bytes.
const MAX_BYTES: usize = 32 << 20;

/// A source and its last values.
pub(crate) struct Exporter {
    source: Arc<dyn Source>,
    /// The maximum number of series.
    series: usize,
    /// Held by the thread that is reading.
    busy: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread that is reading.
    reader: Option<ThreadId>,
    /// The start of the last read, successful or not.
    tried: Option<Instant>,
    /// The time at which the values were read.
    read: Option<Instant>,
    reading: Arc<Reading>,
    failed: u64,
}

impl Exporter {
    pub(crate) fn new(source: AnySource, series: usize) -> Self {
        Self {
            source: source.0,
            series,
            busy: Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn upkeep(&self) {
        // A panic of the exporter must not end the background work.
        if catch_unwind(AssertUnwindSafe(|| self.source.upkeep())).is_err() {
            tracing::warn!("upkeep of the external exporter panicked");
        }
    }

    /// Returns the values. They are at most a second old, unless the source fails or another thread
    /// is reading.
    pub(crate) fn reading(&self, now: Instant, constant: &ConstantLabels) -> Arc<Reading> {
        let is_new = |state: &State| {
            let since = |tried| now.saturating_duration_since(tried);
            state.tried.is_some_and(|tried| since(tried) < INTERVAL)
        };
        let present = {
            let state = self.state();
            if is_new(&state) {
                return Arc::clone(&state.reading);
            }
            Arc::clone(&state.reading)
        };
        let this = std::thread::current().id();
        let _busy = match self.busy.try_lock() {
            Ok(busy) => busy,
            // Callers wait for the first values, unless the source itself reads the registry.
            Err(_) if self.has_no_values_from(this) => {
                self.busy.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(_) => return present,
        };
        if is_new(&self.state()) {
            return Arc::clone(&self.state().reading);
        }
        self.state().reader = Some(this);
        let result = self.read(constant);
        let mut state = self.state();
        state.reader = None;
        state.tried = Some(now);
        let mut first_error = None;
        match result {
            Ok(reading) => {
                state.read = Some(now);
                state.reading = Arc::new(reading);
            }
            Err(error) => {
                state.failed += 1;
                first_error = Some(error).filter(|_| state.failed == 1);
            }
        }
        let reading = Arc::clone(&state.reading);
        drop(state);
        // Not under the lock: formatting the error or a tracing layer may read the registry.
        if let Some(error) = first_error {
            tracing::warn!(%error, "failed to read the external exporter, keeping its previous values");
        }
        reading
    }

    /// Returns whether there are no values yet, and another thread is reading the first ones.
    fn has_no_values_from(&self, this: ThreadId) -> bool {
        let state = self.state();
        state.tried.is_none() && state.reader != Some(this)
    }

    /// Returns the age of the values, if there are any, and the number of failed reads.
    pub(crate) fn status(&self, now: Instant) -> (Option<Duration>, u64) {
        let state = self.state();
        let age = state.read.map(|read| now.saturating_duration_since(read));
        (age, state.failed)
    }

    fn read(&self, constant: &ConstantLabels) -> io::Result<Reading> {
        let mut text = Limited {
            text: Vec::new(),
            limit: MAX_BYTES,
            over: None,
        };
        catch_unwind(AssertUnwindSafe(|| self.source.write(&mut text)))
            .unwrap_or_else(|_| Err(io::Error::other("the exporter panicked")))?;
        let over = text.finish();
        let text = String::from_utf8(text.text).map_err(io::Error::other)?;
        Ok(Reading::new(&text, over, self.series, constant))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the start of a text, and counts the lines past the limit.
struct Limited {
    text: Vec<u8>,
    limit: usize,
    over: Option<u64>,
}

impl Limited {
    /// Removes the last line if it is not complete. Returns the number of lines past the limit.
    fn finish(&mut self) -> u64 {
        if self.over.is_some() {
            let end = self.text.iter().rposition(|byte| *byte == b'\n');
            self.text.truncate(end.map_or(0, |end| end + 1));
        }
        self.over.unwrap_or_default()
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match self.over {
            Some(_) => 0,
            None => self.limit - self.text.len(),
        };
        let (kept, rest) = bytes.split_at(room.min(bytes.len()));
        self.text.extend_from_slice(kept);
        if !rest.is_empty() {
            let lines = rest.iter().filter(|byte| **byte == b'\n').count();
            *self.over.get_or_insert(0) += lines as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
