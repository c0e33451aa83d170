use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use campanile_series::Now;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::auth::{Access, Principal};
use crate::monitor::Monitor;
use crate::peer;

/// A layer that lets the monitor's tokens guard routes of the application, from
/// [`Monitor::authorize`].
///
/// A request that may not use the route gets 401, 403 or 429, as on the monitor's own routes. An
/// authorized request has a [`Principal`] in its extensions.
#[derive(Clone, Debug)]
pub struct AuthorizeLayer {
    monitor: Monitor,
    access: Access,
}

impl Monitor {
    /// Returns a layer that lets the monitor's tokens guard routes of the application.
    ///
    /// ```
    /// use axum::routing::put;
    /// use axum::{Extension, Router};
    /// # use campanile_health::Health;
    /// # use campanile_metrics::Registry;
    /// use campanile_monitor::{Access, Monitor, Principal, Role};
    /// # use campanile_monitor::Sources;
    /// # use campanile_series::Now;
    /// # use campanile_sla::ServiceLevels;
    /// # use std::time::{Instant, SystemTime};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let now = Now { wall: SystemTime::now(), mono: Instant::now() };
    /// # let sla = ServiceLevels::builder().build_at(now)?;
    /// # let monitor = Monitor::builder(Sources::new(Registry::new(), Health::builder().build()?, sla)).build()?;
    /// let set_level = async |Extension(principal): Extension<Principal>| {
    ///     format!("set by {}", principal.name().unwrap_or("a local client"))
    /// };
    /// let admin: Router = Router::new()
    ///     .route("/admin/level", put(set_level))
    ///     .route_layer(monitor.authorize(Access::Role(Role::Operator)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The layer counts rejected requests in `campanile_auth_failures_total`. It needs the
    /// [`Peer`](crate::Peer) of a request, or with feature `axum` its `ConnectInfo<SocketAddr>`, to
    /// recognize local clients and to limit unknown tokens per client.
    pub fn authorize(&self, access: Access) -> AuthorizeLayer {
        AuthorizeLayer {
            monitor: self.clone(),
            access,
        }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service of an [`AuthorizeLayer`].
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    inner: S,
    layer: AuthorizeLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Authorize<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<String>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let AuthorizeLayer { monitor, access } = &self.layer;
        let (mut head, body) = request.into_parts();
        peer::insert(&mut head.extensions);
        let result = monitor
            .authorizer()
            .authorize(*access, &head, Now::system().mono);
        match result {
            Ok(principal) => {
                if let Some(error) = principal.error {
                    monitor.count_auth_error(error);
                }
                head.extensions.insert::<Principal>(principal);
                let inner = self.inner.call(Request::from_parts(head, body));
                ResponseFuture::Inner { inner }
            }
            Err(error) => {
                monitor.count_auth_error(error);
                ResponseFuture::Rejected {
                    response: Some(error.response()),
                }
            }
        }
    }
}

pin_project! {
    /// The response future of [`Authorize`].
    #[project = Projection]
    #[derive(Debug)]
    pub enum ResponseFuture<F> {
        #[doc(hidden)]
        Inner {
            #[pin]
            inner: F,
        },
        #[doc(hidden)]
        Rejected { response: Option<Response<String>> },
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<String>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Inner { inner } => Poll::Ready(ready!(inner.poll(cx))),
            Projection::Rejected { response } => {
                // After it has completed, the future stays pending.
                response.take().map_or(Poll::Pending, |response| {
                    Poll::Ready(Ok(response.map(B::from)))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
