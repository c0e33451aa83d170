use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use campanile_correlation::TraceParent;
#[cfg(feature = "otlp")]
use opentelemetry_sdk::trace::SpanData;

use crate::fields::{Copied, Entry, Fields};
use crate::origin::Origin;

/// What of a request's events that the log doesn't have is kept until it ends, and written then if it ended badly.
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
/// A request that [`HttpSpans`](crate::HttpSpans) has a span for ends badly if its line is at
/// ERROR, or if the service took longer than a bound to return the head of the response. A client
/// that sends or reads a body slowly makes no request slow. Then all kept events are written, in
/// their order, with the time at which they came and the field `recorded`. They come before the
/// line of the request. Its trace is exported even if it was not sampled. The events of any other
/// request are discarded.
///
/// The number of recordings that are written is limited: at most 3 in a second for one route and one `error.type`, and at most
/// [`max_per_second`](Self::max_per_second) for all. Another recording is discarded. [`LogStats`](crate::LogStats) counts it, and the
/// line of its request has the number of its events in `recorded_events_gone`.
///
/// Events of tasks and threads are kept too where they have entered the request's span, or one below it; an explicit `parent:` is not
/// enough. A request within another one is recorded with
/// it. For all this the subscriber needs the telemetry's [filter](crate::Telemetry::filter), for its layer or beside it. Where the filter is for
/// the layer alone, no other layer sees the events that are only recorded; where it is a layer beside others, they all see them.
///
/// The span of a request is always made, whatever the filters say. Spans within a request are made only if the log's filter wants them.
///
/// | setting | default |
/// |---|---|
/// | [`filter`](Self::filter) | `debug` |
/// | [`slower_than`](Self::slower_than) | 1 s |
/// | [`max_events`](Self::max_events) | 256 for each request |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB for each request |
/// | [`max_total_bytes`](Self::max_total_bytes) | 64 MiB for all requests |
/// | [`max_per_second`](Self::max_per_second) | 10 recordings |
#[derive(Clone, Debug)]
#[must_use = "a recorder works once a telemetry is built with it"]
pub struct FlightRecorder {
    pub(crate) filter: String,
    limits: Limits,
    /// What all requests take.
    total: Arc<AtomicUsize>,
    output: Arc<Output>,
}

/// The recordings that were written lately, and how many were not.
#[derive(Debug, Default)]
struct Output {
    window: Mutex<Window>,
    suppressed: AtomicU64,
}

/// The recordings that were written in a second.
#[derive(Debug, Default)]
struct Window {
    second: u64,
    written: u32,
    /// How many there were of each kind. There are no more kinds than recordings.
    kinds: Vec<(u64, u32)>,
}

/// The limit of recordings of one kind in a second. Further ones would repeat them.
const PER_KIND: u32 = 3;

/// The limit of the limit.
const MOST_PER_SECOND: u32 = 1_000;

impl Window {
    fn admits(&mut self, max: u32, kind: u64, second: u64) -> bool {
        // A request that read the clock just before the second ended counts in the new one. If it
        // began a window, that would empty the count at each end of a second.
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
    /// Returns a recorder with all settings at their defaults.
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

    /// Sets which events are kept, by level and target as `RUST_LOG` has it, but for directives of spans (`[span]`). The target of
    /// requests' spans need not be among them.
    ///
    /// It raises the level up to which events are looked at: those of this level cost some ten nanoseconds outside of requests too.
    ///
    /// Defaults to `debug`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self
    }

    /// Sets how long the service may take to return the head of the response before the request has ended badly. If there is no head,
    /// the time to the end of the request counts.
    ///
    /// Defaults to 1 s.
    pub fn slower_than(mut self, bound: Duration) -> Self {
        self.limits.slower_than = bound;
        self
    }

    /// Sets how many events of a request are kept: the last ones.
    ///
    /// Defaults to 256.
    pub fn max_events(mut self, max: usize) -> Self {
        self.limits.max_events = max;
        self
    }

