use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::file::{Failure, File};
use super::open::set_aside;
use crate::{Batch, Entry, Record, Status, StoreError};

/// The sender of a job's result. Its receiver may be gone.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Job {
    Commit(Batch, Reply<()>),
    Get(String, String, Reply<Option<Vec<u8>>>),
    Scan(String, Option<String>, usize, Reply<Vec<Record>>),
    Journal(u64, usize, Reply<Vec<Entry>>),
}

/// The one thread that touches the file.
pub(super) struct Worker {
    path: PathBuf,
    state: State,
    status: Arc<Mutex<Status>>,
}

enum State {
    Open(File),
    /// It failed, and is opened again at a time.
    Broken {
        error: StoreError,
        again: Instant,
        pause: Duration,
    },
}

/// The first pause before a file is opened again, and the longest.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) fn new(file: File, path: PathBuf, status: Arc<Mutex<Status>>) -> Self {
        Self {
            path,
            state: State::Open(file),
            status,
        }
    }

    /// Runs jobs until all senders are gone.
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
            Job::Commit(batch, reply) => self.answer(reply, |file| file.commit(batch)),
            Job::Get(table, key, reply) => self.answer(reply, |file| file.get(&table, &key)),
            Job::Scan(table, after, limit, reply) => {
                self.answer(reply, |file| file.scan(&table, after.as_deref(), limit));
            }
            Job::Journal(after, limit, reply) => {
                self.answer(reply, |file| file.journal(after, limit));
            }
        }
    }

    fn answer<T>(&mut self, reply: Reply<T>, work: impl FnOnce(&File) -> Result<T, Failure>) {
        let file = match &self.state {
            State::Open(file) => file,
            State::Broken { error, .. } => {
                let _ = reply.send(Err(error.clone()));
                return;
            }
        };
        let done = catch_unwind(AssertUnwindSafe(|| work(file)));
        let done = done.unwrap_or_else(|_| {
            Err(Failure::Broken(StoreError::Io {
                reason: "the file's code panicked".to_owned(),
            }))
        });
        let answer = done.map_err(|failure| {
            match &failure {
                Failure::Refused(_) => {}
                Failure::Broken(error) => self.break_off(error.clone(), PAUSE),
                Failure::Corrupt(error) => {
                    let error = error.clone();
                    self.break_off(error.clone(), Duration::ZERO);
                    match set_aside(&self.path, &error.to_string()) {
                        Ok(notice) => self.status().notice = Some(notice),
                        Err(error) => tracing::error!(%error, "a corrupt store can't be set aside"),
                    }
                }
            }
            failure.error()
        });
        let _ = reply.send(answer);
    }

    /// Closes a file that has failed, to open it again after a pause.
    fn break_off(&mut self, error: StoreError, pause: Duration) {
        tracing::error!(path = %self.path.display(), %error, "the store failed, and is opened again");
        self.status().error = Some(error.to_string());
        self.close();
        self.state = State::Broken {
            error,
            again: now() + pause,
            pause: PAUSE,
        };
    }

    /// Opens a file that has failed, once its time has come.
    fn reopen(&mut self) {
        let pause = match &self.state {
            State::Broken { again, pause, .. } if *again <= now() => *pause,
            _ => return,
        };
        match File::open(&self.path) {
            Ok((file, notice)) => {
                tracing::info!(path = %self.path.display(), "the store works again");
                let mut status = self.status();
                status.error = None;
                if notice.is_some() {
                    status.notice = notice;
                }
                drop(status);
                self.state = State::Open(file);
            }
            Err(error) => {
                tracing::error!(%error, "the store can't be opened again yet");
                let error = StoreError::Io {
                    reason: error.to_string(),
                };
                self.status().error = Some(error.to_string());
                self.state = State::Broken {
                    error,
                    again: now() + pause,
                    pause: (pause * 2).min(LONGEST_PAUSE),
                };
            }
        }
    }

    /// Closes the file, which may fail or panic if the disk has.
    fn close(&mut self) {
        let closed = State::Broken {
            error: StoreError::Io {
                reason: "it is closed".to_owned(),
            },
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
    #[expect(clippy::disallowed_methods, reason = "the thread waits by the clock")]
    Instant::now()
}
