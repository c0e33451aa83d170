use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use campanile_correlation::CorrelationId;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

use crate::clock;
use crate::span::nearest_request;

pub(crate) mod directives;
mod fate;
mod layer;

pub use self::directives::InvalidDirectives;
use self::directives::{knows_spans, parsed, without_spans};
use self::fate::note;
pub(crate) use self::fate::{Fate, Place};

/// A filter that selects the events of the log and can be changed while the service runs; from
/// [`Telemetry::filter`](crate::Telemetry::filter).
///
/// It is a [`Filter`](tracing_subscriber::layer::Filter) for one layer, that of
/// [`Telemetry::layer`](crate::Telemetry::layer): other layers of the subscriber then have filters of
/// their own and see no event that is only [recorded](crate::FlightRecorder).
///
/// ```
/// use campanile_telemetry::Telemetry;
/// use tracing_subscriber::Layer;
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # struct Other;
/// # impl<S: tracing::Subscriber> Layer<S> for Other {}
/// # let other_layer = Other;
/// let telemetry = Telemetry::builder("orders").filter("info,orders=debug").build()?;
/// let subscriber = tracing_subscriber::registry()
///     .with(other_layer.with_filter(LevelFilter::WARN))
///     .with(telemetry.layer().with_filter(telemetry.filter()));
/// # let _ = subscriber;
/// # Ok::<_, campanile_telemetry::BuildError>(())
/// ```
///
/// It is also a [`Layer`]. As a layer it applies to all layers of the subscriber: they see what the log has and what is recorded, and
/// nothing else.
///
/// While directives are set for a time, the thread `campanile-filter` waits for the end of that time.
///
/// A clone is the same (an `Arc`).
#[derive(Clone)]
pub struct LogFilter(Arc<Inner>);

struct Inner {
    /// The directives to which it falls back.
    usual: String,
    /// An `Arc`, since it is not told of spans under a lock: what it formats may log.
    current: RwLock<Arc<EnvFilter>>,
    /// Whether it has directives for spans, such as `[request]=debug`: any other needs not to be told of them.
    knows_spans: AtomicBool,
    /// What the log has besides, until some time.
    raised: RwLock<Option<(Arc<EnvFilter>, Instant)>>,
    requests: RwLock<Vec<Request>>,
    has_requests: AtomicBool,
    /// What is recorded of requests besides.
    recorded: Option<EnvFilter>,
    /// Whether a subscriber has it.
    is_used: AtomicBool,
    timer: Mutex<Timer>,
    /// Writes a line about a change to the log.
    notice: OnceLock<Notice>,
}

type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// What waits for the end of what was set for a time.
#[derive(Default)]
struct Timer {
    /// When the usual directives hold again.
    until: Option<Instant>,
    thread: Option<Thread>,
}

/// The directives for a correlation id.
struct Request {
    id: CorrelationId,
    filter: Arc<EnvFilter>,
    until: Instant,
}

/// The limit of correlation ids with directives.
const MAX_REQUESTS: usize = 100;

