use http::{Extensions, HeaderMap, Method, Uri, Version};

use crate::Route;

/// The head of a request, as an observer sees it: to read, but for its extensions.
#[derive(Debug)]
pub struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a mut Extensions,
    pub(crate) route: Route,
}

impl Head<'_> {
    /// Returns the request's method, as it came: for a label use [`method_label`](crate::method_label).
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the request's URI. For a label use the [`route`](Self::route).
    ///
    /// With feature `axum` it has the prefix that a router with this layer is nested below. If a
    /// handler forwards the request, a layer around the client sees the URI that the handler set.
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

    /// Returns the request's extensions to add to: the inner service and later observers see what is put there.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions
    }

    /// Returns the route as far as it is known before the inner service ran; [`End::route`](crate::End::route) is final.
    pub fn route(&self) -> &Route {
        &self.route
    }
}
