//! Keep-alive, TLS and HTTP/2, against hyper's server.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{ClientBuilder, InvalidCertificates};

/// A server whose responses name the HTTP version of the request.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream).await,
                        // A rejected client has disconnected.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, connections }
    }

    fn target(&self, scheme: &str) -> Target {
        Target::parse(&format!("{scheme}://localhost:{}/", self.port)).unwrap()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let version = format!("{:?}", request.version());
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(version))))
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn version(client: ClientBuilder, target: &Target) -> Result<String, SendError> {
    let response = client.build().get(target, HeaderMap::new()).await?;
    Ok(String::from_utf8(response.body.to_vec()).unwrap())
}

/// A certificate authority, and a certificate that it has issued, with its key.
struct Certificates {
    authority: String,
    chain: String,
    key: String,
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issuer: &Issuer<'_, KeyPair> = &authority;
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Certificates {
        authority: authority.pem(),
        chain: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// The TLS configuration of a server. With `clients`, it accepts only certificates of that
/// authority.
fn server_tls(server: &Certificates, clients: Option<&Certificates>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_slice(clients.authority.as_bytes());
            roots.add(authority.unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(server.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

#[tokio::test]
async fn a_connection_is_reused_only_with_keep_alive() {
    let server = Server::start(None).await;
    let target = server.target("http");
    for (idle, connections) in [(Duration::ZERO, 3), (Duration::from_secs(60), 4)] {
        let client = Client::builder().keep_alive(idle).build();
        for _ in 0..3 {
            client.get(&target, HeaderMap::new()).await.unwrap();
        }
        assert_eq!(server.connections.load(Ordering::Relaxed), connections);
    }
}

#[tokio::test]
async fn only_configured_authorities_are_trusted() {
    let certificates = certificates();
    let server = Server::start(Some(server_tls(&certificates, None))).await;
    let target = server.target("https");
    let refused = version(Client::builder(), &target).await;
    assert!(
        matches!(refused, Err(SendError::Connection { .. })),
        "{refused:?}"
    );
    let client = Client::builder().root_certificates(certificates.authority.as_bytes());
    assert_eq!(version(client.unwrap(), &target).await.unwrap(), "HTTP/1.1");
}

#[tokio::test]
async fn a_client_authenticates_with_its_certificate() {
    let (ours, theirs) = (certificates(), certificates());
    let server = Server::start(Some(server_tls(&theirs, Some(&ours)))).await;
    let target = server.target("https");
    let client = || {
        Client::builder()
            .root_certificates(theirs.authority.as_bytes())
            .unwrap()
    };
    let refused = version(client(), &target).await;
    assert!(
        matches!(refused, Err(SendError::Connection { .. })),
        "{refused:?}"
    );
    let (chain, key) = (ours.chain.as_bytes(), ours.key.as_bytes());
    let identified = client().client_certificate(chain, key).unwrap();
    assert!(!format!("{identified:?}").contains("PRIVATE"));
    assert_eq!(version(identified, &target).await.unwrap(), "HTTP/1.1");

    // Invalid input is rejected by the builder.
    let other = theirs.key.as_bytes();
    let error = |chain, key| client().client_certificate(chain, key).unwrap_err();
    let mismatch = error(chain, other);
    assert!(
        matches!(mismatch, InvalidCertificates::Mismatch { .. }),
        "{mismatch:?}"
    );
    assert!(std::error::Error::source(&mismatch).is_some());
    for (chain, key) in [(key, chain), (b"", key)] {
        let error = error(chain, key);
        assert!(
            matches!(error, InvalidCertificates::Certificates { .. }),
            "{error:?}"
        );
    }
    let error = error(chain, b"");
    assert!(
        matches!(error, InvalidCertificates::Key { .. }),
        "{error:?}"
    );
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http_2_works_with_and_without_tls() {
    let plain = Server::start(None).await;
    let client = Client::builder().http2();
    assert_eq!(
        version(client, &plain.target("http")).await.unwrap(),
        "HTTP/2.0"
    );
    let certificates = certificates();
    let secure = Server::start(Some(server_tls(&certificates, None))).await;
    let client = Client::builder()
        .http2()
        .root_certificates(certificates.authority.as_bytes());
    assert_eq!(
        version(client.unwrap(), &secure.target("https"))
            .await
            .unwrap(),
        "HTTP/2.0"
    );
}

#[tokio::test]
async fn invalid_certificates_of_a_bundle_are_skipped() {
    let certificates = certificates();
    let server = Server::start(Some(server_tls(&certificates, None))).await;
    let target = server.target("https");
    // DER of an empty sequence, and invalid base64.
    let odd =
        |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let bundle = [odd("MAA="), odd("!"), certificates.authority.clone()].concat();
    for client in [
        Client::builder().root_certificates(bundle.as_bytes()),
        Client::builder().add_root_certificates(bundle.as_bytes()),
    ] {
        assert_eq!(version(client.unwrap(), &target).await.unwrap(), "HTTP/1.1");
    }
    for none in [odd("MAA="), odd("!"), String::new()] {
        assert!(
            Client::builder()
                .root_certificates(none.as_bytes())
                .is_err()
        );
        assert!(
            Client::builder()
                .add_root_certificates(none.as_bytes())
                .is_err()
        );
    }
}
