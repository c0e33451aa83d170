use std::error::Error;

/// The URL of a database check is not valid.
///
/// The message does not contain the URL, which may have a password.
#[derive(Debug, thiserror::Error)]
#[error("invalid {database} URL: expected {expected}")]
#[non_exhaustive]
pub struct InvalidUrl {
    /// The database's name, such as `PostgreSQL`.
    pub database: &'static str,
    expected: &'static str,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl InvalidUrl {
    pub(super) fn new(
        database: &'static str,
        expected: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            database,
            expected,
            source,
        }
    }
}

/// A database did not answer a probe, or answered with an error. Message and source are those of
/// the database's client library.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProbeError(Box<dyn Error + Send + Sync>);

impl ProbeError {
    pub(super) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}
