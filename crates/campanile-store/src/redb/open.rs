use std::fs;
use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, DatabaseError, StorageError};

/// A file cannot be opened as a store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store of this process, has the file open.
    #[error("store {} is in use: stop the other process, or use another path", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file has a newer format.
    #[error("store {} has format {found}: expected at most {known}; use a newer program or another path", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// The file has an older format, which this version can't read.
    #[error("store {} has format {found}: expected {known}; upgrade it with an older program or use another path", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format's version.
        found: u64,
        /// The version that this program reads.
        known: u64,
    },
    /// The file belongs to another program. It is not changed.
    #[error("{} is not a store: use another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system returned an error.
    #[error("failed to open store {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source: Arc::new(error),
        }
    }
}

/// The size of the page cache in bytes.
const CACHE: usize = 4 << 20;
/// The number of attempts to open a file that is in use, and the pause between them.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Opens and checks a file. If the store is corrupt, sets it aside and returns a warning.
pub(super) fn open(path: &Path) -> Result<(Database, Option<String>), OpenError> {
    if !path.exists() {
        make(path);
    }
    match attempt(path)? {
        Ok(database) => Ok((database, None)),
        Err(reason) => {
            recognize(path)?;
            let warning = set_aside(path, &reason)?;
            let database = attempt(path)?.map_err(|reason| {
                OpenError::io(
                    path,
                    io::Error::other(format!("new file is corrupt: {reason}")),
                )
            })?;
            Ok((database, Some(warning)))
        }
    }
}

/// Creates a new file under a temporary name and links it, so that a killed process never leaves a partial file.
/// Errors are ignored: `attempt` reports them, and creates the file if it is missing.
fn make(path: &Path) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}-{number}", std::process::id()));
    let new = PathBuf::from(new);
    let made = catch_unwind(AssertUnwindSafe(|| {
        Database::builder().create(&new).is_ok()
    }));
    if made.unwrap_or_default() {
        // If another process was faster, its file stays.
        let _ = fs::hard_link(&new, path);
    }
    let _ = fs::remove_file(&new);
    if let Some(folder) = path.parent().and_then(|folder| fs::File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

/// Opens a file. The inner error says how the file is corrupt.
fn attempt(path: &Path) -> Result<Result<Database, String>, OpenError> {
    for attempt in 1.. {
        let opening = || {
            Database::builder()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create(path)
        };
        // A corrupt file can make redb panic before it reports the corruption.
        let error = match catch_unwind(AssertUnwindSafe(opening)) {
            Ok(Ok(database)) => return Ok(Ok(database)),
            Ok(Err(error)) => error,
            Err(_) => return Ok(Err("redb panicked".to_owned())),
        };
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch
                if attempt < TRIES =>
            {
                thread::sleep(PAUSE);
            }
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => break,
            DatabaseError::Storage(StorageError::Io(error)) if !is_of_contents(&error) => {
                return Err(OpenError::io(path, error));
            }
            error => return Ok(Err(error.to_string())),
        }
    }
    Err(OpenError::InUse {
        path: path.to_owned(),
    })
}

/// The first bytes of a redb file, and the offsets of the format version in its two commit slots.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const FORMAT_AT: [usize; 2] = [64, 192];
/// The format version of redb 3 and 4.
const FORMAT: u8 = 3;

/// Returns an error if a file is not a redb file of the known format.
fn recognize(path: &Path) -> Result<(), OpenError> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(|error| OpenError::io(path, error))?;
    file.take(256)
        .read_to_end(&mut head)
        .map_err(|error| OpenError::io(path, error))?;
    let path = path.to_owned();
    if !head.starts_with(MAGIC) {
        return Err(OpenError::Foreign { path });
    }
    let [first, second] = FORMAT_AT.map(|at| head.get(at).copied().unwrap_or_default());
    let (found, known) = (first.into(), FORMAT.into());
    match first {
        // Different versions mean corruption.
        _ if first != second => Ok(()),
        0 | FORMAT => Ok(()),
        1..FORMAT => Err(OpenError::Older { path, found, known }),
        _ => Err(OpenError::Newer { path, found, known }),
    }
}

/// Returns whether an error is about the contents of the file, and not about the system.
fn is_of_contents(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
    )
}

/// Renames a corrupt file and returns a warning.
pub(super) fn set_aside(path: &Path, reason: &str) -> Result<String, OpenError> {
    #[expect(clippy::disallowed_methods, reason = "the name has the time")]
    let now = SystemTime::now();
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let name = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{seconds}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let aside = (0..).map(name).find(|aside| !aside.exists());
    let aside = aside.unwrap_or_else(|| name(0));
    fs::rename(path, &aside).map_err(|error| OpenError::io(path, error))?;
    let (path, aside) = (path.display(), aside.display());
    tracing::error!(%path, %aside, reason, "set aside corrupt store; starting with an empty one");
    Ok(format!(
        "{path} was corrupt ({reason}) and was set aside as {aside}"
    ))
}
