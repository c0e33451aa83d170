//! One call of a check.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{Check, HealthCheck, HealthFuture, Kind};
use crate::Outcome;

impl Check {
    /// Calls the check once. The lock is released when the call is over. If a blocking call has
    /// timed out, that is later.
    pub(crate) async fn run(&self, call: OwnedMutexGuard<()>) -> Outcome {
        let timed_out = || Outcome::unhealthy(format!("timed out after {:?}", self.timeout));
        match &self.kind {
            Kind::Async(check) => {
                let call = Call::begin(&**check);
                let outcome = tokio::time::timeout(self.timeout, call).await;
                outcome.unwrap_or_else(|_| timed_out())
            }
            Kind::Blocking(check) => {
                let check = Arc::clone(check);
                let (sender, outcome) = oneshot::channel();
                let thread = std::thread::Builder::new().name("campanile-check".to_owned());
                let started = thread.spawn(move || {
                    let outcome = catch_unwind(AssertUnwindSafe(|| check()));
                    // The receiver is gone after a timeout.
                    let _ = sender.send(outcome.unwrap_or_else(|_| panicked()));
                    drop(call);
                });
                if let Err(error) = started {
                    return Outcome::unhealthy(format!("failed to start a thread: {error}"));
                }
                match tokio::time::timeout(self.timeout, outcome).await {
                    Ok(outcome) => outcome.unwrap_or_else(|_| panicked()),
                    Err(_) => timed_out(),
                }
            }
            Kind::Immediate(check) => check(),
        }
    }
}

fn panicked() -> Outcome {
    Outcome::unhealthy("the check panicked")
}

/// A future that turns a panic into a failure, in the call itself, in a poll, or in the drop.
struct Call<'a>(Option<HealthFuture<'a>>);

impl<'a> Call<'a> {
    fn begin(check: &'a dyn HealthCheck) -> Self {
        Self(catch_unwind(AssertUnwindSafe(|| check.check())).ok())
    }
}

impl Future for Call<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(call) = &mut self.0 else {
            return Poll::Ready(panicked());
        };
        // After a panic it is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(panicked()))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let call = self.0.take();
        // A panic here changes nothing: the outcome is known, or the call has timed out.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
    }
}
