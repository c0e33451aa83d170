use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use self::file::File;
use self::worker::{Job, Reply};
use crate::batch::Batch;
use crate::error::StoreError;
use crate::store::{BoxFuture, Entry, Record, Status, Store};

mod file;
mod open;
mod worker;

pub use self::open::OpenError;

/// A [`Store`] in one file. A dedicated thread, `campanile-store`, owns the file.
///
/// ```
/// use campanile_store::{Batch, Redb, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("campanile.redb");
/// let store = Redb::open(&path)?;
/// let mut batch = Batch::new();
/// batch.put("silences", "7", "until noon");
/// store.commit(batch).await?;
/// drop(store);
///
/// let store = Redb::open(&path)?;
/// assert_eq!(store.get("silences", "7").await?.as_deref(), Some(&b"until noon"[..]));
/// # Ok(())
/// # }
/// ```
///
/// Acknowledged commits survive `kill -9` and a loss of power: each commit is synced twice (redb's two-phase commit).
/// Opening verifies the checksum of every page, and each record has its own checksum.
///
/// A new file is created as `….new-<process>-<number>` and then linked to its name, so that a killed process leaves no
/// partial file. A left temporary file can be deleted.
///
/// A corrupt file is set aside as `….corrupt-<seconds since 1970>`, and the store starts empty. The [`Status`] and the
/// log report it. A file of another program or of another format is neither renamed nor changed.
///
/// If the disk fails or is full, writes fail. The file is opened again after 5 s, and then after pauses that double up
/// to 60 s.
///
/// Dropping the store closes the file on its thread, after the queued operations.
pub struct Redb {
    path: PathBuf,
    jobs: SyncSender<Job>,
    status: Arc<Mutex<Status>>,
}

/// The maximum number of queued operations.
const MAX_QUEUED: usize = 256;
/// The timeout of an operation.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Redb {
    /// Opens a file, or creates it.
    ///
    /// The call blocks while the file is checked, about 0.5 s per GB. If another process has the file open, the call
    /// retries for 0.25 s.
    ///
    /// # Errors
    ///
    /// If another process has the file open, if the file belongs to another program, if its format is newer or older, or
    /// if the system returns an error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let (file, warning) = File::open(&path)?;
        let status = Arc::new(Mutex::new(Status {
            warning,
            ..Status::new(true)
        }));
        let (jobs, queue) = sync_channel(MAX_QUEUED);
        let worker = worker::Worker::new(file, path.clone(), Arc::clone(&status));
        thread::Builder::new()
            .name("campanile-store".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|error| OpenError::io(&path, error))?;
        Ok(Self { path, jobs, status })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn submit<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        self.jobs
            .try_send(job(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy { queued: MAX_QUEUED },
                TrySendError::Disconnected(_) => closed(),
            })?;
        match timeout(TIMEOUT, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(StoreError::Timeout { timeout: TIMEOUT }),
        }
    }
}

fn closed() -> StoreError {
    StoreError::io("thread of the store ended")
}

impl Store for Redb {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            batch.check()?;
            self.submit(|reply| Job::Commit(batch, reply)).await
        })
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let (table, key) = (table.to_owned(), key.to_owned());
        Box::pin(self.submit(|reply| Job::Get(table, key, reply)))
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        let (table, after) = (table.to_owned(), after.map(str::to_owned));
        Box::pin(self.submit(move |reply| Job::Scan(table, after, limit, reply)))
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(self.submit(move |reply| Job::Journal(after, limit, reply)))
    }

    fn status(&self) -> Status {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
