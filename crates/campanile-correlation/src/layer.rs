use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, Method, Uri};
use tower_layer::Layer;

use crate::{Correlate, CorrelationId};

/// A [`Layer`] that gives every request a [`CorrelationId`].
///
/// Put it outermost, so that every response passes it.
///
/// | setting | default |
/// |---|---|
/// | [`read`](Self::read) | `x-correlation-id`, `x-request-id` |
/// | [`write`](Self::write) | `x-correlation-id` |
/// | [`generator`](Self::generator) | [`CorrelationId::generate`]: a UUIDv7 |
/// | [`trust`](Self::trust) | [`Trust::Always`] |
/// | [`reject_invalid`](Self::reject_invalid) | an id that is malformed is replaced |
///
/// A clone is the same layer (an `Arc`).
pub struct CorrelationIdLayer<I = Replace> {
    pub(crate) settings: Arc<Settings>,
    on_invalid: PhantomData<fn(I)>,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) read: Vec<HeaderName>,
    pub(crate) write: HeaderName,
    generator: Option<Arc<dyn Fn() -> CorrelationId + Send + Sync>>,
    trust: Trust,
    rejects_invalid: bool,
}

/// Whose ids, traces and baggage are taken up.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Everybody's.
    #[default]
    Always,
    /// Nobody's.
    Never,
    /// Those of the requests for which a closure returns true.
    When(Arc<dyn Fn(&Inbound<'_>) -> bool + Send + Sync>),
}

impl Trust {
    /// Trusts the requests for which a closure returns true.
    ///
    /// ```
    /// use campanile_correlation::{CorrelationIdLayer, Trust};
    ///
    /// let from_gateway = Trust::when(|request| request.headers.contains_key("x-gateway"));
    /// let layer = CorrelationIdLayer::new().trust(from_gateway);
    /// ```
    pub fn when(is_trusted: impl Fn(&Inbound<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::When(Arc::new(is_trusted))
    }
}

/// The head of a request that may be trusted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Inbound<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its URI.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What the layers before this one know of it.
    pub extensions: &'a Extensions,
}

/// What to do with a malformed id: to replace it by a new one.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Replace;

/// What to do with a malformed id: to answer 400.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reject;

impl CorrelationIdLayer {
    /// Returns the layer with all settings at their defaults.
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings {
            read: vec![X_CORRELATION_ID, X_REQUEST_ID],
            write: X_CORRELATION_ID,
            generator: None,
            trust: Trust::Always,
            rejects_invalid: false,
        };
        Self {
            settings: Arc::new(settings),
            on_invalid: PhantomData,
        }
    }

    /// Responds to a request whose id is malformed, or there twice, with 400 and `application/problem+json`, which says what an id may
    /// be but does not repeat it. The inner service doesn't see the request.
    ///
    /// Defaults to replacing the id.
    #[must_use]
    pub fn reject_invalid(self) -> CorrelationIdLayer<Reject> {
        let layer = self.set(|settings| settings.rejects_invalid = true);
        CorrelationIdLayer {
            settings: layer.settings,
            on_invalid: PhantomData,
        }
    }
}

/// The layer with the same settings, but a malformed id is replaced. Its services leave an
/// [`InvalidCorrelationId`](crate::InvalidCorrelationId) in the request's extensions, from which a service further in can respond with
/// 400; [`rejects_invalid`](CorrelationIdLayer::rejects_invalid) tells whether it should.
impl From<CorrelationIdLayer<Reject>> for CorrelationIdLayer {
    fn from(layer: CorrelationIdLayer<Reject>) -> Self {
        Self {
            settings: layer.settings,
            on_invalid: PhantomData,
        }
    }
}

impl<I> CorrelationIdLayer<I> {
    /// Returns whether [`reject_invalid`](CorrelationIdLayer::reject_invalid) is set.
    #[must_use]
    pub fn rejects_invalid(&self) -> bool {
        self.settings.rejects_invalid
    }

    /// Sets the headers in which a request may bring its id, in this order: the first that is there decides. None at all is as
    /// [`Trust::Never`] for ids.
    ///
    /// Defaults to `x-correlation-id` and `x-request-id`.
    #[must_use]
    pub fn read(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|settings| settings.read = names.into_iter().collect())
    }

    /// Sets the header in which every response has the id.
    ///
    /// Defaults to `x-correlation-id`.
    #[must_use]
    pub fn write(self, name: HeaderName) -> Self {
        self.set(|settings| settings.write = name)
    }

    /// Sets what makes an id for a request that has none.
    ///
    /// ```
    /// use campanile_correlation::{CorrelationId, CorrelationIdLayer};
    ///
    /// let layer = CorrelationIdLayer::new().generator(CorrelationId::generate_v4);
    /// ```
    ///
    /// Defaults to [`CorrelationId::generate`].
    #[must_use]
    pub fn generator(self, make: impl Fn() -> CorrelationId + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.generator = Some(Arc::new(make)))
    }

    /// Sets whose ids, traces and baggage are taken up; anybody else's request begins anew.
    ///
    /// Defaults to [`Trust::Always`].
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        self.set(|settings| settings.trust = trust)
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
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
    pub(crate) fn trusts<'a>(&self, inbound: impl FnOnce() -> Inbound<'a>) -> bool {
        match &self.trust {
            Trust::Always => true,
            Trust::Never => false,
            Trust::When(is_trusted) => is_trusted(&inbound()),
        }
    }
}

pub(crate) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl<S, I> Layer<S> for CorrelationIdLayer<I> {
    type Service = Correlate<S, I>;

    fn layer(&self, inner: S) -> Correlate<S, I> {
        Correlate::with(inner, self.clone())
    }
}

impl Default for CorrelationIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<I> Clone for CorrelationIdLayer<I> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            on_invalid: PhantomData,
        }
    }
}

impl<I> fmt::Debug for CorrelationIdLayer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorrelationIdLayer")
            .field("read", &self.settings.read)
            .field("write", &self.settings.write)
            .field("trust", &self.settings.trust)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::When(_) => "When",
        })
    }
}
