use http::{Extensions, HeaderMap, Method, Uri, Version};

/// The head of a request, as [`Trust::when`](crate::Trust::when) reads it.
///
/// It is read-only. It has the methods of `campanile_http::RequestHead`, except the route, which
/// is not known before the router runs.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl RequestHead<'_> {
    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// Returns the HTTP version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Returns the extensions that outer layers have set.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }
}