    /// Sets how many bytes of a request's events are kept, and as many of its spans. An event that is larger by itself is left out.
    ///
    /// Defaults to 64 KiB.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.limits.max_bytes = max;
        self
    }

    /// Sets how many bytes are kept of all requests that are in progress; what is more is not kept.
    ///
    /// Defaults to 64 MiB.
    pub fn max_total_bytes(mut self, max: usize) -> Self {
        self.limits.max_total_bytes = max;
        self
    }

    /// Sets the maximum number of recordings that are written in a second, at most 1,000. It also limits the traces that are exported
    /// only because their requests ended badly.
    ///
    /// Defaults to 10.
    pub fn max_per_second(mut self, max: u32) -> Self {
        self.limits.max_per_second = max.min(MOST_PER_SECOND);
        self
    }

    /// Returns how many recordings were not written because there were too many.
    pub(crate) fn suppressed(&self) -> u64 {
        self.output.suppressed.load(Ordering::Relaxed)
    }

    /// Begins to record a request.
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

/// What is kept of a request.
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
    /// The fields of the events, one event after another.
    entries: VecDeque<Entry>,
    /// Their texts, likewise; those of events that are gone may still be at its beginning.
    texts: String,
    gone_texts: usize,
    bytes: usize,
    /// What the total has of it.
    held: usize,
    /// How many events there was no room for.
    gone: u64,
    /// The spans that are exported if it ends badly.
    #[cfg(feature = "otlp")]
    spans: Vec<(SpanData, usize)>,
    #[cfg(feature = "otlp")]
    bytes_of_spans: usize,
    /// Whether it has ended badly, once it has ended.
    verdict: Option<bool>,
}

/// What becomes of what was kept of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Written,
    /// The request ended well.
    Discarded,
    /// Too many others were written. The number is that of the events that are lost.
    Suppressed(u64),
}

/// What an event says besides its texts.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) origin: Origin<'static>,
    pub(crate) at: SystemTime,
    pub(crate) function: &'static str,
    /// The place of its span, if that is another than the request's.
    pub(crate) trace: Option<TraceParent>,
}

/// What an event takes besides its fields, about.
const EVENT: usize = 150;

/// What a request takes before it is known how much it needs.
const FIRST: (usize, usize, usize) = (8, 32, 1_024);

impl Ring {
    /// Returns whether the request has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Keeps an event, in place of the oldest ones if there is no room. The fields are its own, and those of spans below the request's.
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
        // One that has no room by itself must not take that of all others.
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

    /// Keeps a span that is not exported so far. Gives it back if the request has ended badly: it is exported then.
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

    /// Returns whether no request has claimed it yet: the one that it was begun for does so first.
    pub(crate) fn claim(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::Relaxed)
    }

    /// Returns a number that no other has.
    #[cfg(feature = "otlp")]
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Ends the request. `time` is what the service took, `kind` what such requests have in common.
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
        // It is let go of outside of the lock.
        drop(state);
        if !is_bad {
            return Verdict::Discarded;
        }
        self.output.suppressed.fetch_add(1, Ordering::Relaxed);
        Verdict::Suppressed(before.events.len() as u64 + before.gone)
    }

    /// Takes the events out, with their fields, and how many of them are gone.
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

    /// Takes the spans out, and what each takes.
    #[cfg(feature = "otlp")]
    pub(crate) fn take_spans(&self) -> Vec<(SpanData, usize)> {
        let mut state = self.state();
        state.bytes_of_spans = 0;
        self.account(&mut state);
        std::mem::take(&mut state.spans)
    }

    /// Takes note of what it takes now.
    fn account(&self, state: &mut State) {
        let taken = state.taken();
        // It wraps where it is less than before.
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

    /// Takes the oldest event out, but for its fields, which come first.
    fn take_oldest(&mut self) -> Option<(Recorded, Copied)> {
        let (event, copied) = self.events.pop_front()?;
        self.gone_texts += copied.texts();
        self.bytes -= EVENT + copied.size();
        Some((event, copied))
    }

    /// Gives back what texts of events that are gone take, once they are the greater part.
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
        // One that ended well counts nowhere.
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
