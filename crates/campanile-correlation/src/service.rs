use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::correlation::{BAGGAGE, ContextPresence, TRACEPARENT, TRACESTATE};
use crate::current::Scoped;
use crate::settings::{Settings, X_CORRELATION_ID};
use crate::{
    Correlation, CorrelationId, CorrelationIdLayer, InvalidCorrelationId, OnInvalid, Replace,
    RequestHead, ResponseBody,
};

/// A [`Service`] that gives every request a [`CorrelationId`]; made by a [`CorrelationIdLayer`].
#[derive(Debug)]
pub struct SetCorrelationId<S, I = Replace> {
    inner: S,
    layer: CorrelationIdLayer<I>,
}

impl<S> SetCorrelationId<S> {
    /// Wraps a service, with all settings at their defaults.
    pub fn new(inner: S) -> Self {
        Self::with(inner, CorrelationIdLayer::new())
    }

    /// Returns the layer, with all settings at their defaults.
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

    /// Returns the inner service to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service and forgets the rest.
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
                discard(request.headers_mut(), &settings.request_headers);
                discard(request.headers_mut(), &CONTEXT_HEADERS);
                (None, Correlation::default())
            }
            true => {
                let headers = request.headers();
                let (has_id, context) = scan(headers, &settings.request_headers);
                let id = match has_id {
                    true => id(headers, &settings.request_headers),
                    false => None,
                };
                let correlation = Correlation::extract(headers, context);
                let headers = request.headers_mut();
                match id {
                    Some(Err(_)) => discard(headers, &settings.request_headers),
                    // The id is that of the first of these headers.
                    Some(Ok(_)) => {
                        let taken = settings
                            .request_headers
                            .iter()
                            .position(|name| headers.contains_key(name));
                        discard(
                            headers,
                            &settings.request_headers[taken.map_or(0, |taken| taken + 1)..],
                        );
                    }
                    None => {}
                }
                if (context.parent || context.state) && correlation.trace().is_none() {
                    discard(headers, &CONTEXT_HEADERS[..2]);
                }
                if context.baggage && correlation.baggage().is_none() {
                    discard(headers, &CONTEXT_HEADERS[2..]);
                }
                (id, correlation)
            }
        };
        let invalid = match id {
            Some(Err(error)) => Some(error),
            _ => None,
        };
        let rejection = invalid.and_then(|_| I::response());
        let id = match (id, correlation.trace()) {
            (Some(Ok(id)), _) => id,
            // One search finds all that belongs to the trace.
            (None, Some(trace)) => trace.parent.trace_id().into(),
            _ => settings.generate(),
        };
        let write = written(settings);
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
                write,
            },
        }
    }
}

/// The headers of a trace, and of baggage.
const CONTEXT_HEADERS: [HeaderName; 3] = [TRACEPARENT, TRACESTATE, BAGGAGE];

/// Removes headers that are not taken up, so that no proxy passes them on.
#[inline]
fn discard(headers: &mut HeaderMap, names: &[HeaderName]) {
    if !headers.is_empty() {
        for name in names {
            headers.remove(name);
        }
    }
}

/// Returns whether a request may have an id, and which headers of a context it may have.
///
/// The scan reads each name once, which is faster than one lookup per header, unless there are many names.
#[inline]
fn scan(headers: &HeaderMap, names: &[HeaderName]) -> (bool, ContextPresence) {
    let is_any = headers.keys_len() > 32;
    let mut has_id = is_any;
    let mut context = ContextPresence {
        parent: is_any,
        state: is_any,
        baggage: is_any,
    };
    if is_any {
        return (has_id, context);
    }
    for name in headers.keys() {
        context.parent |= *name == TRACEPARENT;
        context.state |= *name == TRACESTATE;
        context.baggage |= *name == BAGGAGE;
        has_id |= names.contains(name);
    }
    (has_id, context)
}

/// Returns the name of the response's header if it is not the usual one.
#[inline]
fn written(settings: &Settings) -> Option<HeaderName> {
    (settings.response_header != X_CORRELATION_ID).then(|| settings.response_header.clone())
}

/// Returns the id that a request brings along, or why it is not valid; `None` if there is none.
#[inline]
fn id(
    headers: &HeaderMap,
    names: &[HeaderName],
) -> Option<Result<CorrelationId, InvalidCorrelationId>> {
    let mut found = names.iter().filter_map(|name| {
        let mut lines = headers.get_all(name).iter();
        Some((name, lines.next()?, lines.next()))
    });
    let (name, line, another) = found.next()?;
    let id = match another {
        None => CorrelationId::from_bytes(line.as_bytes()),
        Some(_) => Err(InvalidCorrelationId::lines()),
    };
    if let Err(error) = &id {
        tracing::debug!(header = name.as_str(), %error, "rejected correlation id");
    }
    Some(id)
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
            write: Option<HeaderName>,
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
        let (mut inner, write) = match self.project().state.project() {
            StateProjection::Called { inner, write } => (inner, write),
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
                let name = write.take().unwrap_or(X_CORRELATION_ID);
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
