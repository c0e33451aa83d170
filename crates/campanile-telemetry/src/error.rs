use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use crate::causes::with_causes;

/// A [`Telemetry`](crate::Telemetry) cannot be built. It lists every invalid setting.
///
/// The message has the causes of each problem. The `Debug` form is the message, since `main` prints
/// the `Debug` form of an error that it returns.
#[derive(Clone, PartialEq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl BuildError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{}", with_causes(problem))?;
        }
        Ok(())
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for BuildError {}

/// A setting of a [`TelemetryBuilder`](crate::TelemetryBuilder) that is invalid, or a failure to
/// open an output.
///
/// Problems are equal if their messages and those of their causes are.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The service name is empty, too long, or has control characters.
    #[error("invalid service name {name:?}: expected 1 to 255 characters, no control characters")]
    ServiceName {
        /// The name.
        name: String,
    },
    /// A filter is invalid.
    #[error(
        "invalid {setting} {directives:?}: expected RUST_LOG directives, such as `info,orders=debug`"
    )]
    Filter {
        /// `filter` or `flight recorder filter`.
        setting: &'static str,
        /// The directives.
        directives: String,
        /// The error of the parser.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The queue of an output is too small.
    #[error("invalid max_waiting_bytes {given}: expected at least 1048576")]
    MaxWaitingBytes {
        /// The number of bytes.
        given: usize,
    },
    /// There are too many outputs.
    #[error("too many outputs {given}: expected at most 7")]
    Outputs {
        /// The number of outputs.
        given: usize,
    },
    /// A log file cannot be opened.
    #[error("failed to open the log file {path:?}")]
    File {
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },
    /// A setting of the export is invalid.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    #[error("invalid {setting}")]
    Otlp {
        /// The setting. Its value is not kept, since it may be a secret.
        setting: String,
        /// What is wrong with the value.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A thread cannot be started.
    #[error("failed to start the thread {name}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// The error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },
}

impl PartialEq for Problem {
    fn eq(&self, other: &Self) -> bool {
        let text = |error: &dyn Error| error.to_string();
        text(self) == text(other) && self.source().map(text) == other.source().map(text)
    }
}

/// A [`Telemetry`](crate::Telemetry) cannot be installed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The telemetry cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The process already has a subscriber.
    #[error(
        "duplicate tracing subscriber: expected none before `install`; add `Telemetry::layer` to the existing one"
    )]
    Taken,
}

#[cfg(test)]
mod tests {
    use crate::{FlightRecorder, Problem, Telemetry, Writer};

    #[test]
    fn all_problems_are_listed_with_their_causes() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = FlightRecorder::new().filter("x=y");
        let builder = Telemetry::builder("")
            .filter("a=b")
            .flight_recorder(recorder);
        let builder = builder.writer(Writer::file(folder.path().join("none/a.log")));
        let error = builder.max_waiting_bytes(1).build().unwrap_err();
        let [
            Problem::ServiceName { .. },
            Problem::MaxWaitingBytes { given: 1 },
            Problem::Filter { .. },
            Problem::Filter { .. },
            Problem::File { source, .. },
        ] = error.problems()
        else {
            panic!("{error}");
        };
        let text = error.to_string();
        assert!(text.ends_with(&format!(": {source}")), "{text}");
        assert_eq!(format!("{error:?}"), text);
        assert_eq!(error, error.clone());
    }
}
