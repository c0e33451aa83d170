use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::CorrelationId;
use crate::current::Scoped;

const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A [`Layer`] that gives every request a [`CorrelationId`].
///
/// Put it outermost, so that every response passes it.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CorrelationIdLayer;

impl CorrelationIdLayer {
    /// Returns the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for CorrelationIdLayer {
    type Service = Correlate<S>;

    fn layer(&self, inner: S) -> Correlate<S> {
        Correlate::new(inner)
    }
}

/// A [`Service`] that gives every request a [`CorrelationId`]; made by a [`CorrelationIdLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Correlate<S> {
    inner: S,
}

impl<S> Correlate<S> {
    /// Wraps a service.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Returns the layer.
    #[must_use]
    pub fn layer() -> CorrelationIdLayer {
        CorrelationIdLayer::new()
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Correlate<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let id = inbound(request.headers()).unwrap_or_else(CorrelationId::generate);
        request.extensions_mut().insert(id.clone());
        ResponseFuture {
            inner: Scoped::make(id, || self.inner.call(request)),
        }
    }
}

/// The id that a request brings along, if it brings one that is well formed.
fn inbound(headers: &HeaderMap) -> Option<CorrelationId> {
    let name = [X_CORRELATION_ID, X_REQUEST_ID]
        .into_iter()
        .find(|name| headers.contains_key(name))?;
    let mut lines = headers.get_all(&name).iter();
    let id = lines
        .next()
        .map(|line| CorrelationId::from_bytes(line.as_bytes()));
    match (id, lines.next()) {
        (Some(Ok(id)), None) => Some(id),
        (Some(Err(error)), None) => {
            tracing::debug!(header = name.as_str(), %error, "correlation_id_rejected");
            None
        }
        _ => {
            tracing::debug!(
                header = name.as_str(),
                error = "more than one line",
                "correlation_id_rejected"
            );
            None
        }
    }
}

pin_project! {
    /// The response future of [`Correlate`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Scoped<F>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut inner = self.project().inner;
        let mut result = ready!(inner.as_mut().poll(cx));
        if let (Ok(response), Some(id)) = (&mut result, inner.take_id()) {
            response
                .headers_mut()
                .insert(X_CORRELATION_ID, id.into_header());
        }
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Sends a request with these headers, and returns the id that its handler saw, having checked that the response and
    /// the request's extensions agree with it.
    async fn exchange(headers: &[(&str, &[u8])]) -> String {
        let service = Correlate::new(service_fn(async |request: Request<()>| {
            let current = CorrelationId::current();
            assert_eq!(request.extensions().get(), current.as_ref());
            tokio::task::yield_now().await;
            assert_eq!(CorrelationId::current(), current);
            let mut response = Response::new(current.unwrap());
            response
                .headers_mut()
                .append("x-correlation-id", "the handler's own".parse().unwrap());
            response
                .headers_mut()
                .append("x-correlation-id", "and another".parse().unwrap());
            Ok::<_, Infallible>(response)
        }));
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        assert_eq!(CorrelationId::current(), None);
        let echoed: Vec<_> = response
            .headers()
            .get_all("x-correlation-id")
            .iter()
            .collect();
        assert_eq!(echoed, [response.body().as_str()]);
        response.body().as_str().to_owned()
    }

    #[tokio::test]
    async fn which_id_a_request_gets() {
        async fn kept(headers: &[(&str, &[u8])], expected: &str) {
            assert_eq!(exchange(headers).await, expected);
        }
        async fn replaced(headers: &[(&str, &[u8])]) {
            let id = exchange(headers).await;
            assert!(
                uuid::Uuid::parse_str(&id).is_ok_and(|id| id.get_version_num() == 7),
                "{headers:?} gave {id}"
            );
        }
        let longest = [b'x'; 128];
        kept(&[("x-correlation-id", b"abc-1")], "abc-1").await;
        kept(&[("X-Request-Id", b"req:1")], "req:1").await;
        kept(
            &[("x-request-id", b"second"), ("x-correlation-id", b"first")],
            "first",
        )
        .await;
        kept(
            &[("x-correlation-id", &longest)],
            std::str::from_utf8(&longest).unwrap(),
        )
        .await;
        replaced(&[]).await;
        replaced(&[("x-correlation-id", b"")]).await;
        replaced(&[("x-correlation-id", &[b'x'; 129])]).await;
        replaced(&[("x-correlation-id", b"<script>")]).await;
        replaced(&[("x-correlation-id", b"a b")]).await;
        replaced(&[("x-correlation-id", b"caf\xc3\xa9")]).await;
        replaced(&[("x-correlation-id", b"\xff")]).await;
        // A malformed header is not made good by the next name.
        replaced(&[("x-correlation-id", b"bad id"), ("x-request-id", b"good")]).await;
        replaced(&[("x-correlation-id", b"one"), ("x-correlation-id", b"two")]).await;
        replaced(&[("x-correlation-id", b"one"), ("x-correlation-id", b"one")]).await;
        replaced(&[("x-request-id", b"one"), ("x-request-id", b"two")]).await;
    }

    #[tokio::test]
    async fn an_error_passes_through() {
        let service = Correlate::new(service_fn(async |_: Request<()>| {
            Err::<Response<()>, _>("no luck")
        }));
        assert_eq!(
            service.oneshot(Request::new(())).await.unwrap_err(),
            "no luck"
        );
    }

    /// What is logged of a request, at all levels.
    fn logged(headers: &[(&str, &[u8])]) -> String {
        use std::sync::{Arc, Mutex};

        use tracing::field::{Field, Visit};
        use tracing_subscriber::layer::{Context, SubscriberExt};

        #[derive(Clone, Default)]
        struct Text(Arc<Mutex<String>>);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                *self.0.lock().unwrap() += &format!("{field}={value:?} ");
            }
        }
        impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Text {
            fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
                event.record(&mut self.clone());
            }
        }
        let text = Text::default();
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(text.clone()),
            || {
                tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap()
                    .block_on(exchange(headers));
            },
        );
        text.0.lock().unwrap().clone()
    }

    #[test]
    fn a_rejected_id_is_logged_without_its_text() {
        assert_eq!(logged(&[("x-correlation-id", b"fine")]), "");
        for headers in [
            &[("x-correlation-id", &b"<script>"[..])][..],
            &[("x-request-id", b"script\xff")],
            &[
                ("x-correlation-id", b"script1"),
                ("x-correlation-id", b"script2"),
            ],
        ] {
            let text = logged(headers);
            assert!(
                text.contains("correlation_id_rejected") && !text.contains("script"),
                "{text}"
            );
        }
    }

    #[test]
    fn types_are_what_servers_ask_for() {
        fn check<T: Send + Sync + fmt::Debug + 'static>() {}
        check::<(
            CorrelationIdLayer,
            Correlate<()>,
            ResponseFuture<()>,
            CorrelationId,
        )>();
    }
}
