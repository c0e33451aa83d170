use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::Campanile;

/// The time for which a draining server still accepts requests.
#[cfg(feature = "health")]
const DRAIN_DELAY: Duration = Duration::from_secs(5);
/// The timeout of [`Campanile::finished`]: the background work takes at most 6 s after its shutdown.
const FINISH_TIMEOUT: Duration = Duration::from_secs(7);

impl Campanile {
    /// Creates a service for `axum::serve` from a [wrapped](Self::wrap) router, and starts the background work.
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # use campanile::Campanile;
    /// # async fn serve(campanile: Campanile, app: Router) -> std::io::Result<()> {
    /// let app = campanile.wrap(app);
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// let signal = async { drop(tokio::signal::ctrl_c().await) };
    /// let result = axum::serve(listener, campanile.make_service(app))
    ///     .with_graceful_shutdown(campanile.drained(signal))
    ///     .await;
    /// campanile.finished().await;
    /// result
    /// # }
    /// ```
    ///
    /// The service provides the client's address, as `into_make_service_with_connect_info::<SocketAddr>()` does. It runs
    /// [`run`](Self::run) as a task until it is dropped, which `axum::serve` does after the last request.
    ///
    /// `axum::serve` has no limits for slow and idle clients; [`serve`](Self::serve) has them.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn make_service(&self, router: Router) -> MakeService {
        let mut service = MakeService {
            inner: router.into_make_service_with_connect_info(),
            work: Work::Pending(self.clone()),
        };
        service.start();
        service
    }

    /// Returns a future for `with_graceful_shutdown`. When `signal` completes, it [drains](campanile_health::Health::drain)
    /// the service, and completes 5 s later, so that load balancers stop sending requests first.
    ///
    /// Without feature `health`, it completes with `signal`. For another delay, see
    /// [`Health::drain_after`](campanile_health::Health::drain_after).
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn drained<F: Future<Output = ()>>(&self, signal: F) -> impl Future<Output = ()> + use<F> {
        #[cfg(feature = "health")]
        return self.health().drain_after(signal, DRAIN_DELAY);
        #[cfg(not(feature = "health"))]
        return signal;
    }

    /// Waits until the background work has ended, for at most 7 s. After a server has ended, this lets the service send
    /// queued notifications, write the last counts and export the last spans.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub async fn finished(&self) {
        let ended = self.runs().ended();
        if tokio::time::timeout(FINISH_TIMEOUT, ended).await.is_err() {
            tracing::error!(timeout = ?FINISH_TIMEOUT, "background work did not end in time");
        }
    }
}

/// A service for `axum::serve`, from [`Campanile::make_service`].
#[derive(Debug)]
#[must_use = "pass it to `axum::serve`; dropping it stops the background work"]
pub struct MakeService {
    inner: IntoMakeServiceWithConnectInfo<Router, SocketAddr>,
    work: Work,
}

/// The background work of a [`MakeService`].
#[derive(Debug)]
enum Work {
    /// The work has not started, because there was no runtime.
    Pending(Campanile),
    /// The work runs until the sender is dropped.
    Running { _stop: oneshot::Sender<()> },
}

impl MakeService {
    /// Starts the background work, if the caller is in a runtime.
    fn start(&mut self) {
        let Work::Pending(campanile) = &self.work else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(campanile.run(async { drop(stopped.await) }));
        self.work = Work::Running { _stop: stop };
    }
}

impl<T> Service<T> for MakeService
where
    IntoMakeServiceWithConnectInfo<Router, SocketAddr>: Service<T, Error = Infallible>,
{
    type Response = <IntoMakeServiceWithConnectInfo<Router, SocketAddr> as Service<T>>::Response;
    type Error = Infallible;
    type Future = <IntoMakeServiceWithConnectInfo<Router, SocketAddr> as Service<T>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        self.start();
        self.inner.call(target)
    }
}

#[cfg(feature = "monitor")]
#[cfg(test)]
mod tests;
