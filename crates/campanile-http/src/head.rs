use http::{Extensions, HeaderMap, Method, Uri, Version};

use crate::Route;

/// The head of a request, as an observer reads it. Only its extensions can be changed.
#[derive(Debug)]
pub struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a mut Extensions,
    pub(crate) route: Route,
}

impl RequestHead<'_> {
    /// Returns the request's method as the client sent it. For a label use
    /// [`method_label`](crate::method_label).
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the request's URI. For a label use the [`route`](Self::route).
    ///
    /// With feature `axum` the URI includes the prefix of a nested router. If a handler forwards
    /// the request, a layer around the client gets the URI that the handler set.
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// Returns the HTTP version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Returns the request's extensions.
    pub fn extensions(&self) -> &Extensions {
        self.extensions
    }

    /// Returns the request's extensions, mutable. The inner service and the later observers of a
    /// tuple can read what an observer inserts.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions
    }

    /// Returns the route that is known before the inner service runs.
    /// [`End::route`](crate::End::route) is final.
    pub fn route(&self) -> &Route {
        &self.route
    }
}
