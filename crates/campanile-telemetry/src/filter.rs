use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use campanile_correlation::{Correlation, CorrelationId};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Context, Layer};

/// Which events the log has: a [`Layer`] that can be changed while the service runs; from [`Telemetry::filter`](crate::Telemetry::filter).
///
/// As a layer beside others it holds for all of them.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct LogFilter(Arc<Inner>);

struct Inner {
    /// The directives to which it falls back.
    usual: String,
    current: RwLock<EnvFilter>,
    begun: Instant,
    /// When it falls back, in nanoseconds since the beginning; 0 for never.
    until: AtomicU64,
    /// What holds for single requests.
    requests: RwLock<Vec<Request>>,
    has_requests: AtomicBool,
}

/// What holds for a request until some time.
struct Request {
    id: CorrelationId,
    filter: EnvFilter,
    until: u64,
}

/// The most requests that something of their own holds for.
const MAX_REQUESTS: usize = 100;

impl LogFilter {
    pub(crate) fn new(directives: &str) -> Result<Self, ParseError> {
        Ok(Self(Arc::new(Inner {
            usual: directives.to_owned(),
            current: RwLock::new(EnvFilter::try_new(directives)?),
            begun: now(),
            until: AtomicU64::new(0),
            requests: RwLock::default(),
            has_requests: AtomicBool::new(false),
        })))
    }

    /// Changes which events the log has, for a time: afterwards it is as it was when it was built. A second call replaces the first.
    ///
    /// It falls back with the first event after the time that is told of, which the log still has.
    ///
    /// # Errors
    ///
    /// If the directives can't be read: then nothing changes.
    pub fn set(&self, directives: &str, time: Duration) -> Result<(), InvalidDirectives> {
        let filter = parsed(directives)?;
        let until = self.elapsed().saturating_add(nanoseconds(time)).max(1);
        self.replace(filter);
        self.0.until.store(until, Ordering::Relaxed);
        Ok(())
    }

    /// Lets the log have more events of the requests with a correlation id, for a time: those of these directives besides those that it has
    /// anyway. It holds for 100 ids at most; a further one takes the place of the first.
    ///
    /// # Errors
    ///
    /// If the directives can't be read: then nothing changes.
    pub fn set_for(
        &self,
        id: CorrelationId,
        directives: &str,
        time: Duration,
    ) -> Result<(), InvalidDirectives> {
        let filter = parsed(directives)?;
        let now = self.elapsed();
        let until = now.saturating_add(nanoseconds(time)).max(1);
        let request = Request { id, filter, until };
        let gone = {
            let mut requests = self.requests_to_change();
            requests.retain(|other| other.id != request.id && other.until > now);
            let gone = (requests.len() >= MAX_REQUESTS).then(|| requests.remove(0));
            requests.push(request);
            gone
        };
        drop(gone);
        self.0.has_requests.store(true, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Makes it as it was when it was built.
    pub fn reset(&self) {
        self.requests_to_change().clear();
        self.0.has_requests.store(false, Ordering::Relaxed);
        self.back_to_usual();
    }

    fn back_to_usual(&self) {
        self.0.until.store(0, Ordering::Relaxed);
        // It was read before.
        self.replace(EnvFilter::try_new(&self.0.usual).unwrap_or_default());
    }

    fn replace(&self, filter: EnvFilter) {
        let current = self.0.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = filter;
        // Not under the lock, since each callsite is asked about anew.
        tracing::callsite::rebuild_interest_cache();
    }

    fn current(&self) -> RwLockReadGuard<'_, EnvFilter> {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner)
    }

    fn requests_to_change(&self) -> RwLockWriteGuard<'_, Vec<Request>> {
        let requests = self.0.requests.write();
        requests.unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a closure with what holds for the request that this thread works for, if anything does.
    fn for_request<T>(&self, then: impl FnOnce(&EnvFilter) -> T) -> Option<T> {
        if !self.0.has_requests.load(Ordering::Relaxed) {
            return None;
        }
        let current = Correlation::current();
        let id = current.id()?;
        let requests = self.0.requests.read();
        let requests = requests.unwrap_or_else(PoisonError::into_inner);
        let request = requests.iter().find(|request| request.id == *id)?;
        (request.until > self.elapsed()).then(|| then(&request.filter))
    }

    fn elapsed(&self) -> u64 {
        nanoseconds(now().saturating_duration_since(self.0.begun))
    }

    /// Falls back once it is time.
    fn fall_back(&self) {
        let until = &self.0.until;
        let at = until.load(Ordering::Relaxed);
        if at == 0 || self.elapsed() < at {
            return;
        }
        // Unless somebody else does, or has set something new.
        let mine = until.compare_exchange(at, 0, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            self.back_to_usual();
        }
    }

    /// Forgets requests whose time is over, and with the last of them that there are any.
    fn forget_requests(&self) {
        if !self.0.has_requests.load(Ordering::Relaxed) {
            return;
        }
        let now = self.elapsed();
        let is_over = {
            let requests = self.0.requests.read();
            let requests = requests.unwrap_or_else(PoisonError::into_inner);
            requests.iter().all(|request| request.until <= now)
        };
        if is_over {
            let mut requests = self.requests_to_change();
            requests.retain(|request| request.until > now);
            self.0
                .has_requests
                .store(!requests.is_empty(), Ordering::Relaxed);
            drop(requests);
            tracing::callsite::rebuild_interest_cache();
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a filter holds is asked for where it filters"
    )]
    Instant::now()
}

impl<S: Subscriber> Layer<S> for LogFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Layer::<S>::register_callsite(&*self.current(), metadata);
        if interest.is_never() && self.0.has_requests.load(Ordering::Relaxed) {
            return Interest::sometimes();
        }
        interest
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.current().enabled(metadata, context.clone())
            || self
                .for_request(|filter| filter.enabled(metadata, context))
                .unwrap_or(false)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.0.has_requests.load(Ordering::Relaxed) {
            return Some(LevelFilter::TRACE);
        }
        Layer::<S>::max_level_hint(&*self.current())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.current().on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.current().on_record(id, values, context);
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.fall_back();
        self.forget_requests();
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.current().on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.current().on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.current().on_close(id, context);
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter")
            .field(&self.current().to_string())
            .finish()
    }
}

fn parsed(directives: &str) -> Result<EnvFilter, InvalidDirectives> {
    EnvFilter::try_new(directives).map_err(|error| InvalidDirectives {
        directives: directives.to_owned(),
        reason: error.to_string(),
    })
}

/// Directives can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the directives {directives:?} are not valid ({reason}): give them as RUST_LOG has them, such as `info,orders=debug`"
)]
#[non_exhaustive]
pub struct InvalidDirectives {
    /// The directives as given.
    pub directives: String,
    /// What is wrong with them.
    pub reason: String,
}
