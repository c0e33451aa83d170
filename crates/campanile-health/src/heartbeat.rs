use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::check::Kind;
use crate::{Check, Outcome, clock};

/// A task that is to live as long as the service: it says so again and again, and if it stops, [liveness](crate::Group) fails.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_health::{Health, Heartbeat};
/// use http::StatusCode;
///
/// let consumer = Heartbeat::new("consumer", Duration::from_secs(60));
/// let health = Health::builder().heartbeat(&consumer).build()?;
/// // In the task, each time around:
/// consumer.beat();
/// assert_eq!(health.get("/livez").status(), StatusCode::OK);
/// # Ok::<_, campanile_health::BuildError>(())
/// ```
///
/// A clone is the same heartbeat (an `Arc`).
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    longest: Duration,
    begun: Instant,
    /// Nanoseconds since then.
    last: AtomicU64,
}

impl Heartbeat {
    /// Returns a heartbeat that begins now, and how long it may take to the next.
    ///
    /// The name is one of a check: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub fn new(name: impl Into<String>, longest: Duration) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            longest,
            begun: clock::now(),
            last: AtomicU64::new(0),
        }))
    }

    /// Says that the task lives.
    pub fn beat(&self) {
        let now = clock::now().saturating_duration_since(self.0.begun);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.0.last.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Check {
        let inner = Arc::clone(&self.0);
        let find = move || {
            let last = Duration::from_nanos(inner.last.load(Ordering::Relaxed));
            let since = clock::now().saturating_duration_since(inner.begun);
            let silent = since.saturating_sub(last);
            if silent > inner.longest {
                Outcome::unhealthy(format!("silent for {} s", silent.as_secs()))
            } else {
                Outcome::healthy()
            }
        };
        let check = Check::with(self.0.name.clone(), Kind::Immediate(Box::new(find)));
        // So that a bound of zero is told as any other time of a check.
        check.critical().timeout(self.0.longest)
    }
}