/// The limit of the time for which directives are set.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl LogFilter {
    pub(crate) fn new(directives: &str, recorded: Option<EnvFilter>) -> Result<Self, ParseError> {
        let usual = directives::parse(directives)?;
        Ok(Self(Arc::new(Inner {
            usual: directives.to_owned(),
            knows_spans: AtomicBool::new(knows_spans(&usual)),
            current: RwLock::new(Arc::new(usual)),
            raised: RwLock::default(),
            requests: RwLock::default(),
            has_requests: AtomicBool::new(false),
            recorded,
            is_used: AtomicBool::new(false),
            timer: Mutex::default(),
            notice: OnceLock::new(),
        })))
    }

    /// Sets what writes a line about each change. A second call has no effect.
    pub(crate) fn on_change(&self, notice: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.0.notice.set(Box::new(notice));
    }

    /// Replaces the directives for a time, a day at most: afterwards they are those that the filter
    /// was built with. A second call replaces the first. The log has a line about each change of
    /// the filter, whatever its directives.
    ///
    /// A list without a level of its own, such as `orders=debug`, disables all other targets, their errors included. Use
    /// [`raise`](Self::raise) to see more of one target.
    ///
    /// In a span that was there before, directives for spans (`[span]`) hold only once it is entered again; those that the filter was
    /// built with hold for spans that are made after the end of the time.
    ///
    /// # Errors
    ///
    /// If the directives can't be read: then nothing changes.
    pub fn set(&self, directives: &str, time: Duration) -> Result<(), InvalidDirectives> {
        let filter = parsed(directives)?;
        {
            let mut timer = self.0.timer();
            timer.until = Some(clock::instant() + time.min(LONGEST));
            self.0.replace(filter);
            self.wait(&mut timer);
            self.0.notify(&format!(
                "log filter set to {directives:?} for {:?}",
                time.min(LONGEST)
            ));
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Lets the log have more events for a time, a day at most: those of these directives besides those that it has anyway. A second call
    /// replaces the first.
    ///
    /// # Errors
    ///
    /// If the directives can't be read or have one for spans (`[span]`): then nothing changes.
    pub fn raise(&self, directives: &str, time: Duration) -> Result<(), InvalidDirectives> {
        let filter = without_spans(directives)?;
        {
            let mut timer = self.0.timer();
            let until = clock::instant() + time.min(LONGEST);
            let raised = self.0.raised.write();
            *raised.unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(filter), until));
            self.wait(&mut timer);
            self.0.notify(&format!(
                "log filter raised by {directives:?} for {:?}",
                time.min(LONGEST)
            ));
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Returns the directives that hold now, without those of [`raise`](Self::raise) and [`set_for`](Self::set_for).
    #[must_use]
    pub fn directives(&self) -> String {
        self.current().to_string()
    }

    /// Lets the log have more events of the requests with a correlation id, for a time, a day at most: those of these directives besides
    /// those that it has anyway. It holds for 100 ids at most; a further one takes the place of the first.
    ///
    /// An event belongs to the nearest request whose span it is in, in tasks and threads too, or else to the id that its task carries.
    ///
    /// # Errors
    ///
    /// If the directives can't be read or have one for spans (`[span]`): then nothing changes.
    pub fn set_for(
        &self,
        id: CorrelationId,
        directives: &str,
        time: Duration,
    ) -> Result<(), InvalidDirectives> {
        let filter = without_spans(directives)?;
        let notice = format!(
            "log filter raised by {directives:?} for {:?}, for the correlation id {:?}",
            time.min(LONGEST),
            id.as_str(),
        );
        let request = Request {
            id,
            filter: Arc::new(filter),
            until: clock::instant() + time.min(LONGEST),
        };
        {
            let mut timer = self.0.timer();
            let requests = self.0.requests.write();
            let mut requests = requests.unwrap_or_else(PoisonError::into_inner);
            requests.retain(|other| other.id != request.id);
            if requests.len() >= MAX_REQUESTS {
                requests.remove(0);
            }
            requests.push(request);
            drop(requests);
            self.0.has_requests.store(true, Ordering::Relaxed);
            self.wait(&mut timer);
            self.0.notify(&notice);
        }
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Makes it as it was when it was built.
    pub fn reset(&self) {
        {
            let mut timer = self.0.timer();
            timer.until = None;
            let requests = self.0.requests.write();
            requests.unwrap_or_else(PoisonError::into_inner).clear();
            let raised = self.0.raised.write();
            *raised.unwrap_or_else(PoisonError::into_inner) = None;
            self.0.has_requests.store(false, Ordering::Relaxed);
            self.0.replace_by_usual();
            if let Some(thread) = &timer.thread {
                thread.unpark();
            }
            let usual = &self.0.usual;
            self.0.notify(&format!("log filter reset to {usual:?}"));
        }
        tracing::callsite::rebuild_interest_cache();
    }

    /// Sees to it that the thread waits.
    fn wait(&self, timer: &mut Timer) {
        if let Some(thread) = &timer.thread {
            thread.unpark();
            return;
        }
        let inner = Arc::downgrade(&self.0);
        let thread = std::thread::Builder::new().name("campanile-filter".to_owned());
        match thread.spawn(move || wait(&inner)) {
            Ok(started) => timer.thread = Some(started.thread().clone()),
            Err(error) => {
                tracing::warn!(%error, "there is no thread to end what the log has for a time: it ends with `reset`");
            }
        }
    }

    fn current(&self) -> Arc<EnvFilter> {
        let current = self.0.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn knows_spans(&self) -> bool {
        self.0.knows_spans.load(Ordering::Relaxed)
    }

    fn of_spans(&self) -> Option<Arc<EnvFilter>> {
        self.knows_spans().then(|| self.current())
    }

    /// Returns what holds for the request that this thread works for, if anything does: that of the nearest request's span, as on
    /// its lines, or of what the task carries.
    fn for_request<S>(&self, context: &Context<'_, S>) -> Option<Arc<EnvFilter>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if !self.0.has_requests.load(Ordering::Relaxed) {
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

    fn raised(&self) -> Option<Arc<EnvFilter>> {
        let raised = self.0.raised.read();
        let raised = raised.unwrap_or_else(PoisonError::into_inner);
        raised.as_ref().map(|(filter, _)| Arc::clone(filter))
    }

    fn requests(&self) -> RwLockReadGuard<'_, Vec<Request>> {
        let requests = self.0.requests.read();
        requests.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what was set for a time, until nothing is.
fn wait(inner: &Weak<Inner>) {
    loop {
        let next = {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            let mut timer = inner.timer();
            let (next, has_changed) = inner.end(&mut timer, clock::instant());
            if next.is_none() {
                timer.thread = None;
            }
            if has_changed {
                inner.notify(&inner.ended());
            }
            drop(timer);
            if has_changed {
                tracing::callsite::rebuild_interest_cache();
            }
            next
        };
        match next {
            // It is woken before if there is something new.
            Some(next) => {
                std::thread::park_timeout(next.saturating_duration_since(clock::instant()))
            }
            None => return,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // It ends as there is nothing left to wait for.
        if let Some(thread) = self.timer().thread.take() {
            thread.unpark();
        }
    }
}

impl Inner {
    fn timer(&self) -> MutexGuard<'_, Timer> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, filter: EnvFilter) {
        self.knows_spans
            .store(knows_spans(&filter), Ordering::Relaxed);
        let current = self.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(filter);
    }

    /// Writes a line about a change. The timer is locked, so that lines have the order of the changes.
    fn notify(&self, notice: &str) {
        if let Some(write) = self.notice.get() {
            write(notice);
        }
    }

    /// Returns the notice after a time has ended.
    fn ended(&self) -> String {
        let current = self.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        let current = current.to_string();
        format!("time of a log filter ended: it is now {current:?}")
    }

    fn replace_by_usual(&self) {
        // It was read before.
        self.replace(directives::parse(&self.usual).unwrap_or_default());
    }

    /// Ends what is over; returns when the next is, and whether anything has changed.
    fn end(&self, timer: &mut Timer, now: Instant) -> (Option<Instant>, bool) {
        let mut has_changed = false;
        if timer.until.is_some_and(|until| until <= now) {
            timer.until = None;
            self.replace_by_usual();
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
        (
            next.chain(timer.until).chain(until_raised).min(),
            has_changed,
        )
    }
}

impl LogFilter {
    fn is_wanted<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_enabled = {
            // No code of others runs under the lock.
            let current = self.0.current.read();
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
}

impl LogFilter {
    fn interest(&self, metadata: &'static Metadata<'static>) -> Interest {
        let of = |filter: &EnvFilter| Layer::<Registry>::register_callsite(filter, metadata);
        let interest = of(&self.current());
        let has_others = || {
            let is_raised = || self.raised().is_some_and(|all| !of(&all).is_never());
            let recorded = self.0.recorded.as_ref();
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

    fn is_enabled<S>(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if self.is_wanted(metadata, context) {
            if self.0.recorded.is_some() {
                note(None);
            }
            return true;
        }
        self.0.records(metadata, context)
    }

    fn hint(&self) -> Option<LevelFilter> {
        // No hint is as good as the highest.
        let mut hint = self.current().max_level_hint()?;
        for request in self.requests().iter() {
            hint = hint.max(request.filter.max_level_hint()?);
        }
        if let Some(raised) = self.raised() {
            hint = hint.max(raised.max_level_hint()?);
        }
        if let Some(recorded) = &self.0.recorded {
            // The span of a request is always wanted.
            let recorded = recorded.max_level_hint()?;
            hint = hint.max(recorded).max(LevelFilter::INFO);
        }
        Some(hint)
    }
}

/// Returns whether it is the span of a request.
fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == crate::http::TARGET
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter")
            .field(&self.current().to_string())
            .finish()
    }
}
