use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::Metadata;

use crate::fields::Fields;
use crate::line::Ids;

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
/// A request that [`HttpSpans`](crate::HttpSpans) has a span for ends badly if its line is at ERROR, or if it took longer than a bound. Then all
/// events that are kept are written, in their order, with the time at which they came and the field `recorded`, before the line that tells of its
/// end; and its trace is exported even if it was not to be. Of any other request they are thrown away.
///
/// Events of tasks and threads are kept too where they have the request's span, or one below it.
///
/// | setting | default |
/// |---|---|
/// | [`filter`](Self::filter) | `debug` |
/// | [`slower_than`](Self::slower_than) | 1 s |
/// | [`max_events`](Self::max_events) | 256 for each request |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB for each request |
#[derive(Clone, Debug)]
#[must_use = "a recorder works once a telemetry is built with it"]
pub struct FlightRecorder {
    pub(crate) filter: String,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    slower_than: Duration,
    max_events: usize,
    max_bytes: usize,
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
            },
        }
    }

    /// Sets which events are kept, by level and target as `RUST_LOG` has it.
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

    /// Begins to record a request.
    pub(crate) fn begin(&self) -> Arc<Ring> {
        Arc::new(Ring {
            limits: self.limits,
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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Recorded>,
    bytes: usize,
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

/// An event that is kept.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) at: SystemTime,
    pub(crate) function: &'static str,
    pub(crate) ids: Ids,
    /// Its own, and those of spans below the request's.
    pub(crate) fields: Fields,
}

/// What an event takes besides its texts, about.
const EVENT: usize = 300;

impl Recorded {
    fn size(&self) -> usize {
        EVENT + self.fields.size()
    }
}

impl Ring {
    /// Returns whether events are kept.
    pub(crate) fn is_open(&self) -> bool {
        self.state().verdict.is_none()
    }

    /// Keeps an event, in place of the oldest ones if there is no room.
    pub(crate) fn keep(&self, event: Recorded) {
        let mut state = self.state();
        if state.verdict.is_some() {
            return;
        }
        state.bytes += event.size();
        state.events.push_back(event);
        let Limits {
            max_events,
            max_bytes,
            ..
        } = self.limits;
        while state.events.len() > max_events || state.bytes > max_bytes {
            let Some(oldest) = state.events.pop_front() else {
                break;
            };
            state.bytes -= oldest.size();
            state.gone += 1;
        }
    }

    /// Keeps a span that is not exported so far; gives it back if it is to be.
    #[cfg(feature = "otlp")]
    pub(crate) fn keep_span(&self, span: &[u8]) -> bool {
        let mut state = self.state();
        let has_room = state.bytes_of_spans + span.len() <= self.limits.max_bytes;
        if state.verdict.is_none() && has_room {
            state.bytes_of_spans += span.len();
            state.spans.push(span.to_vec());
        }
        state.verdict == Some(true)
    }

    /// Ends the request; returns whether it has ended badly.
    pub(crate) fn end(&self, is_error: bool, total: Duration) -> bool {
        let is_bad = is_error || total > self.limits.slower_than;
        let mut state = self.state();
        state.verdict = Some(is_bad);
        if !is_bad {
            let State { events, .. } = std::mem::take(&mut *state);
            state.verdict = Some(false);
            drop(state);
            // They are let go of outside of the lock.
            drop(events);
        }
        is_bad
    }

    /// Takes the events out, and how many of them are gone.
    pub(crate) fn take(&self) -> (VecDeque<Recorded>, u64) {
        let mut state = self.state();
        (
            std::mem::take(&mut state.events),
            std::mem::take(&mut state.gone),
        )
    }

    /// Takes the spans out.
    #[cfg(feature = "otlp")]
    pub(crate) fn take_spans(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state().spans)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
