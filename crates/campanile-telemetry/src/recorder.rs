use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use campanile_correlation::TraceParent;
#[cfg(feature = "otlp")]
use opentelemetry_sdk::trace::SpanData;

use crate::fields::{Copied, Entry, Fields};
use crate::origin::Origin;

/// Records verbose events of each request, and writes them if the request fails or is slow.
///
/// ```no_run
/// use std::time::Duration;
///
/// use campanile_telemetry::{FlightRecorder, Telemetry};
///
/// let recorder = FlightRecorder::new().filter("debug,hyper=info").slower_than(Duration::from_millis(500));
/// let _guard = Telemetry::builder("orders").filter("info").flight_recorder(recorder).install()?;
/// # Ok::<_, campanile_telemetry::InstallError>(())
/// ```
///
/// A recording covers each request with a span of [`HttpSpans`](crate::HttpSpans). It is written if
/// the line of the request is at ERROR, or if the service took longer than
/// [`slower_than`](Self::slower_than) to return the response head. A client that is slow to send or
/// read a body makes no request slow.
///
/// All recorded events are then written in order, with their original time and the field
/// `recorded`. They precede the line of the request. The trace of the request is exported even if
/// it was not sampled. The recordings of all other requests are discarded.
///
/// At most 3 recordings per second are written for one route and `error.type`, and at most
/// [`max_per_second`](Self::max_per_second) in all. Further recordings are discarded.
/// [`LogStats`](crate::LogStats) counts them, and the line of the request has the number of
/// discarded events in `recorded_events_gone`.
///
/// Events of other tasks and threads are recorded if they are in the span of the request, or in a
/// span below it. An explicit `parent:` is not enough. A request within another one belongs to the
/// same recording.
///
/// The subscriber needs the [filter](crate::Telemetry::filter) of the telemetry. As the filter of
/// the layer it hides recorded events from other layers. As a layer it shows them to all layers.
///
/// The span of a request is always enabled, whatever the filter. Spans within a request are enabled
/// only by the filter of the log.
///
/// | setting | default |
/// |---|---|
/// | [`filter`](Self::filter) | `debug` |
/// | [`slower_than`](Self::slower_than) | 1 s |
/// | [`max_events`](Self::max_events) | 256 per request |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB per request |
/// | [`max_total_bytes`](Self::max_total_bytes) | 64 MiB in all |
/// | [`max_per_second`](Self::max_per_second) | 10 recordings |
#[derive(Clone, Debug)]
#[must_use = "a recorder works once a telemetry is built with it"]
pub struct FlightRecorder {
    pub(crate) filter: String,
    limits: Limits,
    /// The size of all recordings.
    total: Arc<AtomicUsize>,
    output: Arc<Output>,
}

/// The rate limit of written recordings.
#[derive(Debug, Default)]
struct Output {
    window: Mutex<Window>,
    suppressed: AtomicU64,
}

/// The recordings of one second.
#[derive(Debug, Default)]
struct Window {
    second: u64,
    written: u32,
    /// The number of recordings by kind. There are no more kinds than recordings.
    kinds: Vec<(u64, u32)>,
}

/// The limit of recordings of one kind per second. Further ones would repeat them.
const PER_KIND: u32 = 3;

/// The maximum of `max_per_second`.
const MOST_PER_SECOND: u32 = 1_000;

impl Window {
    fn admits(&mut self, max: u32, kind: u64, second: u64) -> bool {
        // A request that read the clock just before the end of a second counts in the next second.
        // If it started a window, it would reset the count at each end of a second.
        let is_late = self.second == second.saturating_add(1);
        if self.second != second && !is_late {
            self.second = second;
            self.written = 0;
            self.kinds.clear();
        }
        let known = self.kinds.iter_mut().find(|(of, _)| *of == kind);
        let is_full = known.as_ref().is_some_and(|(_, count)| *count >= PER_KIND);
        if self.written >= max || is_full {
            return false;
        }
        self.written += 1;
        match known {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((kind, 1)),
        }
        true
    }
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    max_per_second: u32,
    slower_than: Duration,
    max_events: usize,
    max_bytes: usize,
    max_total_bytes: usize,
}

impl FlightRecorder {
    /// Creates a recorder with default settings.
    pub fn new() -> Self {
        Self {
            filter: "debug".to_owned(),
            limits: Limits {
                max_per_second: 10,
                slower_than: Duration::from_secs(1),
                max_events: 256,
                max_bytes: 64 << 10,
                max_total_bytes: 64 << 20,
            },
            total: Arc::default(),
            output: Arc::default(),
        }
    }

