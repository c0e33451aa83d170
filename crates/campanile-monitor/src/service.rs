use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::Body;
use crate::monitor::Monitor;
use crate::peer;

/// A tower service for the monitor's routes, from [`Monitor::service`].
#[derive(Clone, Debug)]
pub struct MonitorService(Monitor);

impl Monitor {
    /// Returns a tower service for the [routes](crate#routes), with the responses of
    /// [`respond`](Self::respond).
    ///
    /// ```
    /// use campanile_health::Health;
    /// use campanile_metrics::Registry;
    /// use campanile_monitor::{Monitor, Sources};
    /// # use campanile_series::Now;
    /// # use campanile_sla::ServiceLevels;
    /// use http::{Request, StatusCode};
    /// # use std::time::{Instant, SystemTime};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let now = Now { wall: SystemTime::now(), mono: Instant::now() };
    /// # let sla = ServiceLevels::builder().build_at(now)?;
    /// let sources = Sources::new(Registry::new(), Health::builder().build()?, sla);
    /// let monitor = Monitor::builder(sources).build()?;
    /// let response = monitor.service().oneshot(Request::get("/livez").body(())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(&self) -> MonitorService {
        MonitorService(self.clone())
    }

    /// Returns an axum router for the [routes](crate#routes), with the responses of
    /// [`respond`](Self::respond).
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`. Otherwise no client
    /// counts as local.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> axum::Router {
        let paths = Self::route_table()
            .iter()
            .flat_map(|route| [route.path(), route.path_with_slash()]);
        paths.fold(axum::Router::new(), |router, path| {
            let service = self.service();
            router.route(path, axum::routing::any_service(service))
        })
    }
}

impl<B> Service<Request<B>> for MonitorService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut request, _) = request.into_parts();
        peer::insert(&mut request.extensions);
        ready(Ok(self.0.respond(&request)))
    }
}
