use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::current::Scoped;
use crate::header_presence::{BAGGAGE, HeaderPresence, TRACEPARENT, TRACESTATE};
use crate::inbound_id::InboundId;
use crate::settings::{Settings, X_CORRELATION_ID};
use crate::{Correlation, CorrelationIdLayer, OnInvalid, Replace, RequestHead, ResponseBody};

/// A [`Service`] that gives every request a correlation id, created by a [`CorrelationIdLayer`].
#[derive(Debug)]
pub struct SetCorrelationId<S, I = Replace> {
    inner: S,
    layer: CorrelationIdLayer<I>,
}

impl<S> SetCorrelationId<S> {
    /// Wraps a service with the default settings.
    pub fn new(inner: S) -> Self {
        Self::with(inner, CorrelationIdLayer::new())
    }

    /// Creates a layer with the default settings.
    #[must_use]
    pub fn layer() -> CorrelationIdLayer {
        CorrelationIdLayer::new()
    }
}

impl<S, I> SetCorrelationId<S, I> {
    pub(crate) fn with(inner: S, layer: CorrelationIdLayer<I>) -> Self {
        Self { inner, layer }
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

impl<S: Clone, I> Clone for SetCorrelationId<S, I> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.layer.clone())
    }
}

impl<S, I, ReqBody, ResBody> Service<Request<ReqBody>> for SetCorrelationId<S, I>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    I: OnInvalid<ResBody>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let settings = &*self.layer.settings;
        let head = || RequestHead {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        let (id, correlation) = match settings.trusts(head) {
            false => {
                remove(request.headers_mut(), &settings.request_headers);
                remove(request.headers_mut(), &CONTEXT_HEADERS);
                (InboundId::Absent, Correlation::default())
            }
            true => {
                let headers = request.headers();
                let presence = HeaderPresence::scan(headers, &settings.request_headers);
                let id = match presence.id {
                    true => InboundId::from_headers(headers, &settings.request_headers),
                    false => InboundId::Absent,
                };
                let correlation = Correlation::extract(headers, presence);
                let headers = request.headers_mut();
                match &id {
                    InboundId::Absent => {}
                    InboundId::Invalid(_) => remove(headers, &settings.request_headers),
                    InboundId::Valid(_) => {
                        // The first of these headers has the id.
                        let names = &settings.request_headers;
                        let first = names.iter().position(|name| headers.contains_key(name));
                        remove(headers, &names[first.map_or(0, |first| first + 1)..]);
                    }
                }
                if (presence.parent || presence.state) && correlation.trace().is_none() {
                    remove(headers, &CONTEXT_HEADERS[..2]);
                }
                if presence.baggage && correlation.baggage().is_none() {
                    remove(headers, &CONTEXT_HEADERS[2..]);
                }
                (id, correlation)
            }
        };
        let invalid = match id {
            InboundId::Invalid(error) => Some(error),
            _ => None,
        };
        let rejection = invalid.and_then(|_| I::response());
        let id = match (id, correlation.trace()) {
            (InboundId::Valid(id), _) => id,
            // One search finds the request and its trace.
            (InboundId::Absent, Some(trace)) => trace.parent.trace_id().into(),
            _ => settings.generate(),
        };
        let response_header = custom_response_header(settings);
        if let Some(mut response) = rejection {
            response
                .headers_mut()
                .insert(settings.response_header.clone(), id.into());
            return ResponseFuture {
                state: State::Rejected {
                    response: Some(response),
                },
            };
        }
        if let Some(error) = invalid {
            request.extensions_mut().insert(error);
        }
        request.extensions_mut().insert(id.clone());
        let correlation = correlation.with_id(id);
        ResponseFuture {
            state: State::Called {
                inner: Scoped::make(correlation, || self.inner.call(request)),
                response_header,
            },
        }
    }
}

/// The headers of a trace and of baggage.
const CONTEXT_HEADERS: [HeaderName; 3] = [TRACEPARENT, TRACESTATE, BAGGAGE];

/// Removes headers that the layer does not accept, so that no proxy forwards them.
#[inline]
fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    if !headers.is_empty() {
        for name in names {
            headers.remove(name);
        }
    }
}

/// Returns the response header if it is not the default one.
#[inline]
fn custom_response_header(settings: &Settings) -> Option<HeaderName> {
    (settings.response_header != X_CORRELATION_ID).then(|| settings.response_header.clone())
}

pin_project! {
    /// The response future of [`SetCorrelationId`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        Called {
            #[pin]
            inner: Scoped<F>,
            response_header: Option<HeaderName>,
        },
        Rejected { response: Option<Response<B>> },
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut inner, response_header) = match self.project().state.project() {
            StateProjection::Called {
                inner,
                response_header,
            } => (inner, response_header),
            StateProjection::Rejected { response } => {
                return response.take().map_or(Poll::Pending, |response| {
                    Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, None))))
                });
            }
        };
        let result = ready!(inner.as_mut().poll(cx));
        let correlation = inner.take();
        Poll::Ready(result.map(|mut response| {
            if let Some(id) = correlation.as_ref().and_then(Correlation::id) {
                let name = response_header.take().unwrap_or(X_CORRELATION_ID);
                let id = id.clone().into_header();
                response.headers_mut().insert(name, id);
            }
            response.map(|body| ResponseBody::new(body, correlation))
        }))
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
