//! The directives of a [`LogFilter`](super::LogFilter), and the decisions that follow from them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::Thread;
use std::time::Instant;

use campanile_correlation::CorrelationId;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

use super::directives::{self, knows_spans};
use super::disposition::{Disposition, RecordingSite, announce, announced};
use crate::key_cache::HTTP_TARGET;
use crate::span::nearest_request;

pub(super) struct State {
    /// The directives that the filter was built with.
    base: String,
    /// An `Arc`, so that no lock is held while the filter reads a span: formatting a field may log.
    current: RwLock<Arc<EnvFilter>>,
    /// Whether `current` has directives for spans, such as `[request]=debug`. Only then are span
    /// callbacks passed to it.
    knows_spans: AtomicBool,
    /// Directives that add events until an instant.
    raised: RwLock<Option<(Arc<EnvFilter>, Instant)>>,
    requests: RwLock<Vec<RequestOverride>>,
    has_requests: AtomicBool,
    /// The directives of the flight recorder.
    recorded: Option<EnvFilter>,
    /// Whether a subscriber uses the filter.
    pub(super) is_used: AtomicBool,
    timer: Mutex<Timer>,
    /// Writes a line about a change to the log.
    notice: OnceLock<Notice>,
}

type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// The thread that ends overrides.
#[derive(Default)]
pub(super) struct Timer {
    /// The end of the override of `current`.
    pub(super) until: Option<Instant>,
    pub(super) thread: Option<Thread>,
}

/// Directives that add events of the requests with one correlation id.
struct RequestOverride {
    id: CorrelationId,
    filter: Arc<EnvFilter>,
    until: Instant,
}

/// The limit of correlation ids with directives.
const MAX_REQUESTS: usize = 100;

impl State {
    pub(super) fn new(directives: &str, recorded: Option<EnvFilter>) -> Result<Self, ParseError> {
        let base = directives::parse(directives)?;
        Ok(Self {
            base: directives.to_owned(),
            knows_spans: AtomicBool::new(knows_spans(&base)),
            current: RwLock::new(Arc::new(base)),
            raised: RwLock::default(),
            requests: RwLock::default(),
            has_requests: AtomicBool::new(false),
            recorded,
            is_used: AtomicBool::new(false),
            timer: Mutex::default(),
            notice: OnceLock::new(),
        })
    }

    /// Sets the function that writes a line about each change. A second call has no effect.
    pub(super) fn on_change(&self, notice: Notice) {
        let _ = self.notice.set(notice);
    }

    /// Writes a line about a change. The caller holds the timer's lock, so lines are in the order
    /// of the changes.
    pub(super) fn notify(&self, notice: &str) {
        if let Some(write) = self.notice.get() {
            write(notice);
        }
    }

    pub(super) fn timer(&self) -> MutexGuard<'_, Timer> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current(&self) -> Arc<EnvFilter> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn knows_spans(&self) -> bool {
        self.knows_spans.load(Ordering::Relaxed)
    }

    fn raised(&self) -> Option<Arc<EnvFilter>> {
        let raised = self.raised.read();
        let raised = raised.unwrap_or_else(PoisonError::into_inner);
        raised.as_ref().map(|(filter, _)| Arc::clone(filter))
    }

    fn requests(&self) -> RwLockReadGuard<'_, Vec<RequestOverride>> {
        let requests = self.requests.read();
        requests.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes.
impl State {
    pub(super) fn replace(&self, filter: EnvFilter) {
        self.knows_spans
            .store(knows_spans(&filter), Ordering::Relaxed);
        let current = self.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(filter);
    }

    pub(super) fn raise(&self, filter: EnvFilter, until: Instant) {
        let raised = self.raised.write();
        *raised.unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(filter), until));
    }

    /// Adds directives for a correlation id. If there are 100 ids, the oldest override ends.
    pub(super) fn add_request(&self, id: CorrelationId, filter: EnvFilter, until: Instant) {
        let requests = self.requests.write();
        let mut requests = requests.unwrap_or_else(PoisonError::into_inner);
        requests.retain(|request| request.id != id);
        if requests.len() >= MAX_REQUESTS {
            requests.remove(0);
        }
        requests.push(RequestOverride {
            id,
            filter: Arc::new(filter),
            until,
        });
        drop(requests);
        self.has_requests.store(true, Ordering::Relaxed);
    }

    /// Removes all overrides.
    pub(super) fn reset(&self, timer: &mut Timer) {
        timer.until = None;
        let requests = self.requests.write();
        requests.unwrap_or_else(PoisonError::into_inner).clear();
        let raised = self.raised.write();
        *raised.unwrap_or_else(PoisonError::into_inner) = None;
        self.has_requests.store(false, Ordering::Relaxed);
        self.replace_by_base();
        self.notify(&format!("log filter reset to {:?}", self.base));
    }

    fn replace_by_base(&self) {
        // The directives were parsed before.
        self.replace(directives::parse(&self.base).unwrap_or_default());
    }

    /// Removes the overrides that have ended. Returns the next end, and whether anything changed.
    pub(super) fn expire(&self, timer: &mut Timer, now: Instant) -> (Option<Instant>, bool) {
        let mut has_changed = false;
        if timer.until.is_some_and(|until| until <= now) {
            timer.until = None;
            self.replace_by_base();
            has_changed = true;
        }
        let raised = self.raised.write();
        let mut raised = raised.unwrap_or_else(PoisonError::into_inner);
        if raised.take_if(|(_, until)| *until <= now).is_some() {
            has_changed = true;
        }
        let until_raised = raised.as_ref().map(|(_, until)| *until);
        drop(raised);
        let requests = self.requests.write();
        let mut requests = requests.unwrap_or_else(PoisonError::into_inner);
        let before = requests.len();
        requests.retain(|request| request.until > now);
        has_changed |= requests.len() < before;
        self.has_requests
            .store(!requests.is_empty(), Ordering::Relaxed);
        let next = requests.iter().map(|request| request.until);
        let next = next.chain(timer.until).chain(until_raised).min();
        (next, has_changed)
    }
}

