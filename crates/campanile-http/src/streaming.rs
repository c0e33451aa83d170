/// Marks a response as a stream: its [latency](crate::End::latency) ends with its head.
///
/// Insert it into the response's extensions if the client decides how long the stream stays open.
/// It is not needed for a response of unknown length with one of these content types:
/// `text/event-stream`, `application/x-ndjson`, `application/ndjson`, `application/jsonl`,
/// `application/json-seq`, `application/stream+json`, `multipart/x-mixed-replace`,
/// `application/connect+proto`, `application/connect+json`.
///
/// ```
/// use campanile_http::Streaming;
/// use http::Response;
///
/// let mut response = Response::new("a stream of unknown length");
/// response.extensions_mut().insert(Streaming);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streaming;

const STREAMS: [&str; 9] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json-seq",
    "application/stream+json",
    "multipart/x-mixed-replace",
    "application/connect+proto",
    "application/connect+json",
];

/// Returns whether the content type is one of a stream.
pub(crate) fn is_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    STREAMS
        .iter()
        .any(|stream| essence.eq_ignore_ascii_case(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_streams_are_known() {
        for content_type in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/x-ndjson",
            "multipart/x-mixed-replace;boundary=frame",
        ] {
            assert!(is_stream(content_type), "{content_type}");
        }
        for content_type in ["", "text/plain", "application/json", "application/grpc"] {
            assert!(!is_stream(content_type), "{content_type}");
        }
    }
}
