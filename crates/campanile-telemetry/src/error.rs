use std::path::PathBuf;

/// A [`Telemetry`](crate::Telemetry) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The service's name is empty, too long, or not printable.
    #[error(
        "the service name {name:?} is not valid: give 1 to 255 characters, none of them a control character"
    )]
    ServiceName {
        /// The name as given.
        name: String,
    },
    /// The filter can't be read.
    #[error(
        "the filter {filter:?}{from} is not valid ({reason}): give directives as RUST_LOG has them, such as `info,orders=debug`"
    )]
    Filter {
        /// The directives as given.
        filter: String,
        /// Where they are from, for the message: empty if they are from the code.
        from: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// There is no room for lines that wait.
    #[error("`max_waiting_bytes` is {given}: give at least 1048576")]
    MaxWaitingBytes {
        /// The number as given.
        given: usize,
    },
    /// There are too many outputs.
    #[error("too many outputs {given}: expected at most 7")]
    Outputs {
        /// The number as given.
        given: usize,
    },
    /// The file can't be opened.
    #[error(
        "the log file {path:?} can't be opened ({reason}): name one in a folder that is there and may be written to"
    )]
    File {
        /// The path as given.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A setting of what is exported is not valid.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    #[error("{setting} is not valid: {problem}")]
    Otlp {
        /// The setting, or the variable of the environment; its value may be a secret.
        setting: String,
        /// What is wrong with it, and what to give.
        problem: String,
    },
    /// A thread can't be started.
    #[error("the thread {name} can't be started: {reason}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system says.
        reason: String,
    },
}

/// A [`Telemetry`](crate::Telemetry) cannot be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The process has a subscriber already.
    #[error(
        "the process has a tracing subscriber already: add `Telemetry::layer` to it, and don't install another"
    )]
    Taken,
}
