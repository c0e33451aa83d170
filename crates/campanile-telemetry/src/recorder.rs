use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use campanile_correlation::TraceParent;
use tracing::Metadata;

use crate::fields::{Copied, Entry, Fields};

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
/// A request that [`HttpSpans`](crate::HttpSpans) has a span for ends badly if its line is at ERROR, or if it took longer than a bound (an event
/// stream: to its head). Then all
/// events that are kept are written, in their order, with the time at which they came and the field `recorded`, before the line that tells of its
/// end; and its trace is exported even if it was not to be. Of any other request they are thrown away.
///
/// Events of tasks and threads are kept too where they are in the request's span, or one below it. A request within another one is recorded with
/// it. For all this the subscriber needs the telemetry's [filter](crate::Telemetry::filter) beside its layer, as `install` does it.
///
/// | setting | default |
/// |---|---|
/// | [`filter`](Self::filter) | `debug` |
/// | [`slower_than`](Self::slower_than) | 1 s |
/// | [`max_events`](Self::max_events) | 256 for each request |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB for each request |
/// | [`max_total_bytes`](Self::max_total_bytes) | 64 MiB for all requests |
#[derive(Clone, Debug)]
#[must_use = "a recorder works once a telemetry is built with it"]
pub struct FlightRecorder {
    pub(crate) filter: String,
    limits: Limits,
    /// What all requests take.
    total: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
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
                slower_than: Duration::from_secs(1),
                max_events: 256,
                max_bytes: 64 << 10,
                max_total_bytes: 64 << 20,
            },
            total: Arc::default(),
        }
    }

    /// Sets which events are kept, by level and target as `RUST_LOG` has it, but for directives of spans (`[span]`).
    ///
    /// It raises the level up to which events are looked at: those of this level cost some ten nanoseconds outside of requests too.
    ///
    /// Defaults to `debug`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self
    }

    /// Sets how long a request may take before it has ended badly.
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

    /// Sets how many bytes of a request's events are kept, and as many of its spans.
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

    /// Begins to record a request.
    pub(crate) fn begin(&self) -> Arc<Ring> {
        Arc::new(Ring {
            limits: self.limits,
            total: Arc::clone(&self.total),
            has_ended: AtomicBool::new(false),
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
    total: Arc<AtomicUsize>,
    has_ended: AtomicBool,
    state: Mutex<State>,
}

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
    spans: Vec<Vec<u8>>,
    #[cfg(feature = "otlp")]
    bytes_of_spans: usize,
    /// Whether it has ended badly, once it has ended.
    verdict: Option<bool>,
}

/// What an event says besides its texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) metadata: &'static Metadata<'static>,
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

    /// Keeps a span that is not exported so far; gives it back if it is to be.
    #[cfg(feature = "otlp")]
    pub(crate) fn keep_span(&self, span: &[u8]) -> bool {
        let mut state = self.state();
        let has_room = state.bytes_of_spans + span.len() <= self.limits.max_bytes;
        let is_full = self.total.load(Ordering::Relaxed) > self.limits.max_total_bytes;
        if state.verdict.is_none() && has_room && !is_full {
            state.bytes_of_spans += span.len();
            state.spans.push(span.to_vec());
            self.account(&mut state);
        }
        state.verdict == Some(true)
    }

    /// Ends the request; returns whether it has ended badly.
    pub(crate) fn end(&self, is_error: bool, total: Duration) -> bool {
        let is_bad = is_error || total > self.limits.slower_than;
        self.has_ended.store(true, Ordering::Relaxed);
        let mut state = self.state();
        if is_bad {
            state.verdict = Some(true);
        } else {
            let ended = State {
                held: state.held,
                verdict: Some(false),
                ..State::default()
            };
            let before = std::mem::replace(&mut *state, ended);
            self.account(&mut state);
            // It is let go of outside of the lock.
            drop(state);
            drop(before);
        }
        is_bad
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

    /// Takes the spans out.
    #[cfg(feature = "otlp")]
    pub(crate) fn take_spans(&self) -> Vec<Vec<u8>> {
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
