use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Inner;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use crate::address::Policy;
use crate::connect::{Connector, Forbidden, Network, Tcp};
use crate::{Cidr, InvalidCertificates, SendError, Target};

/// Sends requests.
///
/// A clone is the same client (an `Arc`).
#[derive(Clone)]
pub struct Client {
    inner: Inner<HttpsConnector<Connector>, Full<Bytes>>,
    policy: Arc<Policy>,
    timeout: Duration,
    max_body: usize,
}

/// What came back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as came in time and fits.
    pub body: Bytes,
    /// Whether there was more of the body.
    pub truncated: bool,
    /// The trailers; empty if there are none.
    pub trailers: HeaderMap,
}

impl Client {
    /// Returns a client for targets that the host names, with the defaults.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            policy: Policy::Trusted,
            timeout: Duration::from_secs(10),
            max_body: 64 << 10,
            keep_alive: Duration::ZERO,
            #[cfg(feature = "http2")]
            is_http2: false,
            roots: Vec::new(),
            has_default_roots: true,
            identity: None,
        }
    }

    /// Sends a GET and waits for the answer.
    ///
    /// # Errors
    ///
    /// If there is none. A status that tells of a failure is an answer.
    pub async fn get(&self, target: &Target, headers: HeaderMap) -> Result<Response, SendError> {
        self.send(Method::GET, target, headers, Bytes::new()).await
    }

    /// Sends a POST and waits for the answer.
    ///
    /// # Errors
    ///
    /// If there is none. A status that tells of a failure is an answer.
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
                reason: chain(&error),
            }),
            Err(_) => Err(SendError::Timeout {
                timeout: self.timeout,
            }),
        }
    }

    /// Reads the body as far as the deadline and the cap allow: the status is worth more than the rest of it.
    async fn read<B>(&self, response: http::Response<B>, deadline: Instant) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = response.into_parts();
        let mut read = BytesMut::new();
        let mut trailers = HeaderMap::new();
        let truncated = loop {
            if self.max_body == 0 {
                // Nobody wants any of it.
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

/// Settings of a [`Client`].
///
/// | setting | default |
/// |---|---|
/// | [`guard`](Self::guard) | no: targets are trusted |
/// | [`timeout`](Self::timeout) | 10 s |
/// | [`max_body`](Self::max_body) | 64 KiB |
/// | [`keep_alive`](Self::keep_alive) | each call has a connection of its own |
/// | [`http2`](Self::http2) | HTTP/1.1 |
/// | [`root_certificates`](Self::root_certificates) | Mozilla's |
/// | [`add_root_certificates`](Self::add_root_certificates) | none besides |
/// | [`client_certificate`](Self::client_certificate) | none |
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    policy: Policy,
    timeout: Duration,
    max_body: usize,
    keep_alive: Duration,
    #[cfg(feature = "http2")]
    is_http2: bool,
    roots: Vec<CertificateDer<'static>>,
    has_default_roots: bool,
    identity: Option<Arc<CertifiedKey>>,
}

impl ClientBuilder {
    /// Refuses addresses that only the host itself should reach, as [the crate's docs](crate#addresses) list them, but for the internal
    /// ones in these ranges.
    ///
    /// Defaults to trusting every target.
    pub fn guard(mut self, allowed: impl IntoIterator<Item = Cidr>) -> Self {
        self.policy = Policy::Guarded(allowed.into_iter().collect());
        self
    }

    /// Sets how long a call may take; at most a year. A client resolves at most 16 names at a time, and further calls wait for their turn:
    /// a name that the system's resolver does not answer takes a thread beyond the end of its call.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(Duration::from_secs(365 * 24 * 60 * 60));
        self
    }

    /// Sets how many bytes of an answer's body are kept; with 0 it is not waited for, nor are the trailers.
    ///
    /// Defaults to 64 KiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Keeps a connection for the next call to the same host, for as long as it may be idle: for who calls often. It is kept in the runtime of
    /// the call that opened it.
    ///
    /// Defaults to a connection of its own for each call.
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.keep_alive = idle;
        self
    }

    /// Speaks HTTP/2 and nothing else, in plain text too, as gRPC wants it.
    ///
    /// Defaults to HTTP/1.1.
    #[cfg(feature = "http2")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
    pub fn http2(mut self) -> Self {
        self.is_http2 = true;
        self
    }

    /// Sets the authorities that are trusted, in PEM, in place of the default ones. Certificates that can't be parsed are skipped, as
    /// bundles of operating systems have such; at most 10,000 are read.
    ///
    /// Defaults to Mozilla's list, as it was compiled in.
    ///
    /// # Errors
    ///
    /// If there is no valid certificate in it.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        self.roots = valid(pem)?;
        self.has_default_roots = false;
        Ok(self)
    }

    /// Adds authorities, in PEM, to those that are trusted, such as that of a company's TLS proxy. Certificates that can't be parsed are
    /// skipped; at most 10,000 are read.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// If there is no valid certificate in it.
    pub fn add_root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        self.roots.extend(valid(pem)?);
        Ok(self)
    }

    /// Shows a certificate to servers that ask for one: the chain in PEM, its own first, and the key that belongs to it.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// If there is no certificate or no key, or they don't belong together.
    pub fn client_certificate(
        mut self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, InvalidCertificates> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let (Some(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key)) else {
            return Err(InvalidCertificates);
        };
        let identity =
            CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
        self.identity = Some(Arc::new(identity.map_err(|_| InvalidCertificates)?));
        Ok(self)
    }

    /// Returns the client.
    pub fn build(self) -> Client {
        let network = Tcp::new(self.timeout);
        self.build_on(Arc::new(network))
    }

    fn build_on(self, network: Arc<dyn Network>) -> Client {
        let policy = Arc::new(self.policy);
        let tcp = Connector::new(Arc::clone(&policy), network);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(self.roots, self.has_default_roots, self.identity))
            .https_or_http();
        #[cfg(feature = "http2")]
        let connector = match self.is_http2 {
            true => connector.enable_http2().wrap_connector(tcp),
            false => connector.enable_http1().wrap_connector(tcp),
        };
        #[cfg(not(feature = "http2"))]
        let connector = connector.enable_http1().wrap_connector(tcp);
        let mut builder = Inner::builder(TokioExecutor::new());
        // A connection that is kept may be dead by the time that it is needed: for who calls seldom it is not worth it.
        let kept = usize::from(!self.keep_alive.is_zero());
        builder.pool_max_idle_per_host(kept);
        builder.pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(self.keep_alive);
        #[cfg(feature = "http2")]
        builder
            .http2_only(self.is_http2)
            .timer(TokioTimer::new())
            // A connection whose other end is gone without a word would be used for as long as TCP hopes.
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING);
        let inner = builder.build(connector);
        Client {
            inner,
            policy,
            timeout: self.timeout,
            max_body: self.max_body,
        }
    }
}

