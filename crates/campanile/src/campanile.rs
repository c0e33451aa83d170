use std::fmt;
use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "metrics")]
use campanile_metrics::Registry;
use tokio::net::TcpListener;

use crate::{Builder, CampanileLayer, Serve};

/// A service's observability: what the builder made, to be wired into the service.
///
/// A clone is the same campanile (an `Arc`).
#[derive(Clone)]
pub struct Campanile(Arc<Inner>);

struct Inner {
    name: String,
    layer: CampanileLayer,
    #[cfg(feature = "metrics")]
    registry: Registry,
}

impl Campanile {
    /// Returns a builder for the service with this name: 1 to 255 characters, none of them a control character.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(
        name: String,
        layer: CampanileLayer,
        #[cfg(feature = "metrics")] registry: Registry,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            layer,
            #[cfg(feature = "metrics")]
            registry,
        }))
    }

    /// Returns the service's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the registry, to add metrics of the service's own and to read values back.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn metrics(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns the layer for a tower stack: correlation id outermost, then what observes.
    ///
    /// An axum router is better [wrapped](Self::wrap).
    pub fn layer(&self) -> CampanileLayer {
        self.0.layer.clone()
    }

    /// Serves an axum router, or any other tower service, on a listener, until SIGTERM or SIGINT comes; see [`Serve`] for
    /// its limits.
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # use campanile::Campanile;
    /// # async fn serve(campanile: Campanile, app: Router) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    /// campanile.serve(listener, campanile.wrap(app)).await
    /// # }
    /// ```
    pub fn serve<S>(&self, listener: TcpListener, app: S) -> Serve<S> {
        Serve::new(self.clone(), listener, app)
    }

    /// Runs all background work until `shutdown` completes; for a host that doesn't use [`serve`](Self::serve), which runs
    /// it itself.
    ///
    /// The parts that there are so far work as they are called, so this waits and does nothing else.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
    }
}

impl fmt::Debug for Campanile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Campanile")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}
