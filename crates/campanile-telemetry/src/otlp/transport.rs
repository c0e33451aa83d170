//! Connects the exporters of `opentelemetry_otlp` with the collector.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};

use super::console::Console;
use super::send::{Sender, Sent};

/// The HTTP client of an exporter.
///
/// It uses the body of a request only. The URL and the headers come from the settings; the builder
/// of the exporter would read them from the environment. It also retries: the exporter ignores
/// `Retry-After` for 502 and 504, and its attempts have no timeout.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Inner>);

struct Inner {
    destination: Destination,
    /// The result of the last request. The exporter reports neither the cause of a failure nor the
    /// number of rejected items.
    last: Mutex<Option<Sent>>,
}

enum Destination {
    Collector(Box<Sender>),
    Console(Console),
}

impl Transport {
    pub(super) fn new(sender: Sender) -> Self {
        Self::to(Destination::Collector(Box::new(sender)))
    }

    pub(super) fn console(console: Console) -> Self {
        Self::to(Destination::Console(console))
    }

    fn to(destination: Destination) -> Self {
        Self(Arc::new(Inner {
            destination,
            last: Mutex::default(),
        }))
    }

    /// Sends a Protocol Buffers request.
    pub(super) async fn send(&self, request: Bytes) -> Sent {
        self.send_encoded(request, None).await
    }

    async fn send_encoded(&self, request: Bytes, encoding: Option<HeaderValue>) -> Sent {
        match &self.0.destination {
            Destination::Collector(sender) => sender.send(request, encoding).await,
            // The exporter may have compressed it, with its feature `gzip-http` and the
            // environment.
            Destination::Console(_) if encoding.is_some() => Sent::Failed {
                reason: "unsupported content encoding: expected none for the console".to_owned(),
                after: None,
            },
            Destination::Console(console) => {
                console.write(&request);
                Sent::Taken { rejected: 0 }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn sender(&self) -> &Sender {
        match &self.0.destination {
            Destination::Collector(sender) => sender,
            Destination::Console(_) => panic!("it goes to the console"),
        }
    }

    /// Returns the result of the request of an exporter that returned `result`.
    pub(super) fn sent(&self, result: Result<(), impl fmt::Display>) -> Sent {
        match (self.last().take(), result) {
            (Some(sent), _) => sent,
            // The exporter sent no request.
            (None, Err(error)) => Sent::Failed {
                reason: error.to_string(),
                after: None,
            },
            (None, Ok(())) => Sent::Failed {
                reason: "the exporter sent nothing".to_owned(),
                after: None,
            },
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Sent>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.last().take();
        // The exporter compresses requests only with its feature and the environment.
        let encoding = request.headers().get(CONTENT_ENCODING).cloned();
        let sent = self.send_encoded(request.into_body(), encoding).await;
        *self.last() = Some(sent);
        Ok(Response::default())
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.destination {
            Destination::Collector(sender) => sender.target.fmt(f),
            Destination::Console(_) => f.write_str("the console"),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({self})")
    }
}
