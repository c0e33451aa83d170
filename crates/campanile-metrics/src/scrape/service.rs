use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::body::ScrapeBody;
use crate::registry::Registry;

/// The scrape response of a registry as a tower service; from [`Registry::service`].
///
/// It responds to every path. A clone reads the same registry.
#[derive(Clone, Debug)]
pub struct RegistryService(Registry);

impl Registry {
    /// Returns [`respond`](Self::respond) as a tower service, for a router other than axum's.
    ///
    /// ```
    /// use campanile_metrics::Registry;
    /// use http::Request;
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::new();
    /// let response = registry.service().oneshot(Request::get("/metrics").body(())?).await?;
    /// assert_eq!(response.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(&self) -> RegistryService {
        RegistryService(self.clone())
    }

    /// Returns an axum router that responds at `/metrics` and `/metrics/`.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> axum::Router {
        axum::Router::new()
            .route_service("/metrics", self.service())
            .route_service("/metrics/", self.service())
    }
}

impl<B> Service<Request<B>> for RegistryService {
    type Response = Response<ScrapeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (request, _) = request.into_parts();
        ready(Ok(self.0.respond(&request)))
    }
}
