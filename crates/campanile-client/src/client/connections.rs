//! Connections that are kept, secured, or of HTTP/2, with a server that is not ours.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server that says over which version of HTTP it was asked.
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
                        // Who is not let in is gone.
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

async fn asked(client: ClientBuilder, target: &Target) -> Result<String, SendError> {
    let response = client.build().get(target, HeaderMap::new()).await?;
    Ok(String::from_utf8(response.body.to_vec()).unwrap())
}

/// An authority, and a certificate of it with its key.
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

/// A server's side of TLS; with a name, only clients with a certificate of this authority are let in.
fn tls_of(server: &Certificates, clients: Option<&Certificates>) -> ServerConfig {
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
async fn a_connection_is_kept_only_if_it_is_asked_for() {
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
async fn servers_are_trusted_by_the_authorities_that_are_given() {
    let certificates = certificates();
    let server = Server::start(Some(tls_of(&certificates, None))).await;
    let target = server.target("https");
    let refused = asked(Client::builder(), &target).await;
    assert!(
        matches!(refused, Err(SendError::Connection { .. })),
        "{refused:?}"
    );
    let client = Client::builder().root_certificates(certificates.authority.as_bytes());
    assert_eq!(asked(client.unwrap(), &target).await.unwrap(), "HTTP/1.1");
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let (ours, theirs) = (certificates(), certificates());
    let server = Server::start(Some(tls_of(&theirs, Some(&ours)))).await;
    let target = server.target("https");
    let client = || {
        Client::builder()
            .root_certificates(theirs.authority.as_bytes())
            .unwrap()
    };
    let refused = asked(client(), &target).await;
    assert!(
        matches!(refused, Err(SendError::Connection { .. })),
        "{refused:?}"
    );
    let (chain, key) = (ours.chain.as_bytes(), ours.key.as_bytes());
    let identified = client().client_certificate(chain, key).unwrap();
    assert!(!format!("{identified:?}").contains("PRIVATE"));
    assert_eq!(asked(identified, &target).await.unwrap(), "HTTP/1.1");

    // What doesn't belong together is refused before it is used.
    let other = theirs.key.as_bytes();
    for (chain, key) in [(chain, other), (key, chain), (b"", key), (chain, b"")] {
        assert_eq!(
            client().client_certificate(chain, key).unwrap_err(),
            InvalidCertificates
        );
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http_2_is_spoken_with_and_without_tls() {
    let plain = Server::start(None).await;
    let client = Client::builder().http2();
    assert_eq!(
        asked(client, &plain.target("http")).await.unwrap(),
        "HTTP/2.0"
    );
    let certificates = certificates();
    let secure = Server::start(Some(tls_of(&certificates, None))).await;
    let client = Client::builder()
        .http2()
        .root_certificates(certificates.authority.as_bytes());
    assert_eq!(
        asked(client.unwrap(), &secure.target("https"))
            .await
            .unwrap(),
        "HTTP/2.0"
    );
}

#[tokio::test]
async fn odd_certificates_of_a_bundle_are_skipped() {
    let certificates = certificates();
    let server = Server::start(Some(tls_of(&certificates, None))).await;
    let target = server.target("https");
    // DER of an empty sequence, and no base64 at all.
    let odd =
        |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let bundle = [odd("MAA="), odd("!"), certificates.authority.clone()].concat();
    for client in [
        Client::builder().root_certificates(bundle.as_bytes()),
        Client::builder().add_root_certificates(bundle.as_bytes()),
    ] {
        assert_eq!(asked(client.unwrap(), &target).await.unwrap(), "HTTP/1.1");
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
