use std::fmt;
use std::sync::Arc;

use http::Extensions;

/// The template of the path that an exchange matched, such as `/users/{id}`: a label value with a bound, which the raw path
/// is not.
///
/// The layer takes the first that it finds of:
/// 1. what the closure of [`ObserveBuilder::route`](crate::ObserveBuilder::route) returns,
/// 2. a `Route` in the request's extensions, put there by a layer further out,
/// 3. axum's `MatchedPath` (feature `axum`),
/// 4. a `Route` in the *response's* extensions, put there by a service further in,
///
/// and [`Route::UNMATCHED`] if there is none of them. Two routes are equal if their text is.
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
    /// No route: `_unmatched_`, whatever the path was.
    pub const UNMATCHED: Self = Self::from_static("_unmatched_");

    /// One route more than there may be: `_other_`.
    pub const OTHER: Self = Self::from_static("_other_");

    /// Returns the route with this template, without an allocation.
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

    /// Returns whether there is no route.
    pub fn is_unmatched(&self) -> bool {
        *self == Self::UNMATCHED
    }

    /// The route that a router further out has left.
    #[cfg(feature = "axum")]
    #[inline]
    pub(crate) fn matched(extensions: &Extensions) -> Option<Self> {
        let path = extensions.get::<axum::extract::MatchedPath>()?;
        Some(Self(Repr::Matched(path.clone())))
    }

    /// Without a router that is known, none has left one.
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
