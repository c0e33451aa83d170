use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Inner;
use tokio::time::{Instant, timeout_at};

use crate::address::Policy;
use crate::connect::{Connector, Forbidden};
use crate::error::{connection_error, has_cause};
use crate::{ClientBuilder, SendError, Target};

/// An HTTP client with a timeout, a limit of the response body and, optionally, an address guard.
///
/// A clone shares the connections and the settings (an `Arc`).
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Inner<HttpsConnector<Connector>, Full<Bytes>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
}

/// The response to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The response body, up to the timeout and the limit.
    pub body: Bytes,
    /// Whether the body is incomplete, because of the timeout, the limit or a broken connection.
    pub truncated: bool,
    /// The trailers, or an empty map.
    pub trailers: HeaderMap,
}

impl Client {
    /// Creates a client with the defaults. It trusts every target.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder with the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Sends a GET request and returns the response.
    ///
    /// # Errors
    ///
    /// If no response arrives. A status of 400 or more is not an error.
    pub async fn get(&self, target: &Target, headers: HeaderMap) -> Result<Response, SendError> {
        self.send(Method::GET, target, headers, Bytes::new()).await
    }

    /// Sends a POST request and returns the response.
    ///
    /// # Errors
    ///
    /// If no response arrives. A status of 400 or more is not an error.
    pub async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, SendError> {
        self.send(Method::POST, target, headers, body).await
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, SendError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.uri().clone();
        *request.headers_mut() = headers;
        let deadline = now() + self.timeout;
        match timeout_at(deadline, self.inner.request(request)).await {
            Ok(Ok(response)) => Ok(self.read(response, deadline).await),
            Ok(Err(error)) if has_cause::<Forbidden>(&error) => Err(forbidden(target)),
            Ok(Err(error)) => Err(SendError::Connection {
                source: Arc::new(connection_error(&error)),
            }),
            Err(_) => Err(SendError::Timeout {
                timeout: self.timeout,
            }),
        }
    }

    /// Reads the body up to the deadline and the limit. A partial body is not an error, because the
    /// status matters more.
    async fn read<B>(&self, response: http::Response<B>, deadline: Instant) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = response.into_parts();
        let mut read = BytesMut::new();
        let mut trailers = HeaderMap::new();
        let truncated = loop {
            if self.max_body == 0 {
                break !body.is_end_stream();
            }
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_else(|frame| {
                        trailers.extend(frame.into_trailers().unwrap_or_default());
                        Bytes::new()
                    });
                    let room = self.max_body - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break true;
                    }
                }
                Ok(None) => break false,
                Ok(Some(Err(_))) | Err(_) => break true,
            }
        };
        Response {
            status: head.status,
            headers: head.headers,
            body: read.freeze(),
            truncated,
            trailers,
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("policy", &self.policy)
            .field("timeout", &self.timeout)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

fn forbidden(target: &Target) -> SendError {
    SendError::Forbidden {
        host: target.host().to_owned(),
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline is counted from the call"
    )]
    Instant::now()
}

#[cfg(test)]
mod connections;
#[cfg(test)]
mod tests;
