//! The metrics of gRPC calls, in addition to those of their HTTP requests.

use std::time::Duration;

use campanile_http::{GrpcStatus, Route, TraceRef};

use super::sink::{CachedHandle, Either, Sink};
use crate::http_naming::HttpNaming;
use crate::kind::Kind;
use crate::{Counter, Histogram};

pub(super) const HANDLED: &str = "grpc_server_handled_total";
pub(super) const HANDLING: &str = "grpc_server_handling_seconds";
pub(super) const CALL_DURATION: &str = "rpc_server_call_duration_seconds";

pub(super) const METRICS: [(&str, &str, Kind); 3] = [
    (HANDLED, "Ended gRPC calls, by status code.", Kind::Counter),
    (
        HANDLING,
        "Time from the head of a gRPC call to its status, in seconds.",
        Kind::Histogram,
    ),
    (
        CALL_DURATION,
        "Duration of incoming gRPC calls, in seconds.",
        Kind::Histogram,
    ),
];

/// The handles of the calls with one route and one status.
pub(super) struct Handles {
    handled: Option<Either<Counter>>,
    durations: [Option<Either<Histogram>>; 2],
}

impl Handles {
    pub(super) fn new(
        sink: &Sink,
        naming: HttpNaming,
        route: &Route,
        status: GrpcStatus,
    ) -> CachedHandle<Self> {
        let parts = route.as_str().strip_prefix('/');
        let parts = parts.and_then(|path| Some((path, path.split_once('/')?)));
        let (service, method) = match parts {
            Some((_, parts)) => parts,
            None => (route.as_str(), route.as_str()),
        };
        let labels = [
            ("grpc_type", "unknown"),
            ("grpc_service", service),
            ("grpc_method", method),
            ("grpc_code", go_name(status)),
        ];
        let is_classic = naming != HttpNaming::OpenTelemetry;
        let handled = is_classic.then(|| sink.counter(HANDLED, &labels));
        let classic = is_classic.then(|| sink.histogram(HANDLING, &labels[..3]));
        let telemetry = (naming != HttpNaming::Classic).then(|| {
            let is_unknown = *route == Route::UNMATCHED || *route == Route::OTHER;
            let method = match parts {
                Some((path, _)) => path,
                None if is_unknown => "_OTHER",
                None => route.as_str(),
            };
            let is_failure = status.is_server_failure();
            let labels = [
                ("rpc_system_name", "grpc"),
                ("rpc_method", method),
                ("rpc_response_status_code", status.name()),
                ("error_type", if is_failure { status.name() } else { "" }),
            ];
            sink.histogram(CALL_DURATION, &labels)
        });
        let is_own = handled.as_ref().is_none_or(|cached| cached.is_own)
            && [&classic, &telemetry]
                .into_iter()
                .flatten()
                .all(|cached| cached.is_own);
        let handle = Self {
            handled: handled.map(|cached| cached.handle),
            durations: [classic, telemetry].map(|cached| cached.map(|cached| cached.handle)),
        };
        CachedHandle { handle, is_own }
    }

    pub(super) fn record(&self, latency: Duration, trace: Option<TraceRef>) {
        if let Some(handled) = &self.handled {
            handled.increment();
        }
        for duration in self.durations.iter().flatten() {
            duration.record(latency, trace);
        }
    }
}

/// Returns the name of a status in Go's gRPC, which go-grpc-prometheus established.
fn go_name(status: GrpcStatus) -> &'static str {
    match status {
        GrpcStatus::OK => "OK",
        GrpcStatus::CANCELLED => "Canceled",
        GrpcStatus::INVALID_ARGUMENT => "InvalidArgument",
        GrpcStatus::DEADLINE_EXCEEDED => "DeadlineExceeded",
        GrpcStatus::NOT_FOUND => "NotFound",
        GrpcStatus::ALREADY_EXISTS => "AlreadyExists",
        GrpcStatus::PERMISSION_DENIED => "PermissionDenied",
        GrpcStatus::RESOURCE_EXHAUSTED => "ResourceExhausted",
        GrpcStatus::FAILED_PRECONDITION => "FailedPrecondition",
        GrpcStatus::ABORTED => "Aborted",
        GrpcStatus::OUT_OF_RANGE => "OutOfRange",
        GrpcStatus::UNIMPLEMENTED => "Unimplemented",
        GrpcStatus::INTERNAL => "Internal",
        GrpcStatus::UNAVAILABLE => "Unavailable",
        GrpcStatus::DATA_LOSS => "DataLoss",
        GrpcStatus::UNAUTHENTICATED => "Unauthenticated",
        _ => "Unknown",
    }
}
