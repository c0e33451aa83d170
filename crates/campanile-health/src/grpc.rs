//! The protocol of gRPC's health checks, `grpc.health.v1`.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status as Refusal};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Protocol, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::{Health, Phase};

/// Answers `grpc.health.v1.Health`; made by [`Health::grpc`].
#[derive(Clone, Debug)]
pub struct GrpcHealth(Health);

impl Health {
    /// Returns the service `grpc.health.v1.Health`, for tonic's `add_service`: `Check` and `Watch`.
    ///
    /// For Kubernetes' probes see [`grpc_probes_yaml`](Self::grpc_probes_yaml). A client that balances by health checks asks for the name of its
    /// protobuf service, such as `shop.Orders`: a [`Group`](crate::Group) of that name answers it.
    ///
    /// The service of the name `""` is readiness, and each group is a service of its name: `SERVING` if its probe would answer with a code from
    /// 200 to 399, else `NOT_SERVING`. Of any other name nothing is known: `NOT_FOUND`, and `SERVICE_UNKNOWN` to who watches. `Watch` tells
    /// of changes while [`run`](Self::run) is running, and ends when the service drains.
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
    ) -> Result<Response<HealthCheckResponse>, Refusal> {
        let service = request.into_inner().service;
        let status = self.0.serving(&service);
        let status = status.ok_or_else(|| Refusal::not_found("service name not registered"))?;
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = GrpcWatchStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<GrpcWatchStream>, Refusal> {
        Ok(Response::new(GrpcWatchStream {
            health: self.0.clone(),
            service: request.into_inner().service,
            changes: WatchStream::new(self.0.changes()),
            last: None,
            is_last: false,
        }))
    }
}

/// What becomes of a service.
#[derive(Debug)]
pub struct GrpcWatchStream {
    health: Health,
    service: String,
    changes: WatchStream<u64>,
    last: Option<ServingStatus>,
    is_last: bool,
}

impl Stream for GrpcWatchStream {
    type Item = Result<HealthCheckResponse, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.is_last {
                return Poll::Ready(None);
            }
            // The first of them comes at once.
            match Pin::new(&mut self.changes).poll_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
            let status = self.health.serving(&self.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            // A server that waits for its streams would wait for ever.
            self.is_last = self.health.phase() >= Phase::Draining;
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(HealthCheckResponse {
                    status: status.into(),
                })));
            }
        }
    }
}
