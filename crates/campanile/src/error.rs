use std::fmt;

/// The settings of a [`Campanile`](crate::Campanile) are invalid. The error lists every problem.
///
/// `Debug` prints the message, because `main` prints the `Debug` form of an error that it returns.
#[derive(Clone)]
pub struct BuildError {
    pub(crate) problems: Vec<Problem>,
}

impl BuildError {
    /// Returns the problems, in the order of the builder's settings: at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The source is the cause of the first problem that has one.
impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problems.iter().find_map(std::error::Error::source)
    }
}

/// One invalid setting of a [`Builder`](crate::Builder).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The service's name is empty, too long, or not printable.
    #[error(
        "invalid service name {name:?}: expected 1 to 255 characters without control characters"
    )]
    ServiceName {
        /// The name.
        name: String,
    },
    /// The prefix of our routes is invalid.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    #[error(
        "invalid route prefix {prefix:?}: expected at most 8 segments of 1 to 64 characters of [A-Za-z0-9._~-], such as \"/orders\""
    )]
    RoutePrefix {
        /// The prefix.
        prefix: String,
    },
    /// The settings of health checks are invalid.
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    #[error(transparent)]
    Health(#[from] campanile_health::BuildError),
    /// A name of campanile's metrics belongs to another metric of the registry.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    #[error(transparent)]
    Metrics(#[from] campanile_metrics::RegisterError),
    /// The settings of a collector are invalid.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    #[error(transparent)]
    BusinessMetrics(#[from] campanile_metrics::collectors::BusinessError),
    /// The settings of rules, channels or tokens are invalid.
    #[cfg(feature = "monitor")]
    #[cfg_attr(docsrs, doc(cfg(feature = "monitor")))]
    #[error(transparent)]
    Monitor(#[from] campanile_monitor::BuildError),
    /// The settings of the telemetry are invalid.
    #[cfg(feature = "telemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    #[error(transparent)]
    Telemetry(#[from] campanile_telemetry::BuildError),
    /// The SLOs are not valid.
    #[cfg(feature = "sla")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sla")))]
    #[error(transparent)]
    ServiceLevels(#[from] campanile_sla::BuildError),
}

/// A [`Campanile`](crate::Campanile) cannot be installed.
///
/// Its `Debug` form is its message, since that is what `main` prints of an error that it returns.
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The registry cannot be the process's recorder.
    #[error(transparent)]
    Recorder(#[from] campanile_metrics::InstallError),
    /// The process has a tracing subscriber already.
    #[cfg(feature = "telemetry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
    #[error(
        "the process has a tracing subscriber already: leave `Builder::telemetry` out, or build and add `Telemetry::layer` to it"
    )]
    Subscriber,
}

#[cfg(feature = "metrics")]
impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::Campanile;

    /// `main() -> Result<(), Box<dyn Error>>` prints the `Debug` form.
    #[test]
    fn main_prints_a_readable_error() {
        let error = Campanile::builder("").build().unwrap_err();
        assert_eq!(format!("{error:?}"), error.to_string());
        #[cfg(feature = "metrics")]
        {
            let error = Campanile::builder("").install().unwrap_err();
            assert_eq!(format!("{error:?}"), error.to_string());
        }
    }
}
