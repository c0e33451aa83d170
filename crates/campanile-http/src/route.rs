use std::fmt;
use std::sync::Arc;

use http::Extensions;

/// The path template that a request matched, such as `/users/{id}`.
///
/// The number of templates is bounded, so a route can be a label value. A raw path can't.
///
/// The layer takes the route from the first of these sources that has one:
///
/// 1. the closure of [`ObserveBuilder::route`](crate::ObserveBuilder::route),
/// 2. a `Route` in the request's extensions, set by an outer layer,
/// 3. axum's `MatchedPath` (feature `axum`),
/// 4. a `Route` in the *response's* extensions, set by an inner service.
///
/// Otherwise the route is [`Route::UNMATCHED`]. Two routes are equal if their templates are.
#[derive(Clone)]
pub struct Route(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
}

impl Route {
    /// The route of a request that matched no template: `_unmatched_`.
    pub const UNMATCHED: Self = Self::from_static("_unmatched_");

    /// The route of a request past the limit of routes: `_other_`.
    pub const OTHER: Self = Self::from_static("_other_");

    /// Creates a route with this template. It does not allocate.
    pub const fn from_static(template: &'static str) -> Self {
        Self(Repr::Static(template))
    }

    /// Returns the template.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(template) => template,
            Repr::Shared(template) => template,
            #[cfg(feature = "axum")]
            Repr::Matched(path) => path.as_str(),
        }
    }

    /// Returns whether the request matched no template.
    pub fn is_unmatched(&self) -> bool {
        *self == Self::UNMATCHED
    }

    /// Returns the route that an outer axum router has set.
    #[cfg(feature = "axum")]
    #[inline]
    pub(crate) fn matched(extensions: &Extensions) -> Option<Self> {
        let path = extensions.get::<axum::extract::MatchedPath>()?;
        Some(Self(Repr::Matched(path.clone())))
    }

    /// Returns `None`: without feature `axum` no router is known.
    #[cfg(not(feature = "axum"))]
    pub(crate) fn matched(_: &Extensions) -> Option<Self> {
        None
    }
}

impl From<&'static str> for Route {
    fn from(template: &'static str) -> Self {
        Self::from_static(template)
    }
}

impl From<Arc<str>> for Route {
    fn from(template: Arc<str>) -> Self {
        Self(Repr::Shared(template))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.as_str()).finish()
    }
}
