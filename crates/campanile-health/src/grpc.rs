//! The gRPC service `grpc.health.v1`.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status as GrpcStatus};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Protocol, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::{Health, Phase};

/// The implementation of `grpc.health.v1.Health`, from [`Health::grpc`].
#[derive(Clone, Debug)]
pub struct GrpcHealth(Health);

impl Health {
    /// Returns the gRPC service `grpc.health.v1.Health` for tonic's `add_service`, with `Check` and
    /// `Watch`.
    ///
    /// The service name `""` is readiness, and each group is a service of the group's name. Its
    /// status is `SERVING` if the group's probe responds with a code from 200 to 399, otherwise
    /// `NOT_SERVING`. For an unknown name, `Check` returns `NOT_FOUND`, and `Watch` sends
    /// `SERVICE_UNKNOWN`.
    ///
    /// `Watch` sends changes while [`run`](Self::run) is active, and ends when the service drains.
    ///
    /// A client with health-based load balancing checks the name of its protobuf service, such as
    /// `shop.Orders`: add a [`Group`](crate::Group) of that name. For Kubernetes see
    /// [`grpc_probes_yaml`](Self::grpc_probes_yaml).
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    pub fn grpc(&self) -> HealthServer<GrpcHealth> {
        HealthServer::new(GrpcHealth(self.clone()))
    }

    fn serving(&self, service: &str) -> Option<ServingStatus> {
        let name = if service.is_empty() {
            "readiness"
        } else {
            service
        };
        let code = self.code(name)?;
        Some(match code.as_u16() {
            200..400 => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        })
    }
}

#[tonic::async_trait]
impl Protocol for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, GrpcStatus> {
        let service = request.into_inner().service;
        let status = self.0.serving(&service);
        let status = status.ok_or_else(|| GrpcStatus::not_found("service name not registered"))?;
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = GrpcWatchStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<GrpcWatchStream>, GrpcStatus> {
        Ok(Response::new(GrpcWatchStream {
            health: self.0.clone(),
            service: request.into_inner().service,
            changes: WatchStream::new(self.0.changes()),
            last: None,
            is_last: false,
        }))
    }
}

/// The stream of a service's status changes, the response of `Watch`.
#[derive(Debug)]
pub struct GrpcWatchStream {
    health: Health,
    service: String,
    changes: WatchStream<u64>,
    last: Option<ServingStatus>,
    is_last: bool,
}

impl Stream for GrpcWatchStream {
    type Item = Result<HealthCheckResponse, GrpcStatus>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.is_last {
                return Poll::Ready(None);
            }
            // The first item is immediate.
            match Pin::new(&mut self.changes).poll_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
            let status = self.health.serving(&self.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            // Otherwise a server that waits for its streams would never end.
            self.is_last = self.health.phase() >= Phase::Draining;
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(HealthCheckResponse {
                    status: status.into(),
                })));
            }
        }
    }
}