    /// Sets the recorded events, as `RUST_LOG` directives without spans (`[span]`). The target of
    /// the request spans is not needed.
    ///
    /// Events that the filter enables are checked everywhere. Outside of requests each of them
    /// costs about ten nanoseconds.
    ///
    /// Defaults to `debug`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self
    }

    /// Sets the time to the response head above which a request is slow. Without a response head,
    /// the time to the end of the request counts.
    ///
    /// Defaults to 1 s.
    pub fn slower_than(mut self, bound: Duration) -> Self {
        self.limits.slower_than = bound;
        self
    }

    /// Sets the maximum number of recorded events per request. The last events are kept.
    ///
    /// Defaults to 256.
    pub fn max_events(mut self, max: usize) -> Self {
        self.limits.max_events = max;
        self
    }

    /// Sets the maximum size of the events of a request in bytes. The same limit applies to its
    /// spans. A larger event is left out.
    ///
    /// Defaults to 64 KiB.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.limits.max_bytes = max;
        self
    }

    /// Sets the maximum size of all recordings in bytes. Events above it are not recorded.
    ///
    /// Defaults to 64 MiB.
    pub fn max_total_bytes(mut self, max: usize) -> Self {
        self.limits.max_total_bytes = max;
        self
    }

    /// Sets the maximum number of recordings that are written per second. It also limits traces
    /// that are exported only because of their recording. The limit is 1,000.
    ///
    /// Defaults to 10.
    pub fn max_per_second(mut self, max: u32) -> Self {
        self.limits.max_per_second = max.min(MOST_PER_SECOND);
        self
    }

    /// Returns the number of recordings that were discarded because of the rate limit.
    pub(crate) fn suppressed(&self) -> u64 {
        self.output.suppressed.load(Ordering::Relaxed)
    }

    /// Starts the recording of a request.
    pub(crate) fn begin(&self) -> Arc<Ring> {
        Arc::new(Ring {
            limits: self.limits,
            output: Arc::clone(&self.output),
            total: Arc::clone(&self.total),
            has_ended: AtomicBool::new(false),
            is_claimed: AtomicBool::new(false),
            #[cfg(feature = "otlp")]
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            state: Mutex::default(),
        })
    }
}

impl Default for FlightRecorder {
    fn default() -> Self {
        Self::new()
    }
}

/// The recording of a request.
#[derive(Debug)]
pub(crate) struct Ring {
    limits: Limits,
    output: Arc<Output>,
    total: Arc<AtomicUsize>,
    has_ended: AtomicBool,
    is_claimed: AtomicBool,
    #[cfg(feature = "otlp")]
    number: i64,
    state: Mutex<State>,
}

/// The number of the next recording.
#[cfg(feature = "otlp")]
static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(Recorded, Copied)>,
    /// The fields of the events, in order.
    entries: VecDeque<Entry>,
    /// The strings of the events, in order. Strings of removed events may remain at the start.
    texts: String,
    gone_texts: usize,
    bytes: usize,
    /// The part of the total size.
    held: usize,
    /// The number of events that were left out.
    gone: u64,
    /// The spans that are exported with the recording.
    #[cfg(feature = "otlp")]
    spans: Vec<(SpanData, usize)>,
    #[cfg(feature = "otlp")]
    bytes_of_spans: usize,
    /// Whether the recording is written; `None` while the request runs.
    verdict: Option<bool>,
}

/// The end of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Written,
    /// The request succeeded.
    Discarded,
    /// The rate limit was reached. The number counts the discarded events.
    Suppressed(u64),
}

/// An event without its fields.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) origin: Origin<'static>,
    pub(crate) at: SystemTime,
    pub(crate) function: &'static str,
    /// The trace and span id, if they differ from those of the request.
    pub(crate) trace: Option<TraceParent>,
}

/// The approximate size of an event without its fields, in bytes.
const EVENT: usize = 150;

/// The initial capacities for events, fields and bytes.
const FIRST: (usize, usize, usize) = (8, 32, 1_024);

impl Ring {
    /// Returns whether the request has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Adds an event, and removes the oldest events above the limits. The fields are those of the
    /// event and of the spans below the span of the request.
    pub(crate) fn keep(&self, event: Recorded, fields: &Fields) {
        let mut state = self.state();
        if state.verdict.is_some() {
            return;
        }
        if self.total.load(Ordering::Relaxed) > self.limits.max_total_bytes {
            state.gone += 1;
            return;
        }
        if state.texts.capacity() == 0 {
            state.events.reserve(FIRST.0);
            state.entries.reserve(FIRST.1);
            state.texts.reserve(FIRST.2);
        }
        // An event above the limit must not remove all others.
        if EVENT + fields.size() > self.limits.max_bytes {
            state.gone += 1;
            return;
        }
        let State { texts, entries, .. } = &mut *state;
        let copied = fields.copy(texts, entries);
        state.bytes += EVENT + copied.size();
        state.events.push_back((event, copied));
        let Limits {
            max_events,
            max_bytes,
            ..
        } = self.limits;
        while state.events.len() > max_events || state.bytes > max_bytes {
            let Some((_, copied)) = state.take_oldest() else {
                break;
            };
            state.entries.drain(..copied.entries);
            state.gone += 1;
        }
        state.compact();
        self.account(&mut state);
    }

