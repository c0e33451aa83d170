use std::cell::Cell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;

/// The queue of one output, and the thread that writes it.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the thread.
    work: Condvar,
    /// Signals progress of the thread.
    done: Condvar,
    max_bytes: usize,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// The number of dropped and failed lines that `flush` and `shutdown` have returned.
    returned: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The number of queued lines since the start, and of those that were written or failed.
    pushed: u64,
    done: u64,
    /// Whether the thread sleeps until it is woken.
    is_asleep: bool,
    /// Whether a caller waits for the lines to be written.
    is_urgent: bool,
    is_closed: bool,
    has_ended: bool,
}

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this thread writes a log. Its own events are ignored, since a writer that logs
/// would feed itself.
///
/// A thread-local subscriber would do the same, but it makes every event of the process slower.
pub(crate) fn is_writer() -> bool {
    IS_WRITER.try_with(Cell::get).unwrap_or_default()
}

/// The pause of the thread after a write. A line in this time does not wake the thread, since
/// waking costs more than the line.
const DOZE: Duration = Duration::from_millis(5);

/// The number of queued bytes that wakes the thread at once.
const MANY: usize = 256 << 10;

/// The numbers of log lines that were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Lines that were dropped because the queue was full.
    pub dropped: u64,
    /// Lines above the [rate limit](crate::TelemetryBuilder::rate_limit) of their callsite.
    pub suppressed: u64,
    /// Lines that the writer failed to write.
    pub failed: u64,
    /// Requests whose [recordings](crate::FlightRecorder::max_per_second) were discarded because of
    /// their rate limit.
    pub recordings_suppressed: u64,
}

