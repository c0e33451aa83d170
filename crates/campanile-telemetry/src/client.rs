use std::any::type_name;
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use campanile_http::method_label;
use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::Empty;

use crate::span::place_of;

/// A [`Layer`] for HTTP clients that makes a span of each request to somebody else.
///
/// The span's fields are named as OpenTelemetry's semantic conventions name them: `http.request.method`, `url.full` (without user, password
/// and query; see [`path`](Self::path)), `server.address`, `server.port`, `http.response.status_code`, and `error.type` for a status from 400 on and for an error. It
/// ends with the head of the response.
///
/// Put it around [`PropagationLayer`](campanile_correlation::PropagationLayer), which then sends the request from the place of this span: so what the
/// other service does is below it in the trace.
///
/// ```
/// use campanile_correlation::PropagationLayer;
/// use campanile_telemetry::HttpClientSpans;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ServiceBuilder::new()
///     .layer(HttpClientSpans::new())
///     .layer(PropagationLayer::new())
///     .service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(())));
/// client.oneshot(Request::get("http://stock/items/7").body(())?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpClientSpans {
    path: fn(&Uri) -> Cow<'_, str>,
}

impl HttpClientSpans {
    /// Returns the layer.
    #[must_use]
    pub fn new() -> Self {
        Self { path: known_path }
    }

    /// Sets a function that returns the path that `url.full` shows for a URI. Use it if paths hold secrets.
    ///
    /// ```
    /// use campanile_telemetry::HttpClientSpans;
    ///
    /// let spans = HttpClientSpans::new().path(|uri| match uri.host() {
    ///     Some("stock") => uri.path().into(),
    ///     _ => "/[redacted]".into(),
    /// });
    /// # let _ = spans;
    /// ```
    ///
    /// Defaults to the whole path, and to `/[redacted]` for hosts of webhooks whose paths are secrets: those of Slack, Discord,
    /// Telegram, Microsoft Teams, Zapier, IFTTT and Google Chat.
    #[must_use]
    pub fn path(mut self, path: fn(&Uri) -> Cow<'_, str>) -> Self {
        self.path = path;
        self
    }
}

impl Default for HttpClientSpans {
    fn default() -> Self {
        Self::new()
    }
}

/// Hosts of webhooks, whose paths are as good as passwords.
const SECRET_PATHS: [&str; 10] = [
    "api.telegram.org",
    "chat.googleapis.com",
    "discord.com",
    "discordapp.com",
    "hooks.slack.com",
    "hooks.slack-gov.com",
    "hooks.zapier.com",
    "maker.ifttt.com",
    "outlook.office.com",
    "webhook.office.com",
];

fn known_path(uri: &Uri) -> Cow<'_, str> {
    let host = uri.host().unwrap_or_default().trim_end_matches('.');
    let is_secret = SECRET_PATHS.iter().any(|secret| {
        let (before, end) = host
            .split_at_checked(host.len().saturating_sub(secret.len()))
            .unwrap_or_default();
        end.eq_ignore_ascii_case(secret) && (before.is_empty() || before.ends_with('.'))
    });
    match is_secret {
        true => "/[redacted]".into(),
        false => uri.path().into(),
    }
}

impl<S> Layer<S> for HttpClientSpans {
    type Service = SpannedClient<S>;

    fn layer(&self, inner: S) -> SpannedClient<S> {
        SpannedClient {
            inner,
            path: self.path,
        }
    }
}

/// A client whose requests have spans; made by [`HttpClientSpans`].
#[derive(Clone, Copy, Debug)]
pub struct SpannedClient<S> {
    inner: S,
    path: fn(&Uri) -> Cow<'_, str>,
}

impl<S, B, R> Service<Request<B>> for SpannedClient<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SpannedResponse<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let method = method_label(request.method());
        let uri = request.uri();
        let host = uri.host().or_else(|| {
            let host = request.headers().get(http::header::HOST)?.to_str().ok()?;
            // The colons of an address of IPv6 are within its brackets.
            let port = host.rfind(':').filter(|at| !host[*at..].contains(']'));
            Some(&host[..port.unwrap_or(host.len())])
        });
        let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        let port = uri.port_u16().or_else(|| match uri.scheme_str()? {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        let span = tracing::info_span!(
            "request to others",
            otel.kind = "client",
            otel.name = if method == "_OTHER" { "HTTP" } else { method },
            http.request.method = method,
            url.full = shown(uri, self.path).map(display),
            server.address = host,
            server.port = port.map(i64::from),
            http.response.status_code = Empty,
            error.type = Empty,
        );
        if let Some(place) = place_of(&span) {
            request.extensions_mut().insert(place);
        }
        let inner = span.in_scope(|| self.inner.call(request));
        SpannedResponse { inner, span }
    }
}

/// Returns a URI without what may be a secret in it.
fn shown(uri: &Uri, path: fn(&Uri) -> Cow<'_, str>) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let scheme = uri.scheme_str().unwrap_or("http");
    Some(format!("{scheme}://{host}{}", path(uri)))
}

pin_project! {
    /// The response of a [`SpannedClient`].
    #[derive(Debug)]
    pub struct SpannedResponse<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F, R, E> Future for SpannedResponse<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.span.in_scope(|| this.inner.poll(cx));
        if let Poll::Ready(result) = &polled {
            match result {
                Ok(response) => {
                    let status = response.status();
                    this.span
                        .record("http.response.status_code", i64::from(status.as_u16()));
                    if status.is_client_error() || status.is_server_error() {
                        this.span.record("error.type", status.as_str());
                    }
                }
                Err(_) => {
                    this.span.record("error.type", type_name::<E>());
                }
            }
            // It ends now, and not when the future goes.
            *this.span = Span::none();
        }
        polled
    }
}

/// Returns the span of a call to a database, a cache or a queue: its name is `{operation} {target}`, and its fields are `db.system.name`,
/// `db.operation.name` and `db.collection.name`, as OpenTelemetry's semantic conventions have it. Record `error.type` if it fails.
///
/// ```
/// use campanile_telemetry::client_span;
/// use tracing::Instrument;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let rows = async { 3 }.instrument(client_span("postgresql", "SELECT", "orders")).await;
/// # assert_eq!(rows, 3);
/// # }
/// ```
#[must_use]
pub fn client_span(system: &str, operation: &str, target: &str) -> Span {
    tracing::info_span!(
        "call",
        otel.kind = "client",
        otel.name = %format_args!("{operation} {target}"),
        db.system.name = system,
        db.operation.name = operation,
        db.collection.name = target,
        error.type = Empty,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_secrets_are_not_shown() {
        #[track_caller]
        fn check(uri: &str, expected: &str) {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(shown(&uri, HttpClientSpans::new().path).unwrap(), expected);
        }
        let redacted = "https://hooks.slack.com/[redacted]";
        check("https://hooks.slack.com/services/T0/B0/xyz?q=1", redacted);
        check(
            "https://u:p@API.Telegram.org:443/botTOKEN/send",
            "https://API.Telegram.org:443/[redacted]",
        );
        check(
            "https://acme.webhook.office.com/webhookb2/x",
            "https://acme.webhook.office.com/[redacted]",
        );
        check("http://stock/items/7", "http://stock/items/7");
        check("http://nothooks.slack.com/a", "http://nothooks.slack.com/a");
        let uri = "http://stock/reset/secret".parse().unwrap();
        let spans = HttpClientSpans::new().path(|_| "/…".into());
        assert_eq!(shown(&uri, spans.path).unwrap(), "http://stock/…");
    }
}
