use std::time::Duration;

/// A call got no answer.
///
/// None of these texts has the URL or a header in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The address is not one that this client connects to.
    #[error("the address of {host:?} is not allowed")]
    Forbidden {
        /// The target's host.
        host: String,
    },
    /// There was no answer in time.
    #[error("no answer within {timeout:?}")]
    Timeout {
        /// The time that there was.
        timeout: Duration,
    },
    /// The connection could not be made, or broke.
    #[error("{reason}")]
    Connection {
        /// What failed, with its causes.
        reason: String,
    },
}

/// There is no certificate in a text, or one of them is malformed, or the key is not the one that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificates, or the key, are not valid: give them in PEM, from -----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY----- on"
)]
#[non_exhaustive]
pub struct InvalidCertificates;
