use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::check::Kind;
use crate::{Check, Outcome, clock};

/// A check of a background task: if the task stops calling [`beat`](Self::beat),
/// [liveness](crate::Group) fails.
///
/// ```
/// use std::time::Duration;
///
/// use campanile_health::{Health, Heartbeat};
/// use http::StatusCode;
///
/// let consumer = Heartbeat::new("consumer", Duration::from_secs(60));
/// let health = Health::builder().heartbeat(&consumer).build()?;
/// // In each iteration of the task:
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
    timeout: Duration,
    start: Instant,
    /// The time of the last beat, in nanoseconds since the start.
    last: AtomicU64,
}

impl Heartbeat {
    /// Creates a heartbeat that fails if there is no beat for `timeout`. The creation counts as a
    /// beat.
    ///
    /// The name has 1 to 64 characters of `[A-Za-z0-9._-]`. The timeout must be more than zero.
    pub fn new(name: impl Into<String>, timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            timeout,
            start: clock::now(),
            last: AtomicU64::new(0),
        }))
    }

    /// Records a beat: the task is alive.
    pub fn beat(&self) {
        let now = clock::now().saturating_duration_since(self.0.start);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.0.last.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Check {
        let inner = Arc::clone(&self.0);
        let evaluate = move || {
            let last = Duration::from_nanos(inner.last.load(Ordering::Relaxed));
            let since = clock::now().saturating_duration_since(inner.start);
            let silence = since.saturating_sub(last);
            if silence > inner.timeout {
                Outcome::unhealthy(format!("no heartbeat for {} s", silence.as_secs()))
            } else {
                Outcome::healthy()
            }
        };
        let check = Check::with(self.0.name.clone(), Kind::Immediate(Box::new(evaluate)));
        // So that the builder rejects a timeout of zero.
        check.critical().timeout(self.0.timeout)
    }
}
