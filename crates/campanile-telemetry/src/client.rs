use std::borrow::Cow;
use std::fmt;

use campanile_http::{
    End, ErrorType, Observer, Outcome, RequestHead, Route, TraceRef, method_label,
};
use http::{HeaderMap, StatusCode, Uri};
use tracing::Span;
use tracing::field::Empty;

use crate::span::place_of;

/// An [`Observer`] that creates a span for each request of an HTTP client.
///
/// The fields of the span follow the semantic conventions of OpenTelemetry:
///
/// | field | value |
/// |---|---|
/// | `http.request.method` | the method |
/// | `url.full` | the URL without user, password and query; see [`path`](Self::path) |
/// | `url.template` | the [`Route`] in the request's extensions, if there is one |
/// | `server.address`, `server.port` | of the URL, or of the `Host` header |
/// | `http.response.status_code` | of the response, if one came |
/// | `error.type` | the status from 400 on; without a response the [`ErrorType`], or else `service_error`, `cancelled` or `panicked` |
///
/// The name of the span is the method, followed by the template if there is one. The span ends with
/// the response head.
///
/// Add the layer outside of [`PropagationLayer`](campanile_correlation::PropagationLayer), which
/// then propagates the trace context of this span. The spans of the called service are then below
/// this span in the trace. If the trace is sampled, a [`TraceRef`] is added to the extensions of
/// the request, for observers of metrics that come after this one.
///
/// ```
/// use campanile_correlation::PropagationLayer;
/// use campanile_http::ObserveLayer;
/// use campanile_telemetry::HttpClientSpans;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ServiceBuilder::new()
///     .layer(ObserveLayer::client(HttpClientSpans::new()))
///     .layer(PropagationLayer::new())
///     .service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
/// client.oneshot(Request::get("http://stock/items/7").body(())?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpClientSpans {
    path: fn(&Uri) -> Cow<'_, str>,
}

/// The span of an outgoing request.
#[derive(Debug)]
pub struct ClientSpanExchange {
    /// Ends with the response head.
    span: Span,
    has_head: bool,
    error_type: Option<ErrorType>,
}

impl HttpClientSpans {
    /// Creates the observer.
    #[must_use]
    pub fn new() -> Self {
        Self { path: known_path }
    }

    /// Sets the function that returns the path of `url.full`. Use it if paths contain secrets.
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
    /// Defaults to the whole path, and to `/[redacted]` for webhook hosts whose paths are secrets:
    /// those of Slack, Discord, Telegram, Microsoft Teams, Zapier, IFTTT and Google Chat.
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

/// The webhook hosts whose paths are secrets.
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

impl Observer for HttpClientSpans {
    type Exchange = ClientSpanExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> ClientSpanExchange {
        let method = method_label(head.method());
        let route = Some(head.route()).filter(|route| !route.is_unmatched());
        let uri = head.uri();
        let host = uri.host().or_else(|| {
            let host = head.headers().get(http::header::HOST)?.to_str().ok()?;
            // The colons of an IPv6 address are within brackets.
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
            otel.name = %Name(method, route),
            http.request.method = method,
            url.full = shown(uri, self.path),
            url.template = route.map(Route::as_str),
            server.address = host,
            server.port = port.map(i64::from),
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let error_type = head.extensions().get::<ErrorType>().cloned();
        if let Some(place) = place_of(&span) {
            if place.parent.is_sampled() {
                let trace = TraceRef::new(place.parent.trace_id(), true);
                let trace = trace.with_span(place.parent.parent_id());
                head.extensions_mut().insert(trace);
            }
            head.extensions_mut().insert(place);
        }
        ClientSpanExchange {
            span,
            has_head: false,
            error_type,
        }
    }

    fn scope<T>(&self, exchange: &mut ClientSpanExchange, poll: impl FnOnce() -> T) -> T {
        exchange.span.in_scope(poll)
    }

    fn responded(&self, exchange: &mut ClientSpanExchange, status: StatusCode, _: &HeaderMap) {
        // The span ends now, since an application need not read the body.
        let span = std::mem::replace(&mut exchange.span, Span::none());
        exchange.has_head = true;
        span.record("http.response.status_code", i64::from(status.as_u16()));
        if status.is_client_error() || status.is_server_error() {
            span.record("error.type", status.as_str());
        }
    }

    fn end(&self, exchange: ClientSpanExchange, end: &End) {
        if exchange.has_head {
            return;
        }
        let known = exchange.error_type.and_then(|error_type| error_type.get());
        let error = match end.outcome() {
            Outcome::ServiceError => known.unwrap_or(Outcome::ServiceError.as_str()),
            outcome => outcome.as_str(),
        };
        exchange.span.record("error.type", error);
    }
}

/// The name of a span: `{method} {template}`, or the method alone.
struct Name<'a>(&'static str, Option<&'a Route>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(method, route) = self;
        f.write_str(if *method == "_OTHER" { "HTTP" } else { method })?;
        match route {
            Some(route) => write!(f, " {route}"),
            None => Ok(()),
        }
    }
}

/// Returns a URI without its user, password and query.
fn shown(uri: &Uri, path: fn(&Uri) -> Cow<'_, str>) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let scheme = uri.scheme_str().unwrap_or("http");
    Some(format!("{scheme}://{host}{}", path(uri)))
}

/// Creates the span of a call to a database, cache or queue. Its name is `{operation} {target}`.
/// Its fields follow the semantic conventions of OpenTelemetry: `db.system.name`,
/// `db.operation.name` and `db.collection.name`. Record `error.type` if the call fails.
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
