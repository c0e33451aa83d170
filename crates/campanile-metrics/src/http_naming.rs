/// The metric names of [`HttpMetrics`](crate::HttpMetrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpNaming {
    /// `http_requests_total` and `http_request_duration_seconds`. For gRPC calls also
    /// `grpc_server_handled_total` and `grpc_server_handling_seconds`.
    #[default]
    Classic,
    /// `http_server_request_duration_seconds`, and for gRPC calls
    /// `rpc_server_call_duration_seconds`, with the names and labels of OpenTelemetry's semantic
    /// conventions.
    OpenTelemetry,
    /// All metrics of both.
    Both,
}
