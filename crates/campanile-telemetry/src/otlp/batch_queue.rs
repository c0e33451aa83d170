use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

/// A bounded queue of items to export, in batches. Items are dropped and counted if it is full.
#[derive(Debug)]
pub(crate) struct BatchQueue<T> {
    limits: Limits,
    max_batch_bytes: usize,
    state: Mutex<State<T>>,
    /// Wakes the exporter.
    work: Notify,
    closed: Notify,
    /// Signals progress of the exporter.
    done: Condvar,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The maximum number of items of a batch.
    pub(crate) batch: usize,
    /// The maximum number of queued items.
    pub(crate) items: usize,
    /// The maximum size of queued items in bytes.
    pub(crate) bytes: usize,
    /// The maximum age of an item before its batch is exported.
    pub(crate) delay: Duration,
}

/// The maximum size of a batch in bytes, unless one item is larger. Collectors limit the size of
/// requests.
pub(crate) const MAX_BATCH_BYTES: usize = 2 << 20;

#[derive(Debug)]
struct State<T> {
    /// The batches. Items are added to the last one.
    batches: VecDeque<Batch<T>>,
    /// The number of items that are queued or in flight.
    items: usize,
    bytes: usize,
    /// The length of the batch that was taken last, for which a new one has room.
    last: usize,
    counts: SignalStats,
    /// The number of items that a caller of `flush` waits for.
    flush: u64,
    closing: Option<Instant>,
}

/// The next step of the exporter.
enum Next<T> {
    Batch(Batch<T>),
    /// A batch that may grow.
    Some,
    Nothing,
    End,
}

/// The items of one request.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) list: Vec<T>,
    /// The number of items. An entry of the list may have several.
    pub(crate) items: usize,
    /// The approximate size of the items in bytes.
    pub(crate) bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            items: 0,
            bytes: 0,
        }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            items: 0,
            bytes: 0,
            last: 0,
            counts: SignalStats::default(),
            flush: 0,
            closing: None,
        }
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Batch<T>> {
        let batch = self.batches.pop_front()?;
        self.last = batch.list.len();
        Some(batch)
    }
}

/// The numbers of exported items of one signal, since the start.
///
/// `emitted` less the other three is the number of queued items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalStats {
    /// The number of items that were emitted.
    pub emitted: u64,
    /// The number of items that the collector accepted.
    pub exported: u64,
    /// The number of items that the collector rejected, or that did not reach it in time.
    pub failed: u64,
    /// The number of items that were dropped because the queue was full.
    pub dropped: u64,
}

impl SignalStats {
    fn accepted(&self) -> u64 {
        self.emitted - self.dropped
    }

    fn done(&self) -> u64 {
        self.exported + self.failed
    }
}

