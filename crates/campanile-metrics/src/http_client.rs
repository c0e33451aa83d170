use std::fmt;

use campanile_http::{
    End, ErrorType, GrpcStatus, Observer, Outcome, RequestHead, Route, TraceRef, method_label,
};
use http::uri::Scheme;

use crate::{Histogram, Kind, Metric, RegisterError, Registry};

/// An [`Observer`] that counts and times the requests that an HTTP client sends.
///
/// | metric | kind | what it is |
/// |---|---|---|
/// | `http_client_request_duration_seconds{http_request_method,url_template,server_address,server_port,http_response_status_code,error_type}` | histogram | time from the request to the last byte of its response |
///
/// Name and labels are those of OpenTelemetry's semantic conventions. A label without a value is
/// absent:
///
/// | label | value |
/// |---|---|
/// | `http_request_method` | the method; `_OTHER` if it is not one of HTTP's |
/// | `url_template` | the [`Route`](campanile_http::Route) in the request's extensions, if there is one; never the path |
/// | `server_address`, `server_port` | of the URL |
/// | `http_response_status_code` | of the response, if one came |
/// | `error_type` | the outcome, see below |
///
/// | outcome of the request | `error_type` |
/// |---|---|
/// | a response with a status below 400 | absent, also if its body is not read to the end |
/// | a response with a status from 400 on | the status |
/// | a response to a gRPC call whose status is not OK | the name of gRPC's status |
/// | a response whose body failed | `body_error` |
/// | no response, but an error | the [`ErrorType`], such as `timeout`, or else `service_error` |
/// | no response: the caller dropped the future | `cancelled` |
/// | a panic of the client | `panicked` |
///
/// Put a timeout inside of this layer, so that it is an error of the service. A timeout around the
/// layer drops the future, which is `cancelled`. Put retries around the layer: each attempt is a
/// request.
///
/// ```
/// use campanile_http::{ObserveLayer, Route};
/// use campanile_metrics::{HttpClientMetrics, Registry};
/// use http::{Request, Response};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new();
/// let client = service_fn(async |_: Request<String>| Ok::<_, std::io::Error>(Response::new(String::new())));
/// let mut client = ObserveLayer::client(HttpClientMetrics::register(&registry)?).layer(client);
///
/// let mut request = Request::get("https://api.example/v1/pay/7").body(String::new())?;
/// request.extensions_mut().insert(Route::from_static("/v1/pay/{id}"));
/// client.ready().await?.call(request).await?;
/// let labels = [
///     ("http_request_method", "GET"),
///     ("url_template", "/v1/pay/{id}"),
///     ("server_address", "api.example"),
///     ("server_port", "443"),
///     ("http_response_status_code", "200"),
/// ];
/// assert!(registry.get("http_client_request_duration_seconds", &labels).is_some());
/// # Ok(())
/// # }
/// ```
///
/// The address is the URL's host. A service that sends requests to addresses from its clients has
/// as many series, up to the registry's limit for a family.
///
/// A clone shares the registry.
#[derive(Clone)]
pub struct HttpClientMetrics(Registry);

/// The state of an outgoing request.
#[derive(Clone, Debug)]
pub struct HttpClientExchange {
    method: &'static str,
    host: Box<str>,
    port: Option<u16>,
    trace: Option<TraceRef>,
    has_head: bool,
    error_type: Option<ErrorType>,
}

const DURATION: &str = "http_client_request_duration_seconds";

impl HttpClientMetrics {
    /// Creates an observer that writes to a registry.
    ///
    /// # Errors
    ///
    /// If the registry has the name for a metric of another kind.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        registry.check_names(&[(DURATION, Kind::Histogram)])?;
        registry.describe(DURATION, "Duration of HTTP client requests.");
        Ok(Self(registry.clone()))
    }
}

impl Observer for HttpClientMetrics {
    type Exchange = HttpClientExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> HttpClientExchange {
        let uri = head.uri();
        let default = || match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
            Some(scheme) if *scheme == Scheme::HTTP => Some(80),
            _ => None,
        };
        HttpClientExchange {
            method: method_label(head.method()),
            host: uri.host().unwrap_or_default().into(),
            port: uri.port_u16().or_else(default),
            trace: head.extensions().get().copied(),
            has_head: false,
            error_type: head.extensions().get().cloned(),
        }
    }

    fn responded(&self, asked: &mut HttpClientExchange, _: http::StatusCode, _: &http::HeaderMap) {
        asked.has_head = true;
    }

    fn end(&self, asked: HttpClientExchange, end: &End) {
        let status = end.status();
        let status = if asked.has_head { status.as_str() } else { "" };
        let known = asked.error_type.and_then(|error_type| error_type.get());
        let is_dropped_early = end.outcome() == Outcome::Cancelled && !asked.has_head;
        let error = match (end.outcome(), end.grpc()) {
            _ if asked.has_head && end.status().as_u16() >= 400 => status,
            (Outcome::Completed, Some(grpc)) if grpc != GrpcStatus::OK => grpc.name(),
            (Outcome::Completed | Outcome::Cancelled, _) if !is_dropped_early => "",
            (Outcome::ServiceError, _) => known.unwrap_or(Outcome::ServiceError.as_str()),
            (outcome, _) => outcome.as_str(),
        };
        let route = Some(end.route()).filter(|route| !route.is_unmatched());
        let port = asked.port.map(|port| port.to_string()).unwrap_or_default();
        let labels = [
            ("http_request_method", asked.method),
            ("url_template", route.map_or("", Route::as_str)),
            ("server_address", &asked.host),
            ("server_port", &port),
            ("http_response_status_code", status),
            ("error_type", error),
        ];
        let found = Histogram::find(&self.0, DURATION, &labels);
        match found {
            Ok(duration) => match asked.trace {
                Some(trace) => duration.record_duration_in_trace(end.duration(), trace),
                None => duration.record_duration(end.duration()),
            },
            Err(error) => self.0.reject(&error),
        }
    }
}

