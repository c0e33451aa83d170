use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::file::{Failure, File};
use super::open::set_aside;
use crate::batch::Batch;
use crate::error::StoreError;
use crate::store::{Entry, Record, Status};

/// The sender of a job's result. Its receiver may have been dropped.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A job of the thread.
pub(super) enum Job {
    Commit(Batch, Reply<()>),
    Get(String, String, Reply<Option<Vec<u8>>>),
    Scan(String, Option<String>, usize, Reply<Vec<Record>>),
    Journal(u64, usize, Reply<Vec<Entry>>),
}

/// The thread that owns the file.
pub(super) struct Worker {
    path: PathBuf,
    state: State,
    status: Arc<Mutex<Status>>,
}

enum State {
    Open(File),
    /// The file failed and is opened again at `again`.
    Broken {
        error: StoreError,
        again: Instant,
        pause: Duration,
    },
}

/// The first and the longest pause before a file is opened again.
const PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) fn new(file: File, path: PathBuf, status: Arc<Mutex<Status>>) -> Self {
        Self {
            path,
            state: State::Open(file),
            status,
        }
    }

    /// Runs jobs until all senders are dropped.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match &self.state {
                State::Open(_) => jobs.recv().map_err(RecvTimeoutError::from),
                State::Broken { again, .. } => {
                    jobs.recv_timeout(again.saturating_duration_since(now()))
                }
            };
            match job {
                Ok(job) => self.perform(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            self.reopen();
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Commit(batch, reply) => self.reply(reply, |file| file.commit(batch)),
            Job::Get(table, key, reply) => self.reply(reply, |file| file.get(&table, &key)),
            Job::Scan(table, after, limit, reply) => {
                self.reply(reply, |file| file.scan(&table, after.as_deref(), limit));
            }
            Job::Journal(after, limit, reply) => {
                self.reply(reply, |file| file.journal(after, limit));
            }
        }
    }

    fn reply<T>(&mut self, reply: Reply<T>, work: impl FnOnce(&File) -> Result<T, Failure>) {
        let file = match &self.state {
            State::Open(file) => file,
            State::Broken { error, .. } => {
                let _ = reply.send(Err(error.clone()));
                return;
            }
        };
        let done = catch_unwind(AssertUnwindSafe(|| work(file)));
        let done = done.unwrap_or_else(|_| Err(Failure::Broken(StoreError::io("redb panicked"))));
        let result = done.map_err(|failure| {
            match &failure {
                Failure::Rejected(_) => {}
                Failure::Broken(error) => self.break_off(error.clone(), PAUSE),
                Failure::Corrupt(error) => {
                    let error = error.clone();
                    self.break_off(error.clone(), Duration::ZERO);
                    match set_aside(&self.path, &error.to_string()) {
                        Ok(warning) => self.status().warning = Some(warning),
                        Err(error) => tracing::error!(%error, "failed to set aside corrupt store"),
                    }
                }
            }
            failure.error()
        });
        let _ = reply.send(result);
    }

    /// Closes a failed file. It is opened again after a pause.
    fn break_off(&mut self, error: StoreError, pause: Duration) {
        tracing::error!(path = %self.path.display(), %error, "store failed; opening it again");
        self.status().error = Some(error.to_string());
        self.close();
        self.state = State::Broken {
            error,
            again: now() + pause,
            pause: PAUSE,
        };
    }

    /// Opens a failed file again, once its pause is over.
    fn reopen(&mut self) {
        let pause = match &self.state {
            State::Broken { again, pause, .. } if *again <= now() => *pause,
            _ => return,
        };
        match File::open(&self.path) {
            Ok((file, warning)) => {
                tracing::info!(path = %self.path.display(), "store recovered");
                let mut status = self.status();
                status.error = None;
                if warning.is_some() {
                    status.warning = warning;
                }
                drop(status);
                self.state = State::Open(file);
            }
            Err(error) => {
                tracing::error!(%error, "failed to open store again");
                let error = StoreError::io(error);
                self.status().error = Some(error.to_string());
                self.state = State::Broken {
                    error,
                    again: now() + pause,
                    pause: (pause * 2).min(MAX_PAUSE),
                };
            }
        }
    }

    /// Closes the file. If the disk failed, redb may panic.
    fn close(&mut self) {
        let closed = State::Broken {
            error: StoreError::io("store closed"),
            again: now(),
            pause: PAUSE,
        };
        let state = std::mem::replace(&mut self.state, closed);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(state)));
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the thread schedules retries")]
    Instant::now()
}
