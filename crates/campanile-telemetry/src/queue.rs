use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The lines that are to be written, and the thread that does it.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do for the thread.
    work: Condvar,
    /// The thread has done something.
    done: Condvar,
    max_bytes: usize,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lines: u64,
    /// What the thread has taken and not written yet.
    in_progress: u64,
    /// The thread sleeps until it is woken, and does not look by itself before long.
    is_asleep: bool,
    /// Somebody waits for what there is to be written.
    is_urgent: bool,
    is_closed: bool,
    has_ended: bool,
}

/// How long the thread dozes after it has written: who logs meanwhile need not wake it, which costs more than a line.
const DOZE: Duration = Duration::from_millis(5);

/// How many bytes wake it all the same.
const MANY: usize = 256 << 10;

/// What happened to lines that were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Lines that found no room, because the writer did not keep up.
    pub dropped: u64,
    /// Lines that the writer failed to write.
    pub failed: u64,
}

impl Queue {
    /// Starts the thread `campanile-log`, which writes until the queue is shut down. `report` makes the line that tells of lines that were
    /// dropped.
    pub(crate) fn start(
        mut writer: impl Write + Send + 'static,
        max_bytes: usize,
        report: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            max_bytes,
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new().name("campanile-log".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all(&mut writer, report)
        })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Adds a line, whose parts come one after the other, unless there is no room: it never waits for the writer.
    pub(crate) fn push(&self, parts: [&str; 2]) {
        let shared = &*self.shared;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut waiting = shared.waiting();
        if waiting.has_ended || waiting.bytes.len().saturating_add(length) > shared.max_bytes {
            drop(waiting);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for part in parts {
            waiting.bytes.extend_from_slice(part.as_bytes());
        }
        waiting.lines += 1;
        let after = waiting.bytes.len();
        let wakes =
            (after >= MANY && after - length < MANY) || std::mem::take(&mut waiting.is_asleep);
        drop(waiting);
        if wakes {
            shared.work.notify_one();
        }
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }

    /// Waits until all lines so far are written, but not longer than that; returns how many are not.
    pub(crate) fn flush(&self, longest: Duration) -> u64 {
        let until = now() + longest;
        let mut waiting = self.shared.waiting();
        waiting.is_urgent = true;
        self.shared.work.notify_one();
        while !waiting.has_ended && waiting.lines + waiting.in_progress > 0 {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            let done = self.shared.done.wait_timeout(waiting, left);
            waiting = done.map_or_else(|error| error.into_inner().0, |(waiting, _)| waiting);
        }
        waiting.lines + waiting.in_progress
    }

    /// Writes what there is and ends the thread, but does not wait longer than that; returns how many lines are lost. Lines that come
    /// later are dropped.
    pub(crate) fn shutdown(&self, longest: Duration) -> u64 {
        self.shared.waiting().is_closed = true;
        let lost = self.flush(longest);
        if lost == 0 {
            let thread = self
                .thread
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            // It has nothing left to do.
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
        lost
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic runs under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, writer: &mut impl Write, report: impl Fn(u64) -> String) {
        let mut bytes = Vec::new();
        let mut reported = 0;
        loop {
            let lines = {
                let mut waiting = self.waiting();
                waiting.in_progress = 0;
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
                    waiting.has_ended = true;
                    self.done.notify_all();
                    return;
                }
                bytes.clear();
                std::mem::swap(&mut bytes, &mut waiting.bytes);
                waiting.in_progress = std::mem::take(&mut waiting.lines);
                waiting.in_progress
            };
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > reported {
                bytes.extend_from_slice(report(dropped - reported).as_bytes());
                reported = dropped;
            }
            let written = writer.write_all(&bytes).and_then(|()| writer.flush());
            if written.is_err() {
                // There is nowhere to say so.
                self.failed.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shutdown(LAST_WRITE);
    }
}

/// How long the last lines may take.
pub(crate) const LAST_WRITE: Duration = Duration::from_secs(5);

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a queue's end is timed where it ends"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A writer that goes on when it is told to.
    struct Slow {
        go_on: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Nobody tells any more: it may go on.
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
        let queue = Queue::start(writer, max_bytes, |lines| format!("{lines} dropped\n"));
        (queue.unwrap(), sender, written)
    }

    #[test]
    fn what_finds_no_room_is_dropped_counted_and_told() {
        let (queue, go_on, written) = slow(8);
        queue.push(["a\n", ""]);
        // Until the thread has it, and waits.
        while queue.shared.waiting().in_progress == 0 {
            std::thread::yield_now();
        }
        for _ in 0..10 {
            queue.push(["b", "b\n"]);
        }
        assert_eq!(queue.stats().dropped, 8);
        assert_eq!(queue.flush(Duration::from_millis(1)), 3);
        drop(go_on);
        assert_eq!(queue.shutdown(LAST_WRITE), 0);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written, "a\nbb\nbb\n8 dropped\n");
        // Nobody is left to write it.
        queue.push(["c\n", ""]);
        assert_eq!(queue.stats().dropped, 9);
    }

    #[test]
    fn a_writer_that_hangs_keeps_nobody_longer_than_that() {
        let (queue, go_on, _) = slow(1 << 20);
        queue.push(["a\n", ""]);
        let begun = now();
        assert_eq!(queue.shutdown(Duration::from_millis(20)), 1);
        assert!(begun.elapsed() < Duration::from_secs(2));
        drop(go_on);
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

        let queue = Queue::start(Fails, 1 << 20, |_| String::new()).unwrap();
        queue.push(["a\n", ""]);
        queue.push(["b\n", ""]);
        assert_eq!(queue.shutdown(LAST_WRITE), 0);
        let expected = LogStats {
            dropped: 0,
            failed: 2,
        };
        assert_eq!(queue.stats(), expected);
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
        assert_eq!(queue.shutdown(LAST_WRITE), 0);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let mut lines: Vec<_> = written.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 4_000);
        assert!(lines.iter().all(|line| line.split(' ').count() == 2));
    }
}