/// How long a connection over HTTP/2 may be silent before it is asked, and how long the answer may take.
#[cfg(feature = "http2")]
const PING: Duration = Duration::from_secs(5);

/// Returns the certificates of a bundle that can be parsed.
fn valid(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidCertificates> {
    let certificates = CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES);
    let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
    let (valid, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    match valid {
        0 => Err(InvalidCertificates),
        _ => Ok(certificates),
    }
}

/// The most certificates of a bundle: those of operating systems have some hundred.
const MAX_CERTIFICATES: usize = 10_000;

/// Ring is named because a process may have several providers, and rustls panics rather than choose.
fn tls(
    trusted: Vec<CertificateDer<'static>>,
    has_default_roots: bool,
    identity: Option<Arc<CertifiedKey>>,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    if has_default_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    // Those that are not valid are skipped.
    roots.add_parsable_certificates(trusted);
    #[expect(
        clippy::expect_used,
        reason = "ring has ciphers for all versions of TLS that there are"
    )]
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3");
    let config = versions.with_root_certificates(roots);
    match identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        None => config.with_no_client_auth(),
    }
}

fn forbidden(target: &Target) -> SendError {
    SendError::Forbidden {
        host: target.host().to_owned(),
    }
}

/// Returns an error and its causes, one after the other.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let cause = |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            // An `io::Error` passes over the error that it holds.
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), cause)
}

fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<E>())
}

/// Returns the texts of an error and its causes. What comes from further down is only shown if it is the system's or of TLS: HTTP's own may
/// hold what the other end says, and so what it was sent.
fn chain(error: &(dyn Error + 'static)) -> String {
    let is_harmless =
        |cause: &(dyn Error + 'static)| cause.is::<io::Error>() || cause.is::<rustls::Error>();
    let causes = causes(error).enumerate();
    let shown = causes.filter(|(depth, cause)| *depth < 2 || is_harmless(*cause));
    let mut texts: Vec<_> = shown.map(|(_, cause)| cause.to_string()).collect();
    // An `io::Error` has the text of the error that it holds.
    texts.dedup();
    texts.join(": ")
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
