use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Page;
use crate::page::{Cursor, Format};
use crate::{Registry, clock};

/// How much text is written at a time. At about 30 ns a line, and 3 ns a byte to compress, that takes a tenth of a millisecond.
const PIECE: usize = 32 << 10;

/// How long after its beginning others may join a rendering: what they get is at most that old.
const JOINABLE: Duration = Duration::from_millis(100);

/// The renderings that are going on, for each format without and with compression.
#[derive(Default)]
pub(crate) struct Ongoing([Mutex<Vec<Weak<Rendering>>>; 4]);

/// How many renderings of a format may be joined. A reader that has joined and reads slowly keeps the pieces that others have read,
/// a page at most; one that reads alone keeps a piece.
const MAX_JOINABLE: usize = 4;

impl Ongoing {
    /// Returns a page: one that somebody else has just begun to read, or a new one.
    pub(super) fn page(&self, registry: &Registry, format: Format, gzip: bool) -> Page {
        let place = usize::from(format == Format::OpenMetrics) + 2 * usize::from(gzip);
        let mut ongoing = lock(&self.0[place]);
        ongoing.retain(|rendering| rendering.strong_count() > 0);
        let mut joinable = ongoing.iter().filter_map(Weak::upgrade);
        let joined = joinable.find_map(|rendering| Some((rendering.first()?, rendering)));
        if let Some((node, rendering)) = joined {
            return Page::rendered(rendering, node, true);
        }
        let (rendering, first) = Rendering::begin(registry, format, gzip);
        // A short page is whole now, and its length is known.
        rendering.write(&first);
        match first.get() {
            Some(Some(piece)) if matches!(piece.next().get(), Some(None)) => {
                Page::from(piece.bytes.clone())
            }
            Some(None) => Page::default(),
            _ => {
                let rendering = Arc::new(rendering);
                if ongoing.len() < MAX_JOINABLE {
                    ongoing.push(Arc::downgrade(&rendering));
                } else {
                    rendering.close();
                }
                Page::rendered(rendering, first, false)
            }
        }
    }
}

/// A place in a page: not written yet, a piece of it, or its end. Pieces that all readers have passed are freed.
pub(super) type Node = OnceLock<Option<Piece>>;

pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// `None` only while it is dropped.
    next: Option<Arc<Node>>,
}

impl Piece {
    pub(super) fn next(&self) -> Arc<Node> {
        self.next.clone().unwrap_or_default()
    }
}

impl Drop for Piece {
    /// Frees the pieces that only this one leads to, one after the other: each within the drop of the one before would need a stack as
    /// long as the page.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(Some(mut piece)) = next
            .and_then(Arc::into_inner)
            .and_then(OnceLock::into_inner)
        {
            next = piece.next.take();
        }
    }
}

/// A page that is being written, by whichever of its readers is the furthest.
pub(super) struct Rendering {
    begun: Instant,
    /// Where others may join.
    first: Mutex<Option<Arc<Node>>>,
    writer: Mutex<Writer>,
}

struct Writer {
    registry: Registry,
    cursor: Cursor,
    text: String,
    gzip: Option<GzEncoder<Vec<u8>>>,
    is_done: bool,
}

impl Rendering {
    fn begin(registry: &Registry, format: Format, gzip: bool) -> (Self, Arc<Node>) {
        registry.publish_own();
        let first = Arc::new(Node::new());
        let rendering = Self {
            begun: clock::now(),
            first: Mutex::new(Some(Arc::clone(&first))),
            writer: Mutex::new(Writer {
                registry: registry.clone(),
                cursor: Cursor::new(format),
                text: String::new(),
                gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
                is_done: false,
            }),
        };
        (rendering, first)
    }

    /// Returns where to begin to read, if it is early enough.
    fn first(&self) -> Option<Arc<Node>> {
        let mut first = lock(&self.first);
        if clock::now().saturating_duration_since(self.begun) >= JOINABLE {
            *first = None;
        }
        first.clone()
    }

    /// Lets nobody join any more.
    fn close(&self) {
        *lock(&self.first) = None;
    }

    /// Writes the next piece to the last node, unless that takes more than one turn or somebody else is at it.
    pub(super) fn write(&self, node: &Node) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if node.get().is_some() {
            return;
        }
        let begun = clock::of_thread();
        let (bytes, is_done) = writer.piece();
        if let Some((begun, ended)) = begun.zip(clock::of_thread()) {
            writer.registry.note_page(ended.saturating_sub(begun));
        }
        let end = Arc::new(Node::new());
        if is_done {
            // Neither was set before: only the writer sets them.
            let _ = end.set(None);
        }
        if !bytes.is_empty() {
            let next = Some(end);
            let _ = node.set(Some(Piece { bytes, next }));
        } else if is_done {
            let _ = node.set(None);
        }
        if is_done {
            self.close();
        } else {
            // Lets go of what is too old to be joined.
            self.first();
        }
    }
}

impl Writer {
    /// Returns the next bytes, which may be none yet, and whether they are the last.
    fn piece(&mut self) -> (Bytes, bool) {
        self.text.clear();
        let is_done = self.is_done || !self.cursor.write(&self.registry, &mut self.text, PIECE);
        self.is_done = is_done;
        let Some(gzip) = &mut self.gzip else {
            return (Bytes::from(std::mem::take(&mut self.text)), is_done);
        };
        // Writing to memory doesn't fail.
        let _ = gzip.write_all(self.text.as_bytes());
        if is_done {
            let _ = gzip.try_finish();
        }
        (Bytes::from(std::mem::take(gzip.get_mut())), is_done)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
