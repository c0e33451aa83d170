use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use campanile_store::Batch;
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::channel::{Channel, ChannelError};
use crate::notification::Notification;
use crate::record::{JournalRecord, OUTBOX, json};
use crate::store_writer::StoreWriter;

/// The queue of one channel. It sends notifications in order, each until the channel accepts or rejects it.
pub(crate) struct DeliveryQueue {
    channel: Arc<dyn Channel>,
    queue: Mutex<VecDeque<QueuedNotification>>,
    arrived: tokio::sync::Notify,
    settled: tokio::sync::Notify,
    sent: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    dropped: AtomicU64,
}

/// A notification and its key in the store.
#[derive(Clone, Debug)]
pub(crate) struct QueuedNotification {
    pub(crate) key: String,
    pub(crate) notification: Notification,
}

impl QueuedNotification {
    /// Returns the number at the end of the key.
    pub(crate) fn number(&self) -> Option<u64> {
        self.key.rsplit_once('/')?.1.parse().ok()
    }
}

/// The counts of a channel since the process started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The channel's name.
    pub channel: String,
    /// The number of queued notifications.
    pub queued: usize,
    /// The time of the event of the oldest queued notification.
    pub oldest: Option<SystemTime>,
    /// Notifications that the channel accepted.
    pub sent: u64,
    /// Failed attempts that are retried.
    pub failed: u64,
    /// Notifications that the receiver rejected; they are not retried.
    pub rejected: u64,
    /// Notifications that were dropped because the queue was full.
    pub dropped: u64,
}

/// The maximum length of a queue.
const MAX_QUEUED: usize = 10_000;
/// The timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The first and the longest pause between attempts.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The limits of a pause that the receiver sets.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

impl DeliveryQueue {
    pub(crate) fn new(channel: Arc<dyn Channel>) -> Self {
        Self {
            channel,
            queue: Mutex::default(),
            arrived: tokio::sync::Notify::new(),
            settled: tokio::sync::Notify::new(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.channel.name()
    }

    /// Returns whether the queue has room for a notification. If not, counts a dropped one.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = self.queue().len() < MAX_QUEUED;
        if !has_room {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    pub(crate) fn push(&self, queued: QueuedNotification) {
        self.queue().push_back(queued);
        self.arrived.notify_one();
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let (queued, oldest) = {
            let queue = self.queue();
            let oldest = queue.front().map(|queued| &queued.notification);
            let at =
                oldest.map(|notification| notification.ends_at.unwrap_or(notification.starts_at));
            (queue.len(), at)
        };
        ChannelStats {
            channel: self.name().to_owned(),
            queued,
            oldest,
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Sends queued notifications. The future never completes.
    pub(crate) async fn run(&self, store_writer: &StoreWriter, now: impl Fn() -> SystemTime) {
        let mut pause = PAUSE;
        loop {
            let first = self.queue().front().cloned();
            let Some(queued) = first else {
                self.arrived.notified().await;
                continue;
            };
            match self.send(&queued.notification).await {
                Ok(()) => {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    self.settle(store_writer, &queued, None, now()).await;
                    pause = PAUSE;
                }
                Err(ChannelError::Rejected { reason }) => {
                    self.rejected.fetch_add(1, Ordering::Relaxed);
                    let (channel, key) = (self.name(), queued.notification.key());
                    tracing::error!(channel, key, reason, "notification rejected");
                    self.settle(store_writer, &queued, Some(&reason), now())
                        .await;
                    pause = PAUSE;
                }
                Err(ChannelError::Retry { reason, after }) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let jittered = pause.mul_f64(0.8 + 0.4 * fastrand::f64());
                    let wait = after.map_or(jittered, |after| {
                        after.clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER)
                    });
                    let (channel, key) = (self.name(), queued.notification.key());
                    tracing::warn!(channel, key, reason, ?wait, "failed to send notification");
                    sleep(wait).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    /// Waits until the queue is empty.
    pub(crate) async fn drained(&self) {
        loop {
            let mut settled = pin!(self.settled.notified());
            // Register before the check, so that no wake-up is lost.
            settled.as_mut().enable();
            if self.queue().is_empty() {
                return;
            }
            settled.await;
        }
    }

    async fn send(&self, notification: &Notification) -> Result<(), ChannelError> {
        let retry = |reason: String| ChannelError::Retry {
            reason,
            after: None,
        };
        let sending = std::panic::AssertUnwindSafe(async { self.channel.send(notification).await });
        match timeout(TIMEOUT, sending.catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(retry("channel panicked".to_owned())),
            Err(_) => Err(retry(format!("timed out after {TIMEOUT:?}"))),
        }
    }

    /// Removes a notification from the queue and the store, and records the delivery or the rejection.
    async fn settle(
        &self,
        store_writer: &StoreWriter,
        queued: &QueuedNotification,
        rejected: Option<&str>,
        at: SystemTime,
    ) {
        let QueuedNotification { key, notification } = queued;
        let mut batch = Batch::new();
        batch.delete(OUTBOX, key.as_str());
        batch.append(json(&JournalRecord::delivery(
            at,
            self.name(),
            notification,
            rejected,
        )));
        // The writer keeps the batch and counts the failure.
        let _ = store_writer.save([batch]).await;
        let mut queue = self.queue();
        if let Some(place) = queue.iter().position(|one| one.key == *key) {
            queue.remove(place);
        }
        drop(queue);
        self.settled.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<QueuedNotification>> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