impl Queue {
    /// Starts the thread `campanile-log`. `report` returns lines about the numbers of dropped and
    /// failed lines.
    pub(crate) fn start(
        mut writer: impl Write + Send + 'static,
        max_bytes: usize,
        report: impl Fn(u64, u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            max_bytes,
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new().name("campanile-log".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || {
                IS_WRITER.set(true);
                shared.write_all(&mut writer, report);
            }
        })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Adds a line in two parts, or drops it if the queue is full. Never waits for the writer.
    pub(crate) fn push(&self, parts: [&str; 2]) {
        self.add(parts, true);
    }

    /// Adds a line about the log itself. After the end of the log it is not counted as lost.
    pub(crate) fn push_notice(&self, line: &str) {
        self.add([line, ""], false);
    }

    fn add(&self, parts: [&str; 2], counts_if_closed: bool) {
        let shared = &*self.shared;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut waiting = shared.waiting();
        if waiting.is_closed && !counts_if_closed {
            return;
        }
        let after = waiting.bytes.len().saturating_add(length);
        if waiting.is_closed || after > shared.max_bytes {
            drop(waiting);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for part in parts {
            waiting.bytes.extend_from_slice(part.as_bytes());
        }
        waiting.pushed += 1;
        let are_many = after >= MANY && after - length < MANY;
        let wakes = std::mem::take(&mut waiting.is_asleep) || are_many;
        drop(waiting);
        if wakes {
            shared.work.notify_one();
        }
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            ..LogStats::default()
        }
    }

    /// Makes the thread write all lines now. Returns the number of lines so far, for
    /// [`wait_for`](Self::wait_for).
    pub(crate) fn hurry(&self) -> u64 {
        let mut waiting = self.shared.waiting();
        waiting.is_urgent = true;
        self.shared.work.notify_one();
        waiting.pushed
    }

    /// Waits at most `timeout` until this many lines are written. Returns the number of unwritten
    /// lines, and of lines that were lost since the last call.
    pub(crate) fn wait_for(&self, target: u64, timeout: Duration) -> u64 {
        let waiting = self.shared.waiting();
        let waiting = self.wait_until(waiting, timeout, |waiting| waiting.done >= target);
        let waiting = target.saturating_sub(waiting.done);
        waiting + self.shared.lost()
    }

    /// Makes the thread write all lines and end. Later lines are dropped. Returns whether the queue
    /// was open.
    pub(crate) fn close(&self) -> bool {
        let mut waiting = self.shared.waiting();
        let was_open = !std::mem::replace(&mut waiting.is_closed, true);
        self.shared.work.notify_one();
        was_open
    }

    /// Waits at most `timeout` for the end of the thread. Returns the number of lines that were
    /// lost since the last call.
    pub(crate) fn join(&self, timeout: Duration) -> u64 {
        let waiting = self.wait_until(self.shared.waiting(), timeout, |_| false);
        let (lost, has_ended) = (waiting.pushed - waiting.done, waiting.has_ended);
        drop(waiting);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread.filter(|_| has_ended) {
            // The thread has ended.
            let _ = thread.join();
        }
        lost + self.shared.lost()
    }

    /// Waits at most `timeout` until a condition holds or the thread has ended.
    fn wait_until<'a>(
        &self,
        mut waiting: MutexGuard<'a, Waiting>,
        timeout: Duration,
        holds: impl Fn(&Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        // A timeout that overflows the clock is one day.
        let until = clock::instant()
            .checked_add(timeout)
            .unwrap_or_else(|| clock::instant() + DAY);
        while !waiting.has_ended && !holds(&waiting) {
            let left = until.saturating_duration_since(clock::instant());
            if left.is_zero() {
                break;
            }
            let done = self.shared.done.wait_timeout(waiting, left);
            waiting = done.map_or_else(|error| error.into_inner().0, |(waiting, _)| waiting);
        }
        waiting
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Marks the thread as ended, also if it panics.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.has_ended = true;
        waiting.is_closed = true;
        self.0.done.notify_all();
    }
}

impl Shared {
    /// Returns the number of lines that were dropped or failed since the last call.
    fn lost(&self) -> u64 {
        let all = self.dropped.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        all.saturating_sub(self.returned.fetch_max(all, Ordering::Relaxed))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic runs under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, writer: &mut impl Write, report: impl Fn(u64, u64) -> String) {
        let _ending = Ending(self);
        let mut bytes = Vec::new();
        let (mut reported, mut is_torn, mut lines) = ((0, 0), false, 0);
        loop {
            {
                let mut waiting = self.waiting();
                waiting.done += lines;
                self.done.notify_all();
                if waiting.bytes.len() < MANY && !waiting.is_urgent && !waiting.is_closed {
                    let dozed = self.work.wait_timeout(waiting, DOZE);
                    waiting =
                        dozed.map_or_else(|error| error.into_inner().0, |(waiting, _)| waiting);
                }
                while waiting.bytes.is_empty() && !waiting.is_closed {
                    waiting.is_asleep = true;
                    waiting.is_urgent = false;
                    let work = self.work.wait(waiting);
                    waiting = work.unwrap_or_else(PoisonError::into_inner);
                }
                waiting.is_asleep = false;
                if waiting.bytes.is_empty() {
                    return;
                }
                bytes.clear();
                // The memory of a burst is freed.
                bytes.shrink_to(MANY);
                std::mem::swap(&mut bytes, &mut waiting.bytes);
                lines = waiting.pushed - waiting.done;
            }
            let lost = (
                self.dropped.load(Ordering::Relaxed),
                self.failed.load(Ordering::Relaxed),
            );
            if lost != reported {
                let report = report(lost.0 - reported.0, lost.1 - reported.1);
                bytes.extend_from_slice(report.as_bytes());
            }
            if is_torn {
                // The rest of a torn line ends here.
                bytes.insert(0, b'\n');
            }
            let written = written(writer, &bytes);
            // If nothing was written, the end of the file is unchanged.
            if written > 0 {
                is_torn = bytes[written - 1] != b'\n';
            }
            let left = bytes.get(written..).unwrap_or_default();
            if left.is_empty() {
                reported = lost;
            } else {
                // It is reported once a write succeeds.
                let ends = left.iter().filter(|byte| **byte == b'\n').count();
                self.failed
                    .fetch_add(lines.min(ends as u64), Ordering::Relaxed);
            }
        }
    }
}

/// Writes as much as possible. Returns the number of written bytes. A panic of the writer counts as
/// an error.
fn written(writer: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    let all = std::panic::AssertUnwindSafe(|| {
        while let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
            match writer.write(left) {
                Ok(0) => return,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        // A failure shows with the next lines.
        let _ = writer.flush();
    });
    // The writer is called again for the next lines.
    let _ = std::panic::catch_unwind(all);
    written
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.close() {
            self.join(LAST_WRITE);
        }
    }
}

/// The timeout for the last lines.
pub(crate) const LAST_WRITE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A writer that continues on a signal.
    struct Slow {
        go_on: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the test has dropped the sender.
            let _ = self.go_on.recv();
            self.written
                .lock()
                .map_or(Err(io::ErrorKind::Other.into()), |mut written| {
                    written.extend_from_slice(bytes);
                    Ok(bytes.len())
                })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(max_bytes: usize) -> (Queue, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (sender, go_on) = mpsc::channel();
        let written = Arc::new(Mutex::default());
        let writer = Slow {
            go_on,
            written: Arc::clone(&written),
        };
        let queue = Queue::start(writer, max_bytes, |dropped, _| {
            format!("{dropped} dropped\n")
        });
        (queue.unwrap(), sender, written)
    }

