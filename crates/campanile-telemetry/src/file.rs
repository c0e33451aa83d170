//! A log file that another program may rename.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is reopened if its path leads to another file, for example after logrotate.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // The process may change its working directory.
        let path = std::path::absolute(path)?;
        let file = append(&path)?;
        Ok(Self { path, file })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !is_at(&self.file, &self.path) {
            // If the file cannot be reopened, writes go to the old one.
            self.file = append(&self.path).or_else(|_| self.file.try_clone())?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a file for appending. It is created if it does not exist.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Returns whether a path leads to an open file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(file), Ok(other)) => is_same(&file, &other),
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => false,
        // An unreadable path counts as unchanged.
        _ => true,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Only a deleted file is noticed here.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
