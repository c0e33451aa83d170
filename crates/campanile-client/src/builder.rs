use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as Inner;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use crate::address::Policy;
use crate::connect::{Connector, Network, Tcp};
use crate::{Cidr, Client, InvalidCertificates};

/// Settings of a [`Client`].
///
/// | setting | default |
/// |---|---|
/// | [`guard`](Self::guard) | off: every target is trusted |
/// | [`timeout`](Self::timeout) | 10 s |
/// | [`max_body`](Self::max_body) | 64 KiB |
/// | [`keep_alive`](Self::keep_alive) | a new connection per call |
/// | [`http2`](Self::http2) | HTTP/1.1 |
/// | [`root_certificates`](Self::root_certificates) | Mozilla's |
/// | [`add_root_certificates`](Self::add_root_certificates) | none |
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
    pub(crate) fn new() -> Self {
        Self {
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

    /// Rejects addresses that only the application itself should reach, except the internal ones in
    /// these ranges. [The crate's docs](crate#addresses) list the addresses.
    ///
    /// Defaults to trusting every target.
    pub fn guard(mut self, allowed: impl IntoIterator<Item = Cidr>) -> Self {
        self.policy = Policy::Guarded(allowed.into_iter().collect());
        self
    }

    /// Sets the timeout of a call, from the resolution of the name to the last byte; at most a
    /// year.
    ///
    /// A client resolves at most 16 names at a time, and further calls are queued. A lookup that
    /// hangs in the system's resolver occupies a thread even after its call has timed out.
    ///
    /// Defaults to 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(Duration::from_secs(365 * 24 * 60 * 60));
        self
    }

    /// Sets the limit of bytes of a response body. A longer body is truncated. With 0 the client
    /// reads neither the body nor the trailers.
    ///
    /// Defaults to 64 KiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Reuses a connection for the next call to the same host, unless it was idle for longer than
    /// this.
    ///
    /// It pays off for frequent calls. The connection's task runs in the runtime of the call that
    /// opened it. Defaults to a new connection per call.
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.keep_alive = idle;
        self
    }

    /// Uses HTTP/2 only, also without TLS, as gRPC requires.
    ///
    /// Defaults to HTTP/1.1.
    #[cfg(feature = "http2")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
    pub fn http2(mut self) -> Self {
        self.is_http2 = true;
        self
    }

    /// Sets the trusted root certificates, in PEM. They replace the default ones.
    ///
    /// Certificates that can't be parsed are skipped, because the bundles of operating systems
    /// contain some. At most 10,000 are read. Defaults to Mozilla's list, compiled in.
    ///
    /// # Errors
    ///
    /// If the PEM contains no valid certificate.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        self.roots = parse_bundle(pem)?;
        self.has_default_roots = false;
        Ok(self)
    }

    /// Adds trusted root certificates, in PEM, for example the one of a company's TLS proxy.
    ///
    /// Certificates that can't be parsed are skipped. At most 10,000 are read. Defaults to none.
    ///
    /// # Errors
    ///
    /// If the PEM contains no valid certificate.
    pub fn add_root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificates> {
        self.roots.extend(parse_bundle(pem)?);
        Ok(self)
    }

    /// Sets the client certificate for mutual TLS: the chain in PEM, the client's certificate
    /// first, and its private key.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// If the chain or the key is invalid, or the key does not match the certificate.
    pub fn client_certificate(
        mut self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, InvalidCertificates> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| InvalidCertificates::Certificates {
            source: Some(Arc::new(error)),
        })?;
        if chain.is_empty() {
            return Err(InvalidCertificates::Certificates { source: None });
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| InvalidCertificates::Key {
            source: Arc::new(error),
        })?;
        let identity =
            CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
        let identity = identity.map_err(|error| InvalidCertificates::Mismatch {
            source: Arc::new(error),
        })?;
        self.identity = Some(Arc::new(identity));
        Ok(self)
    }

    /// Creates the client.
    pub fn build(self) -> Client {
        let network = Tcp::new(self.timeout);
        self.build_on(Arc::new(network))
    }

    pub(crate) fn build_on(self, network: Arc<dyn Network>) -> Client {
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
        // An idle connection may be dead when it is needed, so reuse is opt-in.
        let kept = usize::from(!self.keep_alive.is_zero());
        builder.pool_max_idle_per_host(kept);
        builder.pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(self.keep_alive);
        #[cfg(feature = "http2")]
        builder
            .http2_only(self.is_http2)
            .timer(TokioTimer::new())
            // Without pings, a dead connection would be used until TCP gives up.
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL);
        let inner = builder.build(connector);
        Client {
            inner,
            policy,
            timeout: self.timeout,
            max_body: self.max_body,
        }
    }
}

/// The interval of HTTP/2 pings on a silent connection, and the timeout of their responses.
#[cfg(feature = "http2")]
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Returns the certificates of a bundle that can be parsed.
fn parse_bundle(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidCertificates> {
    let certificates = CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES);
    let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
    let (valid, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    match valid {
        0 => Err(InvalidCertificates::Certificates { source: None }),
        _ => Ok(certificates),
    }
}

/// The limit of certificates in a bundle. Operating systems' bundles have a few hundred.
const MAX_CERTIFICATES: usize = 10_000;

/// Creates the TLS configuration.
///
/// It names ring, because rustls panics if the process has several providers and none is chosen.
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
    // Invalid certificates are skipped.
    roots.add_parsable_certificates(trusted);
    #[expect(clippy::expect_used, reason = "ring has ciphers for all TLS versions")]
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3");
    let config = versions.with_root_certificates(roots);
    match identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        None => config.with_no_client_auth(),
    }
}
