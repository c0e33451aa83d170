use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::file::LogFile;
use crate::line::Style;
use crate::{BuildError, Rolling};

/// Where lines go.
pub struct Writer(Target);

enum Target {
    Stdout,
    Stderr,
    File(PathBuf),
    Rolling(Rolling),
    Other(Box<dyn Write + Send>),
}

impl Writer {
    /// Writes to the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self(Target::Stdout)
    }

    /// Writes to the standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self(Target::Stderr)
    }

    /// Writes to the end of a file, which is made if it is not there.
    ///
    /// On Unix the path is checked with each batch of lines: when logrotate or another program has renamed or deleted the file, a new
    /// one is opened. No signal is needed. On other systems only a file that is gone is noticed.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Target::File(path.into()))
    }

    /// Writes to a file that makes room when it is large or old.
    pub fn rolling(rolling: Rolling) -> Self {
        Self(Target::Rolling(rolling))
    }

    /// Writes to anything else. It may block: it is called by a thread of its own, with many lines at a time. The log has no lines
    /// that it logs itself.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Other(Box::new(writer)))
    }

    /// Returns whether colours are shown: on a terminal, unless `NO_COLOR` is set and not empty.
    pub(crate) fn has_colours(&self) -> bool {
        let is_without = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.is_terminal() && !is_without
    }

    fn is_terminal(&self) -> bool {
        match self.0 {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Stderr => io::stderr().is_terminal(),
            Target::File(_) | Target::Rolling(_) | Target::Other(_) => false,
        }
    }

    pub(crate) fn open(self, style: &Arc<Style>) -> Result<Box<dyn Write + Send>, BuildError> {
        Ok(match self.0 {
            Target::Stdout => Box::new(io::stdout()),
            Target::Stderr => Box::new(io::stderr()),
            Target::Other(writer) => writer,
            Target::Rolling(rolling) => {
                let path = rolling.path.clone();
                let reason = |error: io::Error| error.to_string();
                let file = rolling.open(Arc::clone(style)).map_err(reason);
                Box::new(file.map_err(|reason| BuildError::File { path, reason })?)
            }
            Target::File(path) => {
                let file = LogFile::open(&path).map_err(|error| BuildError::File {
                    path,
                    reason: error.to_string(),
                })?;
                Box::new(file)
            }
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Stdout => f.write_str("Stdout"),
            Target::Stderr => f.write_str("Stderr"),
            Target::File(path) => f.debug_tuple("File").field(path).finish(),
            Target::Rolling(rolling) => rolling.fmt(f),
            Target::Other(_) => f.write_str("Other"),
        }
    }
}
