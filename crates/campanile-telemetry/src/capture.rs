use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use campanile_correlation::CorrelationId;
use tracing::Level;

use crate::event::LogEvent;

/// The last lines of the log, kept in memory and searchable; for
/// [`TelemetryBuilder::capture`](crate::TelemetryBuilder::capture) and from
/// [`Telemetry::capture`](crate::Telemetry::capture).
///
/// ```
/// use campanile_telemetry::{Capture, Telemetry};
/// use tracing::Level;
///
/// let telemetry = Telemetry::builder("orders").capture(Capture::new().max_lines(1_000)).build()?;
/// telemetry.in_scope(|| tracing::error!("out of stock"));
/// let capture = telemetry.capture().expect("it is set");
/// let errors = capture.search(10, |line| line.level == Level::ERROR);
/// assert!(errors[0].line.contains("out of stock"));
/// # Ok::<_, campanile_telemetry::BuildError>(())
/// ```
///
/// | setting | default |
/// |---|---|
/// | [`max_lines`](Self::max_lines) | 10,000 |
/// | [`max_bytes`](Self::max_bytes) | 4 MiB |
///
/// The oldest line is removed when a limit is reached. Clones share the lines (an `Arc`).
#[derive(Clone)]
#[must_use = "a capture does nothing until a builder has it"]
pub struct Capture {
    max_lines: usize,
    max_bytes: usize,
    buffer: Arc<Mutex<CaptureBuffer>>,
}

#[derive(Default)]
struct CaptureBuffer {
    records: VecDeque<Arc<LogRecord>>,
    bytes: usize,
    counts: LogCounts,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// The time of the event.
    pub at: SystemTime,
    /// The level of the event.
    pub level: Level,
    /// The target of the event, by default its module.
    pub target: Cow<'static, str>,
    /// The correlation id of the request.
    pub correlation_id: Option<CorrelationId>,
    /// The trace id of the request, as 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The line as the writer gets it, without the line break at the end.
    pub line: Arc<str>,
}

/// The numbers of lines since the start, including those that were removed from the capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogCounts {
    /// The number of lines by level.
    pub by_level: BTreeMap<Level, u64>,
    /// The number of lines by target. The limit is 1,000 targets; lines of further targets are
    /// counted by level only.
    pub by_target: BTreeMap<Cow<'static, str>, u64>,
}

/// The limit of counted targets.
const MAX_TARGETS: usize = 1_000;

/// The approximate size of a record without its line, in bytes.
const RECORD: usize = 200;

impl Capture {
    /// Creates a capture with the default limits.
    pub fn new() -> Self {
        Self {
            max_lines: 10_000,
            max_bytes: 4 << 20,
            buffer: Arc::default(),
        }
    }

    /// Sets the maximum number of lines.
    ///
    /// Defaults to 10,000.
    pub fn max_lines(mut self, max: usize) -> Self {
        self.max_lines = max;
        self
    }

    /// Sets the maximum size of the lines in bytes, with about 200 bytes added for each line.
    ///
    /// Defaults to 4 MiB.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    /// Adds a line and removes the oldest lines above the limits.
    pub(crate) fn keep(&self, event: &LogEvent<'_>, line: [&str; 2]) {
        let LogEvent { origin, ids, .. } = *event;
        let trace_id = ids.trace.map(|trace| format!("{:032x}", trace.trace_id()));
        let line = line.concat();
        let record = LogRecord {
            at: event.at,
            level: *origin.level(),
            target: origin.kept_target(),
            correlation_id: ids.correlation.clone(),
            trace_id,
            line: line.trim_end_matches('\n').into(),
        };
        let mut removed = Vec::new();
        let mut buffer = self.buffer();
        let counts = &mut buffer.counts;
        *counts.by_level.entry(record.level).or_default() += 1;
        let has_room = counts.by_target.len() < MAX_TARGETS;
        match counts.by_target.get_mut(&record.target) {
            Some(count) => *count += 1,
            None if has_room => drop(counts.by_target.insert(record.target.clone(), 1)),
            None => {}
        }
        buffer.bytes += record.size();
        buffer.records.push_back(Arc::new(record));
        while buffer.records.len() > self.max_lines || buffer.bytes > self.max_bytes {
            let Some(oldest) = buffer.records.pop_front() else {
                break;
            };
            buffer.bytes -= oldest.size();
            removed.push(oldest);
        }
        // The memory is freed outside of the lock.
        drop(buffer);
        drop(removed);
    }

    /// Returns at most `limit` lines that match, the latest first. The closure runs outside of the
    /// lock, so it may be slow and may log.
    #[must_use]
    pub fn search(&self, limit: usize, matches: impl Fn(&LogRecord) -> bool) -> Vec<LogRecord> {
        let records: Vec<_> = self.buffer().records.iter().cloned().collect();
        let found = records.iter().rev().filter(|record| matches(record));
        found.take(limit).map(|record| (**record).clone()).collect()
    }

    /// Returns the number of lines since the start.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        self.buffer().counts.clone()
    }

    fn buffer(&self) -> MutexGuard<'_, CaptureBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl LogRecord {
    fn size(&self) -> usize {
        RECORD + self.line.len()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffer = self.buffer();
        f.debug_struct("Capture")
            .field("records", &buffer.records.len())
            .field("bytes", &buffer.bytes)
            .finish()
    }
}
