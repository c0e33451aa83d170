use std::fmt;

use campanile_http::{
    End, ErrorType, GrpcStatus, Observer, Outcome, RequestHead, Route, TraceRef, method_label,
};
use http::uri::Scheme;

use crate::{Histogram, Kind, Metric, RegisterError, Registry};

/// An [`Observer`] that times outgoing HTTP requests; a layer around the client.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `http_client_request_duration_seconds{http_request_method,url_template,server_address,server_port,http_response_status_code,error_type}` | histogram | time from the request to the last byte of its response |
///
/// The name and the labels follow OpenTelemetry's semantic conventions. `http_response_status_code`
/// is present if there was a response. `error_type` is present in these cases:
///
/// | `error_type` | case |
/// |---|---|
/// | the status | a response from 400 on |
/// | `service_error` | no response |
/// | `body_error` | the body broke off |
/// | `panicked` | the client panicked |
///
/// A request that its caller cancels is not an error. Put a timeout inside this layer, so that it
/// is an error of the service. A timeout around the layer cancels the request, which then has no
/// status and no `error_type`.
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
/// let client = service_fn(async |_: Request<String>| {
///     Ok::<_, std::io::Error>(Response::new(String::new()))
/// });
/// let mut client = ObserveLayer::new(HttpClientMetrics::register(&registry)?).layer(client);
///
/// let request = Request::get("https://api.example/v1/pay").body(String::new())?;
/// client.ready().await?.call(request).await?;
/// let labels = [
///     ("http_request_method", "GET"),
///     ("server_address", "api.example"),
///     ("server_port", "443"),
///     ("http_response_status_code", "200"),
/// ];
/// assert!(registry.get("http_client_request_duration_seconds", &labels).is_some());
/// # Ok(())
/// # }
/// ```
///
/// `server_address` is the host of the URI, which mostly comes from the program. If a service sends
/// requests to arbitrary hosts, each host is a series, up to the limits of the registry.
///
/// A clone writes to the same series.
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
    /// If the name belongs to another metric.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        registry.check_names(&[(DURATION, Kind::Histogram)])?;
        registry.describe(DURATION, "Duration of HTTP client requests, in seconds.");
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

    fn responded(
        &self,
        exchange: &mut HttpClientExchange,
        _: http::StatusCode,
        _: &http::HeaderMap,
    ) {
        exchange.has_head = true;
    }

    fn end(&self, exchange: HttpClientExchange, end: &End) {
        let status = end.status();
        let status = if exchange.has_head {
            status.as_str()
        } else {
            ""
        };
        let error = match end.outcome() {
            _ if exchange.has_head && end.status().as_u16() >= 400 => status,
            Outcome::Completed | Outcome::Cancelled => "",
            outcome => outcome.as_str(),
        };
        let port = exchange
            .port
            .map(|port| port.to_string())
            .unwrap_or_default();
        let labels = [
            ("http_request_method", exchange.method),
            ("server_address", &exchange.host),
            ("server_port", &port),
            ("http_response_status_code", status),
            ("error_type", error),
        ];
        let found = Histogram::find(&self.0, DURATION, &labels);
        match found {
            Ok(duration) => match exchange.trace {
                Some(trace) => duration.record_duration_in_trace(end.total(), trace),
                None => duration.record_duration(end.total()),
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

    /// Returns the labels of the metric that a request recorded, without braces.
    async fn recorded(uri: &'static str, answer: Result<u16, &'static str>) -> String {
        let registry = Registry::new();
        let client = service_fn(move |_: Request<String>| async move {
            let response = Response::builder().status(answer?);
            Ok::<_, &str>(response.body(String::new()).unwrap_or_default())
        });
        let metrics = HttpClientMetrics::register(&registry).unwrap();
        let client = ObserveLayer::client(metrics).layer(client);
        let request = Request::get(uri).body(String::new()).unwrap();
        // The request ends with the body.
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
