use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// Replaces a malformed correlation id with a new one. This is the layer's default.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Replace;

/// Rejects a request that has a malformed correlation id with 400.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reject;

/// What the layer does with a request that has a malformed id: [`Replace`] or [`Reject`].
pub trait OnInvalid<B> {
    /// Returns the response that rejects the request, or `None` to replace the id.
    fn response() -> Option<Response<B>>;
}

impl<B> OnInvalid<B> for Replace {
    #[inline]
    fn response() -> Option<Response<B>> {
        None
    }
}

impl<B: From<String>> OnInvalid<B> for Reject {
    fn response() -> Option<Response<B>> {
        const PROBLEM: &str = r#"{"type":"about:blank","title":"Bad Request","status":400,"code":"bad_correlation_id","detail":"invalid correlation id: expected one header line with 1 to 128 characters of A-Z a-z 0-9 . _ : @ / + = -"}"#;
        let mut response = Response::new(B::from(PROBLEM.to_owned()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        Some(response)
    }
}
