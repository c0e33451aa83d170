/// Which names an [`HttpMetrics`] writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpNaming {
    /// `http_requests_total` and `http_request_duration_seconds`; for gRPC calls also
    /// `grpc_server_handled_total` and `grpc_server_handling_seconds`.
    #[default]
    Classic,
    /// `http_server_request_duration_seconds`, and for gRPC calls also
    /// `rpc_server_call_duration_seconds`, as OpenTelemetry's semantic conventions name and label
    /// them.
    OpenTelemetry,
    /// All of them.
    Both,
}