    /// Adds a span that is not sampled. Returns it if the recording is written already, so that it
    /// can be exported.
    #[cfg(feature = "otlp")]
    pub(crate) fn keep_span(&self, span: SpanData, bytes: usize) -> Option<SpanData> {
        let mut state = self.state();
        if state.verdict.is_some() {
            return (state.verdict == Some(true)).then_some(span);
        }
        let has_room = state.bytes_of_spans + bytes <= self.limits.max_bytes;
        let is_full = self.total.load(Ordering::Relaxed) > self.limits.max_total_bytes;
        if has_room && !is_full {
            state.bytes_of_spans += bytes;
            state.spans.push((span, bytes));
            self.account(&mut state);
        }
        None
    }

    /// Claims the recording for a request. Returns whether it was unclaimed.
    pub(crate) fn claim(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::Relaxed)
    }

    /// Returns the unique number of the recording.
    #[cfg(feature = "otlp")]
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Ends the request. `time` is the time to the response head. Requests with an equal `kind`
    /// share a rate limit.
    pub(crate) fn end(&self, is_error: bool, time: Duration, kind: u64, second: u64) -> Verdict {
        let is_bad = is_error || time > self.limits.slower_than;
        self.has_ended.store(true, Ordering::Relaxed);
        let is_written = is_bad && {
            let window = self.output.window.lock();
            let mut window = window.unwrap_or_else(PoisonError::into_inner);
            window.admits(self.limits.max_per_second, kind, second)
        };
        let mut state = self.state();
        if is_written {
            state.verdict = Some(true);
            return Verdict::Written;
        }
        let ended = State {
            held: state.held,
            verdict: Some(false),
            ..State::default()
        };
        let before = std::mem::replace(&mut *state, ended);
        self.account(&mut state);
        // The memory is freed outside of the lock.
        drop(state);
        if !is_bad {
            return Verdict::Discarded;
        }
        self.output.suppressed.fetch_add(1, Ordering::Relaxed);
        Verdict::Suppressed(before.events.len() as u64 + before.gone)
    }

    /// Returns the events with their fields, and the number of events that were left out.
    pub(crate) fn take(&self) -> (Vec<(Recorded, Fields)>, u64) {
        let mut state = self.state();
        let mut events = Vec::with_capacity(state.events.len());
        while let Some((event, copied)) = state.take_oldest() {
            let State {
                texts,
                entries,
                gone_texts,
                ..
            } = &mut *state;
            let texts = &texts[*gone_texts - copied.texts()..];
            let entries = entries.drain(..copied.entries);
            events.push((event, Fields::of_copy(copied, texts, entries)));
        }
        self.account(&mut state);
        (events, std::mem::take(&mut state.gone))
    }

    /// Returns the spans with their sizes.
    #[cfg(feature = "otlp")]
    pub(crate) fn take_spans(&self) -> Vec<(SpanData, usize)> {
        let mut state = self.state();
        state.bytes_of_spans = 0;
        self.account(&mut state);
        std::mem::take(&mut state.spans)
    }

    /// Updates the size.
    fn account(&self, state: &mut State) {
        let taken = state.taken();
        // The difference wraps if the size shrinks.
        let more = taken.wrapping_sub(state.held);
        self.total.fetch_add(more, Ordering::Relaxed);
        state.held = taken;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let held = self.state().held;
        self.total.fetch_sub(held, Ordering::Relaxed);
    }
}

impl State {
    fn taken(&self) -> usize {
        #[cfg(feature = "otlp")]
        return self.bytes + self.bytes_of_spans;
        #[cfg(not(feature = "otlp"))]
        self.bytes
    }

    /// Removes the oldest event, but not its fields.
    fn take_oldest(&mut self) -> Option<(Recorded, Copied)> {
        let (event, copied) = self.events.pop_front()?;
        self.gone_texts += copied.texts();
        self.bytes -= EVENT + copied.size();
        Some((event, copied))
    }

    /// Frees the strings of removed events once they are the greater part.
    fn compact(&mut self) {
        if self.gone_texts > self.texts.len() / 2 {
            self.texts.drain(..self.gone_texts);
            self.gone_texts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_limited_by_kind_and_second() {
        let recorder = FlightRecorder::new().max_per_second(5);
        let end = |kind, second| recorder.begin().end(true, Duration::ZERO, kind, second);
        let written = |kind, second| end(kind, second) == Verdict::Written;
        let first: Vec<_> = (0..5).map(|_| written(1, 7)).collect();
        assert_eq!(first, [true, true, true, false, false]);
        let others: Vec<_> = (2..6).map(|kind| written(kind, 7)).collect();
        assert_eq!(others, [true, true, false, false]);
        assert!(written(1, 8));
        assert_eq!(recorder.suppressed(), 4);
        // A request that succeeded counts nowhere.
        let well = recorder.begin().end(false, Duration::ZERO, 1, 8);
        assert_eq!(well, Verdict::Discarded);
        assert_eq!(recorder.suppressed(), 4);
        // A thread may come late with the second before; a clock may be set back.
        let at_border = [written(1, 8), written(1, 8), written(1, 7), written(1, 8)];
        assert_eq!(at_border, [true, true, false, false]);
        assert!(written(1, 3));
        let none = FlightRecorder::new().max_per_second(0);
        let verdict = none.begin().end(true, Duration::ZERO, 1, 8);
        assert_eq!(verdict, Verdict::Suppressed(0));
    }
}
