use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use campanile_store::Batch;
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::ledger::Ledger;
use crate::record::{JournalRecord, OUTBOX, json};
use crate::{Notice, Notify, NotifyError};

/// The notices that one channel owes, which are sent in their order, each until it has arrived or was refused.
pub(crate) struct Lane {
    channel: Arc<dyn Notify>,
    queue: Mutex<VecDeque<Owed>>,
    arrived: tokio::sync::Notify,
    settled: tokio::sync::Notify,
    sent: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

/// A notice, and the key under which it waits.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) key: String,
    pub(crate) notice: Notice,
}

impl Owed {
    /// Returns the number that the key ends with.
    pub(crate) fn number(&self) -> Option<u64> {
        self.key.rsplit_once('/')?.1.parse().ok()
    }
}

/// What has become of a channel's notices since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The channel's name.
    pub channel: String,
    /// Notices that wait.
    pub waiting: usize,
    /// When the event of the oldest notice that waits happened.
    pub oldest: Option<SystemTime>,
    /// Notices that arrived.
    pub sent: u64,
    /// Attempts that failed and are repeated.
    pub failed: u64,
    /// Notices that the other side will never take.
    pub refused: u64,
    /// Notices that were dropped because too many wait.
    pub dropped: u64,
}

/// The limit of notices that are queued for a channel.
const MAX_WAITING: usize = 10_000;
/// How long sending may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after the first failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The bounds of the pause that the other side asks for.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60 * 60);

impl Lane {
    pub(crate) fn new(channel: Arc<dyn Notify>) -> Self {
        Self {
            channel,
            queue: Mutex::default(),
            arrived: tokio::sync::Notify::new(),
            settled: tokio::sync::Notify::new(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.channel.name()
    }

    /// Returns whether there is room for one more notice; if not, it counts as dropped.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = self.queue().len() < MAX_WAITING;
        if !has_room {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    pub(crate) fn push(&self, owed: Owed) {
        self.queue().push_back(owed);
        self.arrived.notify_one();
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let (waiting, oldest) = {
            let queue = self.queue();
            let oldest = queue.front().map(|owed| &owed.notice);
            let at = oldest.map(|notice| notice.ends_at.unwrap_or(notice.starts_at));
            (queue.len(), at)
        };
        ChannelStats {
            channel: self.name().to_owned(),
            waiting,
            oldest,
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Sends what is owed, for ever.
    pub(crate) async fn run(&self, ledger: &Ledger, now: impl Fn() -> SystemTime) {
        let mut pause = PAUSE;
        loop {
            let first = self.queue().front().cloned();
            let Some(owed) = first else {
                self.arrived.notified().await;
                continue;
            };
            match self.send(&owed.notice).await {
                Ok(()) => {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    self.settle(ledger, &owed, None, now()).await;
                    pause = PAUSE;
                }
                Err(NotifyError::Refused { reason }) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    let (channel, key) = (self.name(), owed.notice.key());
                    tracing::error!(channel, key, reason, "a notice was refused");
                    self.settle(ledger, &owed, Some(&reason), now()).await;
                    pause = PAUSE;
                }
                Err(NotifyError::Retry { reason, after }) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let jittered = pause.mul_f64(0.8 + 0.4 * fastrand::f64());
                    let wait = after.map_or(jittered, |after| after.clamp(SOONEST, LATEST));
                    let (channel, key) = (self.name(), owed.notice.key());
                    tracing::warn!(channel, key, reason, ?wait, "a notice did not arrive");
                    sleep(wait).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits until nothing is owed.
    pub(crate) async fn drained(&self) {
        loop {
            let mut settled = pin!(self.settled.notified());
            // From here on nothing is missed.
            settled.as_mut().enable();
            if self.queue().is_empty() {
                return;
            }
            settled.await;
        }
    }

    async fn send(&self, notice: &Notice) -> Result<(), NotifyError> {
        let retry = |reason: String| NotifyError::Retry {
            reason,
            after: None,
        };
        let sending = std::panic::AssertUnwindSafe(async { self.channel.send(notice).await });
        match timeout(TIMEOUT, sending.catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(retry("the channel panicked".to_owned())),
            Err(_) => Err(retry(format!("it did not end within {TIMEOUT:?}"))),
        }
    }

    /// Takes a notice off the queue: it arrived, or was refused for a reason.
    async fn settle(&self, ledger: &Ledger, owed: &Owed, refused: Option<&str>, at: SystemTime) {
        let Owed { key, notice } = owed;
        let mut batch = Batch::new();
        batch.delete(OUTBOX, key.as_str());
        batch.append(json(&JournalRecord::delivery(
            at,
            self.name(),
            notice,
            refused,
        )));
        // The ledger keeps what the store doesn't take, and says so.
        let _ = ledger.save([batch]).await;
        let mut queue = self.queue();
        if let Some(place) = queue.iter().position(|one| one.key == *key) {
            queue.remove(place);
        }
        drop(queue);
        self.settled.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Owed>> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
