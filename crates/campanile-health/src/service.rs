use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::Health;

/// A tower service for the probes, from [`Health::service`].
///
/// Its responses are those of [`Health::respond`].
#[derive(Clone, Debug)]
pub struct HealthService(Health);

impl Health {
    /// Returns a tower service for the [paths](Self::PATHS), with the responses of
    /// [`respond`](Self::respond).
    ///
    /// ```
    /// use campanile_health::Health;
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let health = Health::builder().build()?;
    /// let response = health.service().oneshot(Request::get("/livez").body(())?).await?;
    /// assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, "ok"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(&self) -> HealthService {
        HealthService(self.clone())
    }
}

impl<B> Service<Request<B>> for HealthService {
    type Response = Response<String>;
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
