use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Something that a service needs, and how to find out whether it is there.
///
/// | setting | default |
/// |---|---|
/// | [`critical`](Self::critical) | no: a failure degrades |
/// | [`timeout`](Self::timeout) | 5 s |
/// | [`period`](Self::period) | 30 s |
pub struct Check {
    pub(crate) name: String,
    pub(crate) is_critical: bool,
    pub(crate) timeout: Duration,
    pub(crate) period: Duration,
    run: Box<dyn Fn() -> BoxFuture + Send + Sync>,
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Check {
    /// Returns a check that calls an async closure and takes an error for a failure.
    ///
    /// The name has 1 to 64 characters of `[A-Za-z0-9._-]`. The closure is called once a period; a call that takes too long is
    /// dropped, and a panic is a failure. It must not block its thread.
    pub fn new<F, E>(name: impl Into<String>, run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let run = move || -> BoxFuture {
            let check = run();
            Box::pin(async move { check.await.map_err(|error| error.to_string()) })
        };
        Self {
            name: name.into(),
            is_critical: false,
            timeout: Duration::from_secs(5),
            period: Duration::from_secs(30),
            run: Box::new(run),
        }
    }

    /// Makes the service unhealthy, and not only degraded, when the check fails.
    ///
    /// Defaults to degraded.
    #[must_use]
    pub fn critical(mut self) -> Self {
        self.is_critical = true;
        self
    }

    /// Sets how long a call may take; more than zero.
    ///
    /// Defaults to 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time from one call to the next; more than zero. A call that takes longer than this delays the next.
    ///
    /// Defaults to 30 s.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// Calls the check once, and returns what it failed with.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let call = CatchPanic(Box::pin(async { (self.run)().await }));
        match tokio::time::timeout(self.timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("is_critical", &self.is_critical)
            .field("timeout", &self.timeout)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// A future whose panic is a failure.
struct CatchPanic<'a>(Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>);

impl Future for CatchPanic<'_> {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic it is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err("the check panicked".to_owned())))
    }
}
