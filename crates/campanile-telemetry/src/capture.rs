use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use campanile_correlation::CorrelationId;
use tracing::Level;

use crate::event::Said;

/// The last lines of the log, in memory, to be searched; from [`Telemetry::capture`](crate::Telemetry::capture).
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct Capture(Arc<Inner>);

struct Inner {
    max_records: usize,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: VecDeque<Arc<LogRecord>>,
    bytes: usize,
    counts: LogCounts,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// When it was logged.
    pub at: SystemTime,
    /// Its level.
    pub level: Level,
    /// Its target, which is the module if nothing else was said.
    pub target: Cow<'static, str>,
    /// The correlation id of its request.
    pub correlation_id: Option<CorrelationId>,
    /// The id of its request's trace, as 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The line as it was written, without the line break at its end.
    pub line: Arc<str>,
}

/// How many lines there were since the start, whether they are still kept or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogCounts {
    /// By level.
    pub by_level: BTreeMap<Level, u64>,
    /// By target, of which there are 1,000; the lines of others are counted by level alone.
    pub by_target: BTreeMap<Cow<'static, str>, u64>,
}

/// The limit of targets that are counted.
const MAX_TARGETS: usize = 1_000;

/// What a record takes besides its texts, about.
const RECORD: usize = 200;

impl Capture {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            max_records,
            max_bytes,
            kept: Mutex::default(),
        }))
    }

    /// Keeps a line, and lets go of the oldest ones if there is no room.
    pub(crate) fn keep(&self, said: &Said<'_>, line: [&str; 2]) {
        let Said { origin, ids, .. } = *said;
        let trace_id = ids.trace.map(|trace| format!("{:032x}", trace.trace_id()));
        let line = line.concat();
        let record = LogRecord {
            at: said.at,
            level: *origin.level(),
            target: origin.kept_target(),
            correlation_id: ids.correlation.clone(),
            trace_id,
            line: line.trim_end_matches('\n').into(),
        };
        let Inner {
            max_records,
            max_bytes,
            ..
        } = *self.0;
        let mut gone = Vec::new();
        let mut kept = self.kept();
        let counts = &mut kept.counts;
        *counts.by_level.entry(record.level).or_default() += 1;
        let has_room = counts.by_target.len() < MAX_TARGETS;
        match counts.by_target.get_mut(&record.target) {
            Some(count) => *count += 1,
            None if has_room => drop(counts.by_target.insert(record.target.clone(), 1)),
            None => {}
        }
        kept.bytes += record.size();
        kept.records.push_back(Arc::new(record));
        while kept.records.len() > max_records || kept.bytes > max_bytes {
            let Some(oldest) = kept.records.pop_front() else {
                break;
            };
            kept.bytes -= oldest.size();
            gone.push(oldest);
        }
        // They are let go of outside of the lock.
        drop(kept);
        drop(gone);
    }

    /// Returns at most `limit` lines for which a closure returns true, the latest first. No thread
    /// that logs waits for the closure.
    #[must_use]
    pub fn search(&self, limit: usize, is_it: impl Fn(&LogRecord) -> bool) -> Vec<LogRecord> {
        // Pointers only: the closure may be slow, and may log.
        let records: Vec<_> = self.kept().records.iter().cloned().collect();
        let found = records.iter().rev().filter(|record| is_it(record));
        found.take(limit).map(|record| (**record).clone()).collect()
    }

    /// Returns how many lines there were since the start.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        self.kept().counts.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogRecord {
    fn size(&self) -> usize {
        RECORD + self.line.len()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("Capture")
            .field("records", &kept.records.len())
            .field("bytes", &kept.bytes)
            .finish()
    }
}
