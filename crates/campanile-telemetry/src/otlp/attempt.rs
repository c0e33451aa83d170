use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// What became of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Taken {
        rejected: u64,
    },
    Refused {
        reason: String,
    },
    /// It may work later, after that time if the collector says so.
    Later {
        reason: String,
        after: Option<Duration>,
    },
}

/// Returns how many items the collector rejects. The answers to all three signals have the same fields.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    // A negative number is invalid, and here so large that it means all.
    partial.map_or(0, |partial| partial.rejected_spans as u64)
}
