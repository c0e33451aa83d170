//! Start and drain of the service.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
#[cfg(unix)]
use tokio::time::timeout;

use super::{Health, Inner};
use crate::{Phase, StartupHold, Status, clock};

impl Health {
    /// Returns the service's phase.
    pub fn phase(&self) -> Phase {
        self.0.phase(clock::now())
    }

    /// Keeps the service [starting](Phase::Starting) until the returned hold is dropped, for
    /// example during a migration. A hold that is taken after the start has no effect.
    pub fn hold_startup(&self) -> StartupHold {
        self.0.lifecycle.hold()
    }

    /// Makes the service [draining](Phase::Draining): readiness fails from now on.
    ///
    /// A service stays draining until its last [`run`](Self::run) has ended and a new one begins.
    /// The startup probe keeps its result: it still fails if the service had not started.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Returns a future that completes when the service starts to drain, or has stopped.
    ///
    /// Use it to end long responses, such as event streams.
    ///
    /// ```
    /// # async fn send(_: u32) {}
    /// # async fn example(health: campanile_health::Health, mut events: tokio::sync::mpsc::Receiver<u32>) {
    /// let draining = health.draining();
    /// tokio::pin!(draining);
    /// loop {
    ///     tokio::select! {
    ///         () = &mut draining => break,
    ///         Some(event) = events.recv() => send(event).await,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let health = self.clone();
        async move {
            let mut changes = health.0.changes.subscribe();
            // The sender lives as long as the health.
            while health.0.lifecycle.phase() < Phase::Draining && changes.changed().await.is_ok() {}
        }
    }

    /// Returns a future that waits for `signal`, [drains](Self::drain), and waits for `delay`, so
    /// that the load balancer sees the failed readiness.
    ///
    /// Pass it to axum's `with_graceful_shutdown` or tonic's `serve_with_shutdown`, or await it
    /// before hyper's `graceful_shutdown`. Kubernetes needs some seconds; 5 s are common.
    /// [`drain_on_signals`](Self::drain_on_signals) waits for the process's signals.
    ///
    /// ```no_run
    /// # async fn serve(health: campanile_health::Health, signal: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// let app = axum::Router::new();
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    /// axum::serve(listener, app)
    ///     .with_graceful_shutdown(health.drain_after(signal, Duration::from_secs(5)))
    ///     .await
    /// # }
    /// ```
    pub fn drain_after<F>(&self, signal: F, delay: Duration) -> impl Future<Output = ()> + use<F>
    where
        F: Future<Output = ()>,
    {
        let health = self.clone();
        async move {
            signal.await;
            health.drain();
            tokio::time::sleep(delay).await;
        }
    }

    /// Returns a future that waits for SIGTERM or SIGINT, [drains](Self::drain), and waits for
    /// `delay` or a second signal.
    ///
    /// # Errors
    ///
    /// If the signal handlers cannot be registered.
    #[cfg(unix)]
    pub fn drain_on_signals(
        &self,
        delay: Duration,
    ) -> impl Future<Output = std::io::Result<()>> + Send + use<> {
        use tokio::signal::unix::{SignalKind, signal};
        let health = self.clone();
        async move {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut signal = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            signal().await;
            health.drain();
            let _ = timeout(delay, signal()).await;
            Ok(())
        }
    }

    pub(super) fn advance(&self, phase: Phase) {
        // The service may be ready without a probe that has computed it.
        self.phase();
        if self.0.lifecycle.advance(phase) {
            tracing::info!(phase = phase.as_str(), "service phase changed");
            self.0.changes.send_modify(|number| *number += 1);
        }
    }
}

impl Inner {
    pub(crate) fn phase(&self, now: Instant) -> Phase {
        if self.lifecycle.phase() == Phase::Starting && !self.lifecycle.is_held() {
            let startup = self.group("startup");
            let is_started = startup
                .is_none_or(|group| self.status_of(group, now, |_| true) != Status::Unhealthy);
            if is_started && self.lifecycle.advance(Phase::Ready) {
                tracing::info!(phase = Phase::Ready.as_str(), "service phase changed");
                self.changes.send_modify(|number| *number += 1);
            }
        }
        self.lifecycle.phase()
    }
}
