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
use crate::{Check, clock};

/// Returns a check of how many days the certificate of a TLS server has left: `host:port`. Bounds are for instance `Bounds::at_least(30.0, 7.0)`.
///
/// Who has signed it is not verified: this is about the time alone, and holds for authorities of one's own too.
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
            let ends = chain.first().and_then(ends).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "the certificate can't be read")
            })?;
            let now = UnixTime::since_unix_epoch(
                clock::wall()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default(),
            );
            let days = (ends as f64 - now.as_secs() as f64) / 86_400.0;
            let days = (days * 10.0).floor() / 10.0;
            Ok::<_, io::Error>(bounds.judge(days).detail("days_left", days))
        }
    }))
}

/// Returns when a certificate ends, in seconds since 1970.
fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Ring is named because a process may have several providers, and rustls panics rather than choose.
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
