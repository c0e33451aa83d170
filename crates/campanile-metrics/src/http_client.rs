use std::fmt;

use campanile_http::{End, Observer, Outcome, RequestHead, TraceRef, method_label};
use http::uri::Scheme;

use crate::{Histogram, Metric, Registry};

/// An [`Observer`] for what a service asks of others by HTTP, around its client.
///
/// | metric | kind | what it is |
/// |---|---|---|
/// | `http_client_request_duration_seconds{http_request_method,server_address,server_port,http_response_status_code,error_type}` | histogram | time from the request to the last byte of its response |
///
/// Name and labels are those of OpenTelemetry's semantic conventions. `error_type` is there for a response from 400 on, which is the
/// status, and for a request that failed: `service_error` where there was no response, `body_error` where it broke off, `panicked`. A
/// request that its caller cancels is no error. `http_response_status_code` is there if a response came.
///
/// Put a timeout inside of this layer, so that it is an error of the service. A timeout around the
/// layer cancels the request, which then has neither a status nor an `error_type`.
///
/// ```
/// use campanile_http::ObserveLayer;
/// use campanile_metrics::{HttpClientMetrics, Registry};
/// use http::{Request, Response};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::new();
/// let client = service_fn(async |_: Request<String>| Ok::<_, std::io::Error>(Response::new(String::new())));
/// let mut client = ObserveLayer::new(HttpClientMetrics::new(&registry)).layer(client);
///
/// client.ready().await?.call(Request::get("https://api.example/v1/pay").body(String::new())?).await?;
/// let labels = [("http_request_method", "GET"), ("server_address", "api.example"), ("server_port", "443"), ("http_response_status_code", "200")];
/// assert!(registry.get("http_client_request_duration_seconds", &labels).is_some());
/// # Ok(())
/// # }
/// ```
///
/// The address is the URI's host, from the program mostly. A service that asks of addresses that others give it has as many series: the
/// registry's cap holds.
///
/// A clone is the same.
#[derive(Clone)]
pub struct HttpClientMetrics(Registry);

/// The state of one outgoing request.
#[derive(Clone, Debug)]
pub struct HttpClientExchange {
    method: &'static str,
    host: Box<str>,
    port: Option<u16>,
    trace: Option<TraceRef>,
    has_head: bool,
}

const DURATION: &str = "http_client_request_duration_seconds";

impl HttpClientMetrics {
    /// Returns an observer that writes to a registry.
    ///
    /// A name that is taken there by a metric of another kind is refused, counted and logged.
    pub fn new(registry: &Registry) -> Self {
        registry.describe(DURATION, "Duration of HTTP client requests.");
        Self(registry.clone())
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
        }
    }

    fn responded(&self, asked: &mut HttpClientExchange, _: http::StatusCode, _: &http::HeaderMap) {
        asked.has_head = true;
    }

    fn end(&self, asked: HttpClientExchange, end: &End) {
        let status = end.status();
        let status = if asked.has_head { status.as_str() } else { "" };
        let error = match end.outcome() {
            _ if asked.has_head && end.status().as_u16() >= 400 => status,
            Outcome::Completed | Outcome::Cancelled => "",
            outcome => outcome.as_str(),
        };
        let port = asked.port.map(|port| port.to_string()).unwrap_or_default();
        let labels = [
            ("http_request_method", asked.method),
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

    /// The labels of what one request recorded, without braces.
    async fn recorded(uri: &'static str, answer: Result<u16, &'static str>) -> String {
        let registry = Registry::new();
        let client = service_fn(move |_: Request<String>| async move {
            let response = Response::builder().status(answer?);
            Ok::<_, &str>(response.body(String::new()).unwrap_or_default())
        });
        let client = ObserveLayer::new(HttpClientMetrics::new(&registry)).layer(client);
        let request = Request::get(uri).body(String::new()).unwrap();
        // The exchange ends with the body.
        drop(client.oneshot(request).await);
        let family = registry.family(DURATION).unwrap();
        assert_eq!(family.series.len(), 1);
        let page = registry.render();
        let line = page.lines().find(|line| line.contains("_count{")).unwrap();
        let (_, labels) = line.split_once('{').unwrap();
        labels.split_once('}').unwrap().0.to_owned()
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
}