/// Decisions.
impl State {
    /// Returns what the layer does with an event that has just arrived.
    pub(super) fn disposition<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Disposition
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // If the application filters the layer itself, everything is written.
        if self.recorded.is_none() || !self.is_used.load(Ordering::Relaxed) {
            return Disposition::Write;
        }
        let metadata = event.metadata();
        if let Some(place) = announced(&metadata.callsite()) {
            return Disposition::Record(place);
        }
        // The event is written, unless the announcement was lost: formatting its values may log.
        let of_record = event.normalized_metadata();
        if self.wants(of_record.as_ref().unwrap_or(metadata), context) {
            return Disposition::Write;
        }
        let place = context
            .event_span(event)
            .and_then(|span| RecordingSite::of(&span));
        place.map_or(Disposition::Discard, Disposition::Record)
    }

    pub(super) fn is_enabled<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if self.wants(metadata, context) {
            if self.recorded.is_some() {
                announce(None);
            }
            return true;
        }
        self.records(metadata, context)
    }

    pub(super) fn interest(&self, metadata: &'static Metadata<'static>) -> Interest {
        let of = |filter: &EnvFilter| Layer::<Registry>::register_callsite(filter, metadata);
        let interest = of(&self.current());
        let has_others = || {
            let is_raised = || self.raised().is_some_and(|all| !of(&all).is_never());
            let recorded = self.recorded.as_ref();
            let requests = self.requests();
            requests
                .iter()
                .any(|request| !of(&request.filter).is_never())
                || is_raised()
                || recorded.is_some_and(|all| is_request(metadata) || !of(all).is_never())
        };
        if interest.is_never() && has_others() {
            return Interest::sometimes();
        }
        interest
    }

    pub(super) fn max_level(&self) -> Option<LevelFilter> {
        // `None` means every level.
        let mut level = self.current().max_level_hint()?;
        for request in self.requests().iter() {
            level = level.max(request.filter.max_level_hint()?);
        }
        if let Some(raised) = self.raised() {
            level = level.max(raised.max_level_hint()?);
        }
        if let Some(recorded) = &self.recorded {
            // The span of a request is always enabled.
            let recorded = recorded.max_level_hint()?;
            level = level.max(recorded).max(LevelFilter::INFO);
        }
        Some(level)
    }

    /// Returns whether an event is written.
    fn wants<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_enabled = {
            // No code of the application runs under the lock.
            let current = self.current.read();
            let current = current.unwrap_or_else(PoisonError::into_inner);
            current.enabled(metadata, context.clone())
        };
        let for_request = || {
            let filter = self.for_request(context);
            filter.is_some_and(|filter| filter.enabled(metadata, context.clone()))
        };
        let is_raised = || {
            let raised = self.raised();
            raised.is_some_and(|filter| filter.enabled(metadata, context.clone()))
        };
        is_enabled || is_raised() || for_request()
    }

    /// Returns the directives for the request that this thread works for. The nearest request span
    /// decides, as it does for the correlation id of a line, or else the id that the task carries.
    fn for_request<S>(&self, context: &Context<'_, S>) -> Option<Arc<EnvFilter>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if !self.has_requests.load(Ordering::Relaxed) {
            return None;
        }
        let of_span = context
            .lookup_current()
            .and_then(|span| nearest_request(&span));
        let id = of_span.or_else(CorrelationId::current)?;
        let requests = self.requests();
        let request = requests.iter().find(|request| request.id == id)?;
        Some(Arc::clone(&request.filter))
    }

    /// Returns whether the flight recorder needs an event of a request, or the request's span.
    fn records<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(recorded) = &self.recorded else {
            return false;
        };
        if metadata.is_span() {
            return is_request(metadata);
        }
        if !recorded.enabled(metadata, context.clone()) {
            return false;
        }
        let Some(place) = context
            .lookup_current()
            .and_then(|span| RecordingSite::of(&span))
        else {
            return false;
        };
        announce(Some((metadata.callsite(), place)));
        true
    }
}

/// Returns whether metadata are those of a request's span.
fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == HTTP_TARGET
}

impl Drop for State {
    fn drop(&mut self) {
        // The thread ends, since no override is left.
        if let Some(thread) = self.timer().thread.take() {
            thread.unpark();
        }
    }
}
