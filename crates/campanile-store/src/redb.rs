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
use crate::{Batch, BoxFuture, Entry, Record, Status, Store, StoreError};

mod file;
mod open;
mod worker;

pub use self::open::OpenError;

/// A [`Store`] in one file, on one thread of its own, `campanile-store`.
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
/// What it has acknowledged is on the disk: each commit is synced twice (redb's two-phase commit), so that neither `kill -9` nor
/// a loss of power takes it back. When it is opened, every page's checksum is verified, and each record has one more of its own.
///
/// A new file is made as `….new-<process>-<number>` and then gets its name, so that a process which is killed over it leaves no half of
/// one; what it may leave under the other name can be deleted.
///
/// A store that is damaged is set aside as `….corrupt-<seconds since 1970>`, never deleted, and the store begins anew; its
/// [`Status`] and the log say so. A file of another program, or of another file format, is neither renamed nor changed. When the disk fails or is full, writes fail, and the file is opened again after 5 s, and then
/// at intervals that double up to 60 s.
///
/// Dropping it closes the file, on its thread, after the operations that wait.
pub struct Redb {
    path: PathBuf,
    jobs: SyncSender<Job>,
    status: Arc<Mutex<Status>>,
}

/// How many operations may wait for the thread.
const WAITING: usize = 256;
/// How long an operation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Redb {
    /// Opens a file, or makes it.
    ///
    /// It blocks while the file is checked, which takes about half a second for each gigabyte. A file that another process has
    /// open is tried for a quarter of a second.
    ///
    /// # Errors
    ///
    /// If another process has the file open, if it is a file of another program, if it has a newer or an older format, or if the
    /// system returns an error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let (file, notice) = File::open(&path)?;
        let status = Arc::new(Mutex::new(Status {
            notice,
            ..Status::new(true)
        }));
        let (jobs, queue) = sync_channel(WAITING);
        let worker = worker::Worker::new(file, path.clone(), Arc::clone(&status));
        thread::Builder::new()
            .name("campanile-store".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|error| OpenError::io(&path, &error))?;
        Ok(Self { path, jobs, status })
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .try_send(job(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy { waiting: WAITING },
                TrySendError::Disconnected(_) => gone(),
            })?;
        match timeout(TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(StoreError::Timeout {
                seconds: TIMEOUT.as_secs(),
            }),
        }
    }
}

fn gone() -> StoreError {
    StoreError::Io {
        reason: "its thread has ended".to_owned(),
    }
}

impl Store for Redb {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            batch.check()?;
            self.ask(|reply| Job::Commit(batch, reply)).await
        })
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let (table, key) = (table.to_owned(), key.to_owned());
        Box::pin(self.ask(|reply| Job::Get(table, key, reply)))
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        let (table, after) = (table.to_owned(), after.map(str::to_owned));
        Box::pin(self.ask(move |reply| Job::Scan(table, after, limit, reply)))
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(self.ask(move |reply| Job::Journal(after, limit, reply)))
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
