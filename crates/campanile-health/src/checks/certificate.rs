use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::parse_x509_certificate;

use super::Bounds;
use crate::{Check, Outcome, clock};

/// Returns a check of the days that the certificates of a TLS server, `host:port`, are still valid, for example with
/// `Bounds::at_least(30.0, 7.0)`.
///
/// It compares the earliest expiry among the certificates that the server sends. A certificate whose validity has
/// not begun is unhealthy. Self-signed certificates behind the first one are skipped, since clients use their own
/// copy of a root. Signatures and names are not verified, so private authorities need no configuration.
///
/// # Errors
///
/// If the address is not a host and a port.
pub fn certificate(
    name: impl Into<String>,
    address: &str,
    bounds: Bounds,
) -> Result<Check, InvalidAddress> {
    let invalid = || InvalidAddress {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let server = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
    let connector = connector().ok_or_else(invalid)?;
    Ok(Check::new(name, move || {
        let (connector, server, host) = (connector.clone(), server.clone(), host.clone());
        async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            let stream = connector.connect(server, stream).await?;
            let (_, connection) = stream.get_ref();
            let chain = connection.peer_certificates().unwrap_or_default();
            let validity = validity(chain).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "failed to read a certificate")
            })?;
            let now = UnixTime::since_unix_epoch(
                clock::wall()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default(),
            );
            let days = |at: i64| (at as f64 - now.as_secs() as f64) / 86_400.0;
            let left = (days(validity.ends) * 10.0).floor() / 10.0;
            let until = (days(validity.begins) * 10.0).ceil() / 10.0;
            let outcome = if until > 0.0 {
                Outcome::unhealthy(format!(
                    "a certificate is not valid yet: it is in {until} d"
                ))
            } else {
                bounds.judge_as("the validity of the certificates", " d", left)
            };
            let outcome = outcome.detail("days_left", left);
            Ok::<_, io::Error>(outcome.detail("ends_first", validity.subject))
        }
    }))
}

/// The time in which all certificates of a chain are valid, in seconds since 1970.
struct Validity {
    begins: i64,
    ends: i64,
    /// The subject of the certificate that ends first.
    subject: String,
}

/// Returns the common validity of a chain; `None` if it is empty, or a certificate is malformed.
fn validity(chain: &[CertificateDer<'_>]) -> Option<Validity> {
    let mut all: Option<Validity> = None;
    for (number, certificate) in chain.iter().enumerate() {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        if number > 0 && certificate.subject() == certificate.issuer() {
            continue;
        }
        let begins = certificate.validity().not_before.timestamp();
        let ends = certificate.validity().not_after.timestamp();
        let subject = || certificate.subject().to_string();
        all = Some(match all {
            None => Validity {
                begins,
                ends,
                subject: subject(),
            },
            Some(all) => Validity {
                begins: begins.max(all.begins),
                subject: if ends < all.ends {
                    subject()
                } else {
                    all.subject
                },
                ends: ends.min(all.ends),
            },
        });
    }
    all
}

/// It names ring because rustls panics if a process has several providers and no default.
fn connector() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

/// Trusts every authority: nothing is sent over the connection.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An address is not a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {address:?} is not valid: give a host and a port, such as `example.org:443`")]
#[non_exhaustive]
pub struct InvalidAddress {
    /// The address as given.
    pub address: String,
}