impl<T> BatchQueue<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        // A batch larger than the queue would never be full.
        let batch = limits.batch.min(limits.items).max(1);
        Self {
            limits: Limits { batch, ..limits },
            max_batch_bytes: MAX_BATCH_BYTES.min(limits.bytes / 4),
            state: Mutex::default(),
            work: Notify::new(),
            closed: Notify::new(),
            done: Condvar::new(),
        }
    }

    /// Adds items, or drops them if the queue is full. Never waits.
    pub(crate) fn push(&self, message: T, items: usize, bytes: usize) {
        let Limits {
            batch: max_items, ..
        } = self.limits;
        let mut state = self.state();
        state.counts.emitted += items as u64;
        let has_room =
            state.items + items <= self.limits.items && state.bytes + bytes <= self.limits.bytes;
        if state.closing.is_some() || !has_room {
            state.counts.dropped += items as u64;
            return;
        }
        let is_first = state.batches.is_empty();
        state.items += items;
        state.bytes += bytes;
        let fits = |batch: &Batch<T>| {
            batch.items + items <= max_items && batch.bytes + bytes <= self.max_batch_bytes
        };
        let mut is_full = false;
        if !state.batches.back().is_some_and(fits) {
            // The previous batch is full.
            is_full = !is_first;
            let list = Vec::with_capacity(state.last);
            state.batches.push_back(Batch {
                list,
                ..Batch::default()
            });
        }
        if let Some(batch) = state.batches.back_mut() {
            batch.list.push(message);
            batch.items += items;
            batch.bytes += bytes;
            is_full |= batch.items >= max_items || batch.bytes >= self.max_batch_bytes;
        }
        drop(state);
        if is_first || is_full {
            self.work.notify_one();
        }
    }

    /// Waits for a batch that is full, old enough, or flushed; `None` once the queue is closed and
    /// empty.
    pub(crate) async fn next(&self) -> Option<Batch<T>> {
        loop {
            match self.step() {
                Next::Batch(batch) => return Some(batch),
                Next::End => return None,
                Next::Nothing => self.work.notified().await,
                Next::Some => {
                    let more = timeout(self.limits.delay, self.work.notified());
                    if more.await.is_err() {
                        return self.state().take();
                    }
                }
            }
        }
    }

    fn step(&self) -> Next<T> {
        let mut state = self.state();
        let Some(first) = state.batches.front() else {
            return match state.closing {
                Some(_) => Next::End,
                None => Next::Nothing,
            };
        };
        let is_full = state.batches.len() > 1
            || first.items >= self.limits.batch
            || first.bytes >= self.max_batch_bytes;
        let is_flushed = state.closing.is_some() || state.flush > state.counts.done();
        if !is_full && !is_flushed {
            return Next::Some;
        }
        state.take().map_or(Next::Nothing, Next::Batch)
    }

    /// Counts the items of a finished batch. `failed` of them failed.
    pub(crate) fn ended(&self, items: usize, bytes: usize, failed: usize) {
        let mut state = self.state();
        let failed = failed.min(items);
        state.items -= items;
        state.bytes -= bytes;
        state.counts.failed += failed as u64;
        state.counts.exported += (items - failed) as u64;
        drop(state);
        self.done.notify_all();
    }

    /// Completes when the queue is closed, and returns the deadline.
    pub(crate) async fn closing(&self) -> Instant {
        loop {
            // Notifications from here on are received.
            let mut closed = pin!(self.closed.notified());
            closed.as_mut().enable();
            if let Some(until) = self.state().closing {
                return until;
            }
            closed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`BatchQueue`] of any signal.
pub(crate) trait Waiting {
    fn counts(&self) -> SignalStats;

    /// Exports the queued items now.
    fn hurry(&self);

    fn is_closed(&self) -> bool;

    /// Closes the queue, and sets the deadline of its items.
    fn close(&self, until: Instant);

    /// Waits until all items of now are done, at most until a deadline. Returns the numbers of
    /// unfinished items, and of all failed items.
    fn wait(&self, until: Instant, now: &dyn Fn() -> Instant) -> (u64, u64);
}

impl<T> Waiting for BatchQueue<T> {
    fn counts(&self) -> SignalStats {
        self.state().counts
    }

    fn hurry(&self) {
        let mut state = self.state();
        state.flush = state.counts.accepted();
        drop(state);
        self.work.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.state().closing.is_some()
    }

    fn close(&self, until: Instant) {
        let mut state = self.state();
        state.closing.get_or_insert(until);
        drop(state);
        self.work.notify_one();
        self.closed.notify_waiters();
    }

    fn wait(&self, until: Instant, now: &dyn Fn() -> Instant) -> (u64, u64) {
        let mut state = self.state();
        let goal = state.counts.accepted();
        loop {
            let left = goal.saturating_sub(state.counts.done());
            let time = until.saturating_duration_since(now());
            if left == 0 || time.is_zero() {
                return (left, state.counts.failed);
            }
            let waited = self.done.wait_timeout(state, time);
            state = waited.map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests are the edge")]

    use super::*;

    fn outbox(batch: usize, items: usize) -> BatchQueue<&'static str> {
        BatchQueue::new(Limits {
            batch,
            items,
            bytes: 1_000,
            delay: Duration::from_secs(5),
        })
    }

    fn counts(counts: SignalStats) -> [u64; 4] {
        [
            counts.emitted,
            counts.exported,
            counts.failed,
            counts.dropped,
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_when_it_is_full_old_enough_or_asked_for() {
        let outbox = outbox(2, 10);
        let begun = tokio::time::Instant::now();
        for message in ["a", "b", "c"] {
            outbox.push(message, 1, 1);
        }
        let next = async || outbox.next().await.map(|batch| batch.list.concat());
        assert_eq!(next().await.unwrap(), "ab");
        assert!(begun.elapsed().is_zero());
        assert_eq!(next().await.unwrap(), "c");
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        outbox.push("d", 1, 1);
        outbox.hurry();
        assert_eq!(next().await.unwrap(), "d");
        outbox.push("e", 1, 1);
        outbox.close(begun.into_std());
        outbox.push("f", 1, 1);
        assert_eq!(next().await.unwrap(), "e");
        assert_eq!(next().await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(outbox.closing().await, begun.into_std());
        assert_eq!(counts(outbox.counts()), [6, 0, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_is_emitted_is_exported_failed_dropped_or_waits() {
        let outbox = outbox(4, 6);
        for _ in 0..8 {
            outbox.push("12", 1, 2);
        }
        // There is no room for the bytes, though there is for the item.
        assert_eq!(counts(outbox.counts()), [8, 0, 0, 2]);
        let first = outbox.next().await.unwrap();
        // What is under way takes up room.
        outbox.push("12", 1, 2);
        outbox.ended(first.items, first.bytes, 3);
        assert_eq!(counts(outbox.counts()), [9, 1, 3, 3]);
        outbox.push("", 1, 997);
        outbox.push("12", 3, 2);
        let second = outbox.next().await.unwrap();
        outbox.ended(second.items, second.bytes, usize::MAX);
        assert_eq!(counts(outbox.counts()), [13, 1, 5, 4]);
        let now = Instant::now();
        assert_eq!(outbox.wait(now, &|| now), (3, 5));
        let third = outbox.next().await.unwrap();
        outbox.ended(third.items, third.bytes, 0);
        assert_eq!(outbox.wait(now, &|| now), (0, 5));
        assert_eq!(counts(outbox.counts()), [13, 4, 5, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_room_for_is_a_batch() {
        let begun = tokio::time::Instant::now();
        // As many items, or a quarter of the bytes.
        for (outbox, size) in [(outbox(512, 3), 1), (outbox(512, 100), 250)] {
            (0..3).for_each(|_| outbox.push("", 1, size));
            assert!(outbox.next().await.is_some());
        }
        assert!(begun.elapsed().is_zero());
    }
}
