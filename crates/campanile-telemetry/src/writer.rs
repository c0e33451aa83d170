use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::file::LogFile;
use crate::line::Style;
use crate::{Problem, RollingFile};

/// The destination of log lines.
pub struct Writer(Target);

enum Target {
    Stdout,
    Stderr,
    File(PathBuf),
    Rolling(RollingFile),
    Other(Box<dyn Write + Send>),
}

impl Writer {
    /// Creates a writer to the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self(Target::Stdout)
    }

    /// Creates a writer to the standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self(Target::Stderr)
    }

    /// Creates a writer that appends to a file. The file is created if it does not exist.
    ///
    /// On Unix the path is checked with each batch of lines. If another program, such as logrotate,
    /// has renamed or deleted the file, a new one is opened; no signal is needed. On other systems
    /// only a deleted file is noticed.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Target::File(path.into()))
    }

    /// Creates a writer to a file that is rotated by size or age.
    pub fn rolling(rolling: RollingFile) -> Self {
        Self(Target::Rolling(rolling))
    }

    /// Creates a writer to any [`Write`]. It may block, since the thread `campanile-log` calls it,
    /// with many lines at a time. Events that the writer logs itself are ignored.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Other(Box::new(writer)))
    }

    /// Returns whether lines have colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours(|name| std::env::var_os(name))
    }

    /// Returns whether lines have colours: on a terminal or with `CLICOLOR_FORCE`, and never with
    /// `NO_COLOR`.
    fn colours(&self, variable: impl Fn(&str) -> Option<OsString>) -> bool {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_forced = is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE") != Some("0".into());
        let is_standard = matches!(self.0, Target::Stdout | Target::Stderr);
        is_standard && (is_forced || self.is_terminal()) && !is_set("NO_COLOR")
    }

    fn is_terminal(&self) -> bool {
        match self.0 {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Stderr => io::stderr().is_terminal(),
            Target::File(_) | Target::Rolling(_) | Target::Other(_) => false,
        }
    }

    pub(crate) fn open(self, style: &Arc<Style>) -> Result<Box<dyn Write + Send>, Problem> {
        Ok(match self.0 {
            Target::Stdout => Box::new(io::stdout()),
            Target::Stderr => Box::new(io::stderr()),
            Target::Other(writer) => writer,
            Target::Rolling(rolling) => {
                let path = rolling.path.clone();
                let file = rolling.open(Arc::clone(style));
                Box::new(file.map_err(|error| failed(path, error))?)
            }
            Target::File(path) => {
                let file = LogFile::open(&path);
                Box::new(file.map_err(|error| failed(path, error))?)
            }
        })
    }
}

fn failed(path: PathBuf, error: io::Error) -> Problem {
    Problem::File {
        path,
        source: Arc::new(error),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_can_be_forced_and_disabled() {
        let forced = |writer: &Writer, force: &'static str, no: &'static str| {
            writer.colours(|name| match name {
                "CLICOLOR_FORCE" => Some(force.into()),
                "NO_COLOR" => Some(no.into()),
                _ => None,
            })
        };
        let stdout = Writer::stdout();
        assert!(forced(&stdout, "1", ""));
        assert!(!forced(&stdout, "1", "1"));
        let file = Writer::file("a.log");
        assert!(!forced(&file, "1", ""));
        for force in ["", "0"] {
            assert_eq!(forced(&stdout, force, ""), stdout.is_terminal());
        }
    }
}