impl fmt::Debug for HttpClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClientMetrics").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use campanile_http::ObserveLayer;
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;

    /// Returns the labels of the only series, without braces.
    #[track_caller]
    fn only_labels(registry: &Registry) -> String {
        let family = registry.family_snapshot(DURATION).unwrap();
        assert_eq!(family.series.len(), 1);
        let page = registry.render();
        let line = page.lines().find(|line| line.contains("_count{")).unwrap();
        let (_, labels) = line.split_once('{').unwrap();
        labels.split_once("} ").unwrap().0.to_owned()
    }

    /// The labels of what one request recorded.
    async fn recorded(uri: &'static str, answer: Result<u16, &'static str>) -> String {
        let registry = Registry::new();
        let client = service_fn(move |_: Request<String>| async move {
            let response = Response::builder().status(answer?);
            Ok::<_, &str>(response.body(String::new()).unwrap_or_default())
        });
        let metrics = HttpClientMetrics::register(&registry).unwrap();
        let client = ObserveLayer::client(metrics).layer(client);
        let request = Request::get(uri).body(String::new()).unwrap();
        // The exchange ends with the body.
        drop(client.oneshot(request).await);
        only_labels(&registry)
    }

    #[tokio::test]
    async fn requests_are_told_apart_by_where_they_went_and_how_they_ended() {
        for (uri, answer, labels) in [
            (
                "http://a.example/x?secret",
                Ok(204),
                r#"http_request_method="GET",http_response_status_code="204",server_address="a.example",server_port="80""#,
            ),
            (
                "https://b:8443/",
                Ok(404),
                r#"error_type="404",http_request_method="GET",http_response_status_code="404",server_address="b",server_port="8443""#,
            ),
            (
                "https://b/",
                Err("refused"),
                r#"error_type="service_error",http_request_method="GET",server_address="b",server_port="443""#,
            ),
            (
                "/relative",
                Ok(204),
                r#"http_request_method="GET",http_response_status_code="204""#,
            ),
        ] {
            assert_eq!(recorded(uri, answer).await, labels, "{uri}");
        }
    }

    #[tokio::test]
    async fn a_request_without_a_response_has_the_kind_of_its_error() {
        let registry = Registry::new();
        let fails = service_fn(|request: Request<String>| {
            let error_type = request.extensions().get::<ErrorType>().cloned();
            async move {
                error_type.unwrap().set("timeout");
                Err::<Response<String>, _>("took too long")
            }
        });
        let client =
            ObserveLayer::client(HttpClientMetrics::register(&registry).unwrap()).layer(fails);
        let mut request = Request::get("http://a/1").body(String::new()).unwrap();
        request.extensions_mut().insert(ErrorType::new());
        request.extensions_mut().insert(Route::from_static("/{id}"));
        drop(client.oneshot(request).await);
        assert_eq!(
            only_labels(&registry),
            r#"error_type="timeout",http_request_method="GET",server_address="a",server_port="80",url_template="/{id}""#
        );
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_before_its_response_is_cancelled() {
        let registry = Registry::new();
        let hangs = service_fn(|_: Request<String>| {
            std::future::pending::<Result<Response<String>, &str>>()
        });
        let mut client =
            ObserveLayer::client(HttpClientMetrics::register(&registry).unwrap()).layer(hangs);
        let request = Request::get("http://a/1").body(String::new()).unwrap();
        drop(tower::Service::call(&mut client, request));
        assert_eq!(
            only_labels(&registry),
            r#"error_type="cancelled",http_request_method="GET",server_address="a",server_port="80""#
        );
    }

    #[tokio::test]
    async fn a_grpc_call_has_the_status_of_grpc() {
        let registry = Registry::new();
        let client = service_fn(async |_: Request<String>| {
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.header("grpc-status", "14").body(String::new());
            Ok::<_, &str>(response.unwrap())
        });
        let client =
            ObserveLayer::client(HttpClientMetrics::register(&registry).unwrap()).layer(client);
        let request = Request::post("http://a/stock.Stock/Get");
        let request = request.header("content-type", "application/grpc");
        drop(client.oneshot(request.body(String::new()).unwrap()).await);
        let labels = only_labels(&registry);
        assert!(labels.contains(r#"error_type="UNAVAILABLE""#), "{labels}");
    }
}
