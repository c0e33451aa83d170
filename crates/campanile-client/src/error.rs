use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A request got no response.
///
/// No message contains the URL or a header, because both may hold secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The guard rejects all addresses of the host.
    #[error("host {host:?} has no allowed address")]
    Forbidden {
        /// The target's host.
        host: String,
    },
    /// The response did not arrive in time.
    #[error("no response within {timeout:?}")]
    Timeout {
        /// The timeout of the client.
        timeout: Duration,
    },
    /// The connection failed.
    #[error("the connection failed")]
    Connection {
        /// The cause. It has the `kind` of the operating system's error, if that was the cause.
        #[source]
        source: Arc<io::Error>,
    },
}

impl SendError {
    /// Returns the message and its cause in one line.
    pub fn reason(&self) -> String {
        match self {
            Self::Connection { source } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}

/// A certificate or a private key is invalid.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCertificates {
    /// The PEM has no certificate, or an invalid one.
    #[error(
        "invalid certificates: expected PEM with at least one valid block -----BEGIN CERTIFICATE-----"
    )]
    Certificates {
        /// The cause, if the PEM is malformed.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// The PEM has no valid private key.
    #[error("invalid private key: expected PEM with a block -----BEGIN PRIVATE KEY-----")]
    Key {
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The private key does not match the certificate.
    #[error("invalid client certificate: expected the certificate of the private key")]
    Mismatch {
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Returns the cause of a failed request, without the URL and without data of the peer.
pub(crate) fn connection_error(error: &(dyn Error + 'static)) -> io::Error {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    let kind = io.map_or(io::ErrorKind::Other, io::Error::kind);
    io::Error::new(kind, chain(error))
}

pub(crate) fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<E>())
}

/// Returns the error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let cause = |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            // `source` of an `io::Error` skips the error that it wraps.
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), cause)
}

/// Returns the messages of the error and its causes.
///
/// Inner causes are included only if they come from the operating system or from TLS. The messages
/// of an HTTP error may repeat what the peer sent, and so what the application sent to it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let is_harmless =
        |cause: &(dyn Error + 'static)| cause.is::<io::Error>() || cause.is::<rustls::Error>();
    let causes = causes(error).enumerate();
    let shown = causes.filter(|(depth, cause)| *depth < 2 || is_harmless(*cause));
    let mut messages: Vec<_> = shown.map(|(_, cause)| cause.to_string()).collect();
    // An `io::Error` has the message of the error that it wraps.
    messages.dedup();
    messages.join(": ")
}