    fn flush(queue: &Queue, timeout: Duration) -> u64 {
        queue.wait_for(queue.hurry(), timeout)
    }

    fn shutdown(queue: &Queue, timeout: Duration) -> u64 {
        queue.close();
        queue.join(timeout)
    }

    #[test]
    fn what_finds_no_room_is_dropped_counted_and_told() {
        let (queue, go_on, written) = slow(8);
        queue.push(["a\n", ""]);
        // Until the thread has it, and waits.
        let is_taken = || queue.shared.waiting().bytes.is_empty();
        while !is_taken() {
            std::thread::yield_now();
        }
        for _ in 0..10 {
            queue.push(["b", "b\n"]);
        }
        assert_eq!(queue.stats().dropped, 8);
        assert_eq!(flush(&queue, Duration::from_millis(1)), 3 + 8);
        drop(go_on);
        assert_eq!(shutdown(&queue, LAST_WRITE), 0);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written, "a\nbb\nbb\n8 dropped\n");
        // The thread has ended.
        queue.push(["c\n", ""]);
        assert_eq!(queue.stats().dropped, 9);
    }

    #[test]
    fn a_flush_does_not_wait_longer_for_a_writer_that_hangs() {
        let (queue, go_on, _) = slow(1 << 20);
        queue.push(["a\n", ""]);
        let begun = clock::instant();
        assert_eq!(flush(&queue, Duration::from_millis(20)), 1);
        assert_eq!(shutdown(&queue, Duration::from_millis(20)), 1);
        // Nor when it is dropped.
        drop(queue);
        assert!(begun.elapsed() < Duration::from_secs(2));
        drop(go_on);
    }

    #[test]
    fn a_flush_waits_for_what_came_before_it_alone() {
        let (queue, go_on, _) = slow(1 << 20);
        queue.push(["a\n", ""]);
        let stop = &std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pushed = &queue;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    pushed.push(["b\n", ""]);
                }
            });
            drop(go_on);
            assert_eq!(flush(&queue, Duration::MAX), 0);
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn lines_that_fail_are_counted() {
        struct Fails;

        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let queue = Queue::start(Fails, 1 << 20, |_, _| String::new()).unwrap();
        queue.push(["a\n", ""]);
        queue.push(["b\n", ""]);
        assert_eq!(shutdown(&queue, LAST_WRITE), 2);
        let expected = LogStats {
            failed: 2,
            ..LogStats::default()
        };
        assert_eq!(queue.stats(), expected);
    }

    #[test]
    fn a_line_that_was_torn_ends_before_the_next_and_a_panic_is_a_failure() {
        /// Takes three bytes, fails, panics, and then works.
        struct Torn(u32, Arc<Mutex<Vec<u8>>>);

        impl Write for Torn {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                let taken = match self.0 {
                    1 => &bytes[..3],
                    2 => return Err(io::ErrorKind::StorageFull.into()),
                    3 => panic!("on purpose"),
                    _ => bytes,
                };
                self.1
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(taken);
                Ok(taken.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let all = Arc::new(Mutex::default());
        let queue = Queue::start(Torn(0, Arc::clone(&all)), 1 << 20, |_, failed| {
            format!("{failed} failed\n")
        });
        let queue = queue.unwrap();
        for (line, lost) in [("one\n", 1), ("two\n", 1), ("three\n", 0)] {
            queue.push([line, ""]);
            assert_eq!(flush(&queue, LAST_WRITE), lost);
        }
        assert_eq!(queue.stats().failed, 2);
        assert_eq!(shutdown(&queue, LAST_WRITE), 0);
        let text = String::from_utf8(all.lock().unwrap().clone()).unwrap();
        // The second line is lost, and the first is torn.
        assert_eq!(text, "one\nthree\n2 failed\n");
    }

    #[test]
    fn threads_lose_nothing_and_lines_stay_whole() {
        let (queue, go_on, written) = slow(1 << 20);
        drop(go_on);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..1_000 {
                        queue.push([&format!("{thread} "), &format!("{number}\n")]);
                    }
                });
            }
        });
        assert_eq!(shutdown(&queue, LAST_WRITE), 0);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let mut lines: Vec<_> = written.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4_000);
        assert!(lines.iter().all(|line| line.split(' ').count() == 2));
    }
}
