use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use crate::settings::{Settings, X_CORRELATION_ID, X_REQUEST_ID};
use crate::{CorrelationId, Reject, Replace, SetCorrelationId, Trust};

/// A [`Layer`] that gives every request a [`CorrelationId`].
///
/// Make it the outermost layer, so that every response passes it.
///
/// | setting | default |
/// |---|---|
/// | [`request_headers`](Self::request_headers) | `x-correlation-id`, `x-request-id` |
/// | [`response_header`](Self::response_header) | `x-correlation-id` |
/// | [`generator`](Self::generator) | [`CorrelationId::generate`]: a UUIDv7 |
/// | [`trust`](Self::trust) | [`Trust::Always`] |
/// | [`reject_invalid`](Self::reject_invalid) | off: a malformed id is replaced |
///
/// A clone shares the settings (an `Arc`).
pub struct CorrelationIdLayer<I = Replace> {
    pub(crate) settings: Arc<Settings>,
    on_invalid: PhantomData<fn(I)>,
}

impl CorrelationIdLayer {
    /// Creates a layer with the defaults.
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

    /// Rejects a request with a malformed or repeated id.
    ///
    /// The response is 400 with `application/problem+json`. It describes a valid id, and does not
    /// repeat the malformed one. The inner service is not called. Defaults to replacing the id.
    #[must_use]
    pub fn reject_invalid(self) -> CorrelationIdLayer<Reject> {
        let layer = self.set(|settings| settings.rejects_invalid = true);
        CorrelationIdLayer {
            settings: layer.settings,
            on_invalid: PhantomData,
        }
    }
}

/// Creates a layer with the same settings that replaces malformed ids.
///
/// Its services insert an [`InvalidCorrelationId`](crate::InvalidCorrelationId) into the request's
/// extensions. An inner service can respond with 400 if
/// [`rejects_invalid`](CorrelationIdLayer::rejects_invalid) returns true.
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

    /// Sets the request headers that the layer reads the id from.
    ///
    /// The first of them that a request has decides. With an empty list, the layer accepts no ids.
    /// Defaults to `x-correlation-id` and `x-request-id`.
    #[must_use]
    pub fn request_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|settings| settings.request_headers = names.into_iter().collect())
    }

    /// Sets the response header that the layer writes the id to.
    ///
    /// Defaults to `x-correlation-id`.
    #[must_use]
    pub fn response_header(self, name: HeaderName) -> Self {
        self.set(|settings| settings.response_header = name)
    }

    /// Sets the function that generates an id for a request without one.
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

    /// Sets the clients whose ids, traces and baggage the layer accepts. Every other request gets a
    /// new id and is a root.
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
