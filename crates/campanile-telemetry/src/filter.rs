use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

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
}

impl LogFilter {
    pub(crate) fn new(directives: &str) -> Result<Self, ParseError> {
        Ok(Self(Arc::new(Inner {
            usual: directives.to_owned(),
            current: RwLock::new(EnvFilter::try_new(directives)?),
            begun: now(),
            until: AtomicU64::new(0),
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
        let filter = EnvFilter::try_new(directives).map_err(|error| InvalidDirectives {
            directives: directives.to_owned(),
            reason: error.to_string(),
        })?;
        let until = self.elapsed().saturating_add(nanoseconds(time)).max(1);
        self.replace(filter);
        self.0.until.store(until, Ordering::Relaxed);
        Ok(())
    }

    /// Makes it as it was when it was built.
    pub fn reset(&self) {
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
            self.reset();
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
        Layer::<S>::register_callsite(&*self.current(), metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.current().enabled(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
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
