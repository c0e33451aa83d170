use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::guard::Guard;
use super::shared::Shared;
use crate::{ObserveLayer, Observer, ResponseBody, ResponseFuture};

/// A [`Service`] that calls an [`Observer`] for every HTTP exchange, created by an
/// [`ObserveLayer`].
///
/// The types of the request body and of the error stay the same.
pub struct Observe<S, O> {
    inner: S,
    shared: Arc<Shared<O>>,
}

impl<S, O> Observe<S, O> {
    /// Wraps a service with the default settings.
    pub fn new(inner: S, observer: O) -> Self
    where
        O: Observer,
    {
        tower_layer::Layer::layer(&Self::layer(observer), inner)
    }

    pub(super) fn from_parts(inner: S, shared: Arc<Shared<O>>) -> Self {
        Self { inner, shared }
    }

    /// Creates a layer with the default settings.
    pub fn layer(observer: O) -> ObserveLayer<O> {
        ObserveLayer::new(observer)
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, mutable.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, O, ReqBody, ResBody> Service<Request<ReqBody>> for Observe<S, O>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
    O: Observer,
{
    type Response = Response<ResponseBody<ResBody, O>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let mut guard = Guard::begin(&self.shared, &mut request);
        let future = match &mut guard {
            Some(guard) => guard.scope(|| self.inner.call(request)),
            None => self.inner.call(request),
        };
        ResponseFuture::new(future, guard)
    }
}

impl<S: Clone, O> Clone for Observe<S, O> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug, O> fmt::Debug for Observe<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
