use std::fs;
use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{Database, DatabaseError, StorageError};

/// A file cannot be opened as a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("the store {} is open in another process: stop that one, or give this one a file of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer version of this crate, or has a newer file format.
    #[error("the store {} is of version {found}, and this program knows {known}: use a newer program, or another file", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// It has an older format, which this program can't read.
    #[error("the store {} has file format {found}, which is older than {known}: upgrade it with an older program, or use another file", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format's version.
        found: u64,
        /// The version that this program reads.
        known: u64,
    },
    /// It is a file of another program. It is not changed.
    #[error("{} is not a store, but a file of another program: use another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the store {} can't be opened: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
        /// Its kind.
        kind: ErrorKind,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            reason: error.to_string(),
            kind: error.kind(),
        }
    }
}

/// How much of the file is kept in memory.
const CACHE: usize = 4 << 20;
/// How often a file that is in use is tried, and how long after one another.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Opens a file and checks it. Sets a store aside that is corrupt, and returns a notice of it.
pub(super) fn open(path: &Path) -> Result<(Database, Option<String>), OpenError> {
    if !path.exists() {
        make(path);
    }
    match attempt(path)? {
        Ok(database) => Ok((database, None)),
        Err(reason) => {
            recognize(path)?;
            let notice = set_aside(path, &reason)?;
            let database = attempt(path)?.map_err(|reason| OpenError::Io {
                path: path.to_owned(),
                reason: format!("a new file is corrupt: {reason}"),
                kind: ErrorKind::Other,
            })?;
            Ok((database, Some(notice)))
        }
    }
}

/// Makes a new file under another name first, so that one of this name is whole whenever the process is killed. Whatever fails here
/// is told by the opening that follows, which makes the file itself if it has to.
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
        // If another process was faster, its file is the one.
        let _ = fs::hard_link(&new, path);
    }
    let _ = fs::remove_file(&new);
    if let Some(folder) = path.parent().and_then(|folder| fs::File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}

/// Opens a file; the inner error tells in which way it is corrupt.
fn attempt(path: &Path) -> Result<Result<Database, String>, OpenError> {
    for attempt in 1.. {
        let opening = || {
            Database::builder()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create(path)
        };
        // A damaged file can make redb panic before it has found the damage.
        let error = match catch_unwind(AssertUnwindSafe(opening)) {
            Ok(Ok(database)) => return Ok(Ok(database)),
            Ok(Err(error)) => error,
            Err(_) => return Ok(Err("its check panicked".to_owned())),
        };
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch
                if attempt < TRIES =>
            {
                thread::sleep(PAUSE);
            }
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => break,
            DatabaseError::Storage(StorageError::Io(error)) if !is_of_contents(&error) => {
                return Err(OpenError::io(path, &error));
            }
            error => return Ok(Err(error.to_string())),
        }
    }
    Err(OpenError::InUse {
        path: path.to_owned(),
    })
}

/// The first bytes of a redb file, and where its two commit slots have the version of the format.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const FORMAT_AT: [usize; 2] = [64, 192];
/// The version of the format that redb 3 and 4 write.
const FORMAT: u8 = 3;

/// Returns an error unless a file that was not opened is a redb file of the known format.
fn recognize(path: &Path) -> Result<(), OpenError> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(|error| OpenError::io(path, &error))?;
    file.take(256)
        .read_to_end(&mut head)
        .map_err(|error| OpenError::io(path, &error))?;
    let path = path.to_owned();
    if !head.starts_with(MAGIC) {
        return Err(OpenError::Foreign { path });
    }
    let [first, second] = FORMAT_AT.map(|at| head.get(at).copied().unwrap_or_default());
    let (found, known) = (first.into(), FORMAT.into());
    match first {
        // A version that only one of them has is damage.
        _ if first != second => Ok(()),
        0 | FORMAT => Ok(()),
        1..FORMAT => Err(OpenError::Older { path, found, known }),
        _ => Err(OpenError::Newer { path, found, known }),
    }
}

/// Returns whether an error is about what is in the file, and not about the system.
fn is_of_contents(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
    )
}

/// Renames a corrupt file, and returns what is to be known of it.
pub(super) fn set_aside(path: &Path, reason: &str) -> Result<String, OpenError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the name tells when it was set aside"
    )]
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
    fs::rename(path, &aside).map_err(|error| OpenError::io(path, &error))?;
    let (path, aside) = (path.display(), aside.display());
    tracing::error!(%path, %aside, reason, "the store was corrupt: it was set aside, and begins anew");
    Ok(format!(
        "{path} was corrupt ({reason}) and was set aside as {aside}"
    ))
}
