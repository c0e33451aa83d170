use std::sync::Arc;

use http::HeaderName;

use crate::{CorrelationId, RequestHead, Trust};

/// The settings of a [`CorrelationIdLayer`](crate::CorrelationIdLayer).
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) request_headers: Vec<HeaderName>,
    pub(crate) response_header: HeaderName,
    pub(crate) generator: Option<Arc<dyn Fn() -> CorrelationId + Send + Sync>>,
    pub(crate) trust: Trust,
    pub(crate) rejects_invalid: bool,
}

impl Settings {
    #[inline]
    pub(crate) fn generate(&self) -> CorrelationId {
        match &self.generator {
            None => CorrelationId::generate(),
            Some(make) => make(),
        }
    }

    #[inline]
    pub(crate) fn trusts<'a>(&self, head: impl FnOnce() -> RequestHead<'a>) -> bool {
        match &self.trust {
            Trust::Always => true,
            Trust::Never => false,
            Trust::When(is_trusted) => is_trusted(&head()),
        }
    }
}

pub(crate) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
