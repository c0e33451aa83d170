use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::bounds::Bounds;
use crate::{Check, Outcome, clock};

/// Creates a check of the days until the certificates of a TLS server, `host:port`, expire. Typical
/// bounds are `Bounds::at_least(30.0, 7.0)`.
///
/// It uses the earliest expiry on the path from the server's certificate to its issuers, as far as
/// the server sends them. If a certificate on the path is not valid yet, the check is unhealthy. If
/// several certificates have the name of an issuer, the one with the latest expiry counts.
/// Signatures and names are not verified, so private authorities need no configuration.
///
/// It ignores:
///
/// - certificates that are not on the path, including malformed ones,
/// - self-signed certificates after the first one, since clients use their own copy of a root,
/// - after the first intermediate certificate, a last one that expires before the one that it
///   issued. It is a root that an older root has signed, and clients have the root.
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
                Outcome::unhealthy(format!("a certificate becomes valid in {until} d"))
            } else {
                bounds.evaluate_as("certificate validity", " d", left)
            };
            let outcome = outcome.detail("days_left", left);
            Ok::<_, io::Error>(outcome.detail("ends_first", validity.subject))
        }
    }))
}

/// The time in which all certificates of a path are valid, in seconds since the Unix epoch.
struct Validity {
    begins: i64,
    ends: i64,
    /// The subject of the certificate that expires first.
    subject: String,
}

/// Returns the common validity of the path from the first certificate. `None` if there is no
/// certificate, or the first one is malformed.
fn validity(sent: &[CertificateDer<'_>]) -> Option<Validity> {
    let (leaf, others) = sent.split_first()?;
    let (_, leaf) = parse_x509_certificate(leaf).ok()?;
    let parsed = others
        .iter()
        .map(|certificate| parse_x509_certificate(certificate));
    let mut others: Vec<_> = parsed
        .flatten()
        .map(|(_, certificate)| certificate)
        .collect();
    let mut path = vec![leaf];
    while let Some(last) = path.last().filter(|last| !is_self_signed(last)) {
        let is_issuer = |certificate: &X509Certificate<'_>| certificate.subject() == last.issuer();
        let issuers = others
            .iter()
            .enumerate()
            .filter(|(_, certificate)| is_issuer(certificate));
        // A server can send a renewed intermediate certificate together with its predecessor.
        let latest =
            issuers.max_by_key(|(_, certificate)| (is_self_signed(certificate), ends(certificate)));
        let Some((at, _)) = latest.filter(|(_, certificate)| !is_self_signed(certificate)) else {
            break;
        };
        // It leaves the list, so that a cycle ends.
        path.push(others.swap_remove(at));
    }
    if let [_, .., issued, last] = &*path
        && ends(last) < ends(issued)
    {
        path.pop();
    }
    let begins = path
        .iter()
        .map(|certificate| certificate.validity().not_before.timestamp());
    let begins = begins.max()?;
    let first = path.iter().min_by_key(|certificate| ends(certificate))?;
    Some(Validity {
        begins,
        ends: ends(first),
        subject: first.subject().to_string(),
    })
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject() == certificate.issuer()
}

fn ends(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

/// It names ring because rustls panics if a process has several providers and no default.
fn connector() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

/// Trusts every authority: nothing is sent over the connection.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
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

/// The address of a [`certificate`] check is not a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address {address:?}: expected a host and a port, such as `example.org:443`")]
#[non_exhaustive]
pub struct InvalidAddress {
    /// The address as given.
    pub address: String,
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

    use super::*;

    fn params(name: &str, ends: i32) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2_000, 1, 1);
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// Creates a certificate from a subject, an issuer, and the year in which it expires.
    fn certificate((subject, issuer, ends): (&str, &str, i32)) -> CertificateDer<'static> {
        let (key, issuer_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let issuer = Issuer::new(params(issuer, ends), &issuer_key);
        let certificate = params(subject, ends).signed_by(&key, &issuer).unwrap();
        certificate.der().clone()
    }

    /// Returns the subject of the certificate that expires first.
    fn first(sent: &[(&str, &str, i32)]) -> String {
        let mut sent: Vec<_> = sent.iter().copied().map(certificate).collect();
        sent.push(CertificateDer::from(b"malformed".to_vec()));
        validity(&sent).unwrap().subject.replace("CN=", "")
    }

    #[test]
    fn only_the_path_from_the_first_certificate_counts() {
        let (leaf, middle) = (("leaf", "R3", 3_000), ("R3", "X1", 3_100));
        assert_eq!(first(&[leaf]), "leaf");
        assert_eq!(first(&[leaf, ("other", "unknown", 2_010)]), "leaf");
        assert_eq!(first(&[leaf, middle, ("X1", "X1", 2_010)]), "leaf");
        // A root that an expired root has signed.
        assert_eq!(first(&[leaf, middle, ("X1", "DST", 2_010)]), "leaf");
        let old_root = ("DST", "DST", 2_009);
        assert_eq!(
            first(&[leaf, middle, ("X1", "DST", 2_010), old_root]),
            "leaf"
        );
        // The same, with the new root.
        let both = [leaf, middle, ("X1", "DST", 2_010), ("X1", "X1", 3_500)];
        assert_eq!(first(&both), "leaf");
        // A renewed certificate with its predecessor.
        assert_eq!(first(&[leaf, ("R3", "X1", 2_010), middle]), "leaf");
        // Expired intermediate certificates, in any order.
        assert_eq!(first(&[leaf, ("R3", "X1", 2_010)]), "R3");
        let long = [leaf, ("X1", "X0", 4_000), ("R3", "X1", 2_010)];
        assert_eq!(first(&long), "R3");
        let two = [leaf, middle, ("X1", "X0", 2_010), ("X0", "root", 4_000)];
        assert_eq!(first(&two), "X1");
        // A self-signed certificate, and a cycle.
        assert_eq!(first(&[("leaf", "leaf", 2_010), middle]), "leaf");
        let cycle = [leaf, ("R3", "X1", 3_100), ("X1", "R3", 3_100)];
        assert_eq!(first(&cycle), "leaf");
    }

    #[test]
    fn the_first_certificate_must_be_readable() {
        let malformed = CertificateDer::from(b"malformed".to_vec());
        let leaf = certificate(("leaf", "R3", 3_000));
        assert!(validity(&[malformed, leaf]).is_none());
        assert!(validity(&[]).is_none());
    }
}
