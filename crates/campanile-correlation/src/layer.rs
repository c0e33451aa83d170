use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use crate::settings::{Settings, X_CORRELATION_ID, X_REQUEST_ID};
use crate::{CorrelationId, Reject, Replace, SetCorrelationId, Trust};

/// A [`Layer`] that gives every request a [`CorrelationId`].
///
/// Put it outermost, so that every response passes it.
///
/// | setting | default |
/// |---|---|
/// | [`request_headers`](Self::request_headers) | `x-correlation-id`, `x-request-id` |
/// | [`response_header`](Self::response_header) | `x-correlation-id` |
/// | [`generator`](Self::generator) | [`CorrelationId::generate`]: a UUIDv7 |
/// | [`trust`](Self::trust) | [`Trust::Always`] |
/// | [`reject_invalid`](Self::reject_invalid) | an id that is malformed is replaced |
///
/// A clone is the same layer (an `Arc`).
pub struct CorrelationIdLayer<I = Replace> {
    pub(crate) settings: Arc<Settings>,
    on_invalid: PhantomData<fn(I)>,
}

impl CorrelationIdLayer {
    /// Returns the layer with all settings at their defaults.
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings {
            request_headers: vec![X_CORRELATION_ID, X_REQUEST_ID],
            response_header: X_CORRELATION_ID,
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
    pub fn request_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|settings| settings.request_headers = names.into_iter().collect())
    }

    /// Sets the header in which every response has the id.
    ///
    /// Defaults to `x-correlation-id`.
    #[must_use]
    pub fn response_header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.response_header = name)
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

impl<S, I> Layer<S> for CorrelationIdLayer<I> {
    type Service = SetCorrelationId<S, I>;

    fn layer(&self, inner: S) -> SetCorrelationId<S, I> {
        SetCorrelationId::with(inner, self.clone())
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
            .field("request_headers", &self.settings.request_headers)
            .field("response_header", &self.settings.response_header)
            .field("trust", &self.settings.trust)
            .finish_non_exhaustive()
    }
}
