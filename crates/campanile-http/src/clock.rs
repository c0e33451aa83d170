use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The monotonic clock that the layer reads: the system's, or a manual one for tests.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::{Duration, Instant};
///
/// use campanile_http::Clock;
///
/// let now = Arc::new(Mutex::new(Instant::now()));
/// let clock = Clock::new({
///     let now = Arc::clone(&now);
///     move || *now.lock().unwrap()
/// });
/// let start = clock.now();
/// *now.lock().unwrap() += Duration::from_secs(3);
/// assert_eq!(clock.now() - start, Duration::from_secs(3));
/// ```
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Instant + Send + Sync>>);

impl Clock {
    /// Creates a clock that returns the time of a closure.
    ///
    /// If the closure returns an earlier time than before, the elapsed time is zero.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// Creates the system's monotonic clock. This is the default.
    pub fn system() -> Self {
        Self(None)
    }

    /// Returns the current time.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the edge at which the clock is read"
            )]
            None => Instant::now(),
            Some(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Clock::new(..)"
        } else {
            "Clock::system()"
        })
    }
}
