//! The layer as a middleware of `reqwest-middleware`.

use std::future::{Future, pending};
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use campanile_http::{ErrorType, ResponseBody, Route};
use http::{Extensions, Response};
use http_body::{Body, Frame, SizeHint};
use reqwest::ResponseBuilderExt;
use reqwest_middleware::{Error, Middleware, Next, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::{ClientLayer, ClientObservers};

/// For `ClientBuilder::with` of `reqwest-middleware` 0.5, with `reqwest` 0.13.
///
/// The template of the URL's path is a [`Route`] among the extensions:
/// `client.get(url).with_extension(Route::from_static("/items/{id}"))`. A request without a
/// response has the `error_type` `timeout`, `connect`, `redirect` or `request`. It is `middleware`
/// for the error of another middleware.
///
/// Middleware that is added before this one is around it: retries belong there. reqwest follows
/// redirects inside of it, so a request and its redirects are one. Timeouts of reqwest are inside
/// of it, too.
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
#[async_trait]
impl Middleware for ClientLayer {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        // The layer sees the head alone: a conversion of the whole request would lose its URL's fragment.
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        // reqwest rejects a URL that is no URI.
        *head.uri_mut() = request.url().as_str().parse().unwrap_or_default();
        *head.version_mut() = request.version();
        *head.headers_mut() = mem::take(request.headers_mut());
        if let Some(route) = extensions.get::<Route>() {
            head.extensions_mut().insert(route.clone());
        }
        head.extensions_mut().insert(ErrorType::new());
        let mut service = self.layer(SendOnce(Some((request, extensions, next))));
        let response = service.call(head).await?;
        Ok(response.map(SyncBody::wrap).into())
    }
}

/// Sends the one request that it has, with the headers that it is called with.
struct SendOnce<'a>(Option<(reqwest::Request, &'a mut Extensions, Next<'a>)>);

impl<'a> Service<http::Request<()>> for SendOnce<'a> {
    type Response = Response<reqwest::Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, head: http::Request<()>) -> Self::Future {
        let (head, ()) = head.into_parts();
        let Some((mut request, extensions, next)) = self.0.take() else {
            // It is called once.
            return Box::pin(pending());
        };
        *request.headers_mut() = head.headers;
        Box::pin(async move {
            let response = next.run(request, extensions).await.inspect_err(|error| {
                if let Some(error_type) = head.extensions.get::<ErrorType>() {
                    error_type.set(kind(error));
                }
            })?;
            // A conversion loses the URL, unless it is among the extensions.
            let url = Response::builder().url(response.url().clone()).body(());
            let mut response = Response::from(response);
            if let Ok(url) = url {
                response
                    .extensions_mut()
                    .extend(url.into_parts().0.extensions);
            }
            Ok(response)
        })
    }
}

/// Returns the `error_type` of an error.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Reqwest(error) if error.is_timeout() => "timeout",
        Error::Reqwest(error) if error.is_connect() => "connect",
        Error::Reqwest(error) if error.is_redirect() => "redirect",
        Error::Reqwest(_) => "request",
        Error::Middleware(_) => "middleware",
    }
}

/// A response body that is `Sync`, as reqwest requires.
struct SyncBody(Mutex<Observed>);

type Observed = Pin<Box<ResponseBody<reqwest::Body, ClientObservers>>>;

impl SyncBody {
    fn wrap(body: ResponseBody<reqwest::Body, ClientObservers>) -> reqwest::Body {
        reqwest::Body::wrap(Self(Mutex::new(Box::pin(body))))
    }

    fn inner(&self) -> MutexGuard<'_, Observed> {
        // A body that panicked is not polled again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for SyncBody {
    type Data = <reqwest::Body as Body>::Data;
    type Error = <reqwest::Body as Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Self::Data>, Self::Error>>> {
        let inner = self.get_mut().0.get_mut();
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        inner.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().size_hint()
    }
}
