use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// The result of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Taken {
        rejected: u64,
    },
    Refused {
        reason: String,
    },
    /// The failure is retryable, after `after` if the collector set it.
    Later {
        reason: String,
        after: Option<Duration>,
    },
}

/// Returns the number of rejected items. The responses of all signals have the same fields.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    // A negative number is invalid. As an unsigned number it exceeds the batch and so means all
    // items.
    partial.map_or(0, |partial| partial.rejected_spans as u64)
}
