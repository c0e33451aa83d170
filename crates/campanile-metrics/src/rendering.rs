use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Crc;

use self::gzip::Compressor;
use crate::clock;
use crate::encode::Format;

mod gzip;

/// The length of a piece of text. At about 30 ns per line, and 3 ns per byte to compress, it takes
/// a tenth of a millisecond.
const PIECE: usize = 32 << 10;

/// The time after its start in which a rendering can be joined: its values are at most that old.
const JOINABLE: Duration = Duration::from_millis(100);

/// The maximum number of renderings that keep pieces.
const MAX_SHARED: usize = 8;

/// The maximum number of bytes that a rendering keeps for slower readers.
const MAX_KEPT: usize = 1 << 20;

/// The values that scrape responses are written from.
pub(crate) trait Scraped: Clone {
    /// A position among the values.
    type Cursor: Clone;

    /// Reads slow sources before the values are locked.
    fn prepare(&self, now: Instant);

    /// Returns a cursor at the first value.
    fn cursor(&self, format: Format) -> Self::Cursor;

    /// Continues at the cursor until the text has this length; returns whether there is more.
    fn write(&self, cursor: &mut Self::Cursor, text: &mut String, length: usize) -> bool;

    /// Adds CPU time that was spent on scrape responses.
    fn add_scrape_time(&self, time: Duration);

    /// Returns the renderings that readers can share.
    fn shared_scrapes(&self) -> &SharedScrapes<Self>;
}

/// The renderings of a registry that clients can share.
///
/// Only these keep pieces, so a registry keeps at most [`MAX_SHARED`] times [`MAX_KEPT`] bytes,
/// whatever the number of clients that do not read their responses.
pub(crate) struct SharedScrapes<S: Scraped> {
    /// The oldest first.
    shared: Mutex<VecDeque<Weak<Rendering<S>>>>,
    compressor: Compressor,
}

/// The start of a scrape response.
pub(crate) enum Start<S: Scraped> {
    /// The response fits into one piece.
    Whole(Bytes),
    Long(Reader<S>),
}

impl<S: Scraped> Default for SharedScrapes<S> {
    fn default() -> Self {
        Self {
            shared: Mutex::default(),
            compressor: Compressor::default(),
        }
    }
}

impl<S: Scraped> SharedScrapes<S> {
    /// Starts a scrape response: joins a rendering that has just started, or starts a new one.
    pub(crate) fn start(&self, source: &S, format: Format, gzip: bool, now: Instant) -> Start<S> {
        // Not under the lock, since the text of another exporter takes time to read.
        source.prepare(now);
        let mut shared = lock(&self.shared);
        shared.retain(|rendering| rendering.strong_count() > 0);
        let mut newest = shared.iter().rev().filter_map(Weak::upgrade);
        let joined = newest.find(|rendering| rendering.is_joinable(format, gzip, now));
        drop(newest);
        if let Some(rendering) = joined {
            return Start::Long(Reader::new(rendering, true));
        }
        let place = Place::new(source.cursor(format));
        let rendering = Rendering::new(source, place, format, gzip, now, true);
        // A short response is whole now, and its length is known.
        rendering.write(0);
        let whole = match &mut *lock(&rendering.pieces) {
            pieces if pieces.is_done && pieces.kept.len() <= 1 => {
                let only = pieces.kept.pop_front();
                Some(only.map(|piece| piece.bytes.clone()).unwrap_or_default())
            }
            _ => None,
        };
        if let Some(bytes) = whole {
            return Start::Whole(bytes);
        }
        let rendering = Arc::new(rendering);
        if shared.len() >= MAX_SHARED
            && let Some(oldest) = shared.pop_front().and_then(|oldest| oldest.upgrade())
        {
            lock(&oldest.pieces).close();
        }
        shared.push_back(Arc::downgrade(&rendering));
        Start::Long(Reader::new(rendering, false))
    }
}

/// A place between two pieces of a response, from which another rendering can continue.
struct Place<C> {
    cursor: C,
    /// The checksum and length of the text before it, for gzip.
    crc: Crc,
    /// Whether bytes were sent before it.
    is_begun: bool,
}

impl<C: Clone> Place<C> {
    fn new(cursor: C) -> Self {
        Self {
            cursor,
            crc: Crc::new(),
            is_begun: false,
        }
    }

    fn copy(&self) -> Self {
        let mut crc = Crc::new();
        crc.combine(&self.crc);
        Self {
            cursor: self.cursor.clone(),
            crc,
            is_begun: self.is_begun,
        }
    }
}

struct Piece<C> {
    bytes: Bytes,
    after: Arc<Place<C>>,
}

/// The pieces of a rendering that were written and not dropped.
struct Pieces<C> {
    /// The number of the first kept piece.
    first: usize,
    kept: VecDeque<Arc<Piece<C>>>,
    /// The length of the kept pieces.
    bytes: usize,
    /// Whether pieces are kept for more than one reader.
    is_shared: bool,
    /// Whether the last piece was written.
    is_done: bool,
}

/// The state of a piece for a reader.
enum Next<C> {
    Piece(Arc<Piece<C>>),
    NotWritten,
    /// The reader was too slow.
    Dropped,
    End,
}

impl<C> Pieces<C> {
    fn get(&self, number: usize) -> Next<C> {
        match number.checked_sub(self.first) {
            None => Next::Dropped,
            Some(index) => match self.kept.get(index) {
                Some(piece) => Next::Piece(Arc::clone(piece)),
                None if self.is_done => Next::End,
                None => Next::NotWritten,
            },
        }
    }

    fn push(&mut self, piece: Piece<C>) {
        self.bytes += piece.bytes.len();
        self.kept.push_back(Arc::new(piece));
        while self.bytes > MAX_KEPT && self.kept.len() > 1 {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.kept.pop_front() {
            self.bytes -= piece.bytes.len();
            self.first += 1;
        }
    }

    /// Drops the pieces up to this one.
    fn drop_to(&mut self, number: usize) {
        while self.first <= number && !self.kept.is_empty() {
            self.drop_first();
        }
    }

    /// Keeps no piece for slower readers from now on.
    fn close(&mut self) {
        self.is_shared = false;
        self.first += self.kept.len();
        self.bytes = 0;
        self.kept = VecDeque::new();
    }
}

/// A response that is being written, one piece at a time, by the reader that needs the next piece.
struct Rendering<S: Scraped> {
    source: S,
    format: Format,
    gzip: bool,
    begun: Instant,
    writer: Mutex<Place<S::Cursor>>,
    pieces: Mutex<Pieces<S::Cursor>>,
}

impl<S: Scraped> Rendering<S> {
    fn new(
        source: &S,
        place: Place<S::Cursor>,
        format: Format,
        gzip: bool,
        begun: Instant,
        is_shared: bool,
    ) -> Self {
        Self {
            source: source.clone(),
            format,
            gzip,
            begun,
            writer: Mutex::new(place),
            pieces: Mutex::new(Pieces {
                first: 0,
                kept: VecDeque::new(),
                bytes: 0,
                is_shared,
                is_done: false,
            }),
        }
    }

    /// Returns whether a new reader gets values of the last [`JOINABLE`] from its first piece on.
    fn is_joinable(&self, format: Format, gzip: bool, now: Instant) -> bool {
        let is_same = self.format == format && self.gzip == gzip;
        let is_new = now.saturating_duration_since(self.begun) < JOINABLE;
        is_same && is_new && {
            let pieces = lock(&self.pieces);
            pieces.is_shared && pieces.first == 0 && !pieces.is_done
        }
    }

    /// Writes the piece with this number, unless it is written, it takes more than one turn, or
    /// another reader is writing.
    fn write(&self, number: usize) {
        let mut place = match self.writer.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !matches!(lock(&self.pieces).get(number), Next::NotWritten) {
            return;
        }
        let begun = clock::of_thread();
        let (bytes, is_done) = self.piece(&mut place);
        if let Some((begun, ended)) = begun.zip(clock::of_thread()) {
            self.source.add_scrape_time(ended.saturating_sub(begun));
        }
        place.is_begun |= !bytes.is_empty();
        let mut pieces = lock(&self.pieces);
        pieces.is_done = is_done;
        if !bytes.is_empty() {
            let after = Arc::new(place.copy());
            pieces.push(Piece { bytes, after });
        }
    }

    /// Returns the next bytes, which may be none, and whether they are the last.
    fn piece(&self, place: &mut Place<S::Cursor>) -> (Bytes, bool) {
        let mut text = String::with_capacity(PIECE + PIECE / 8);
        let is_done = !self.source.write(&mut place.cursor, &mut text, PIECE);
        if !self.gzip {
            text.shrink_to_fit();
            return (text.into(), is_done);
        }
        place.crc.update(text.as_bytes());
        if text.is_empty() && !is_done {
            return (Bytes::new(), false);
        }
        let mut bytes = Vec::new();
        if !place.is_begun {
            bytes.extend(gzip::HEADER);
        }
        let compressor = &self.source.shared_scrapes().compressor;
        compressor.compress(text.as_bytes(), is_done, &mut bytes);
        if is_done {
            bytes.extend(gzip::trailer(&place.crc));
        }
        bytes.shrink_to_fit();
        (bytes.into(), is_done)
    }
}

/// A reader of a [`Rendering`].
pub(crate) struct Reader<S: Scraped> {
    rendering: Arc<Rendering<S>>,
    /// The number of the next piece.
    next: usize,
    /// The place before the next piece, unless that is the first.
    place: Option<Arc<Place<S::Cursor>>>,
    /// Whether the runtime got a turn since this reader wrote a piece.
    had_turn: bool,
}

impl<S: Scraped> Reader<S> {
    fn new(rendering: Arc<Rendering<S>>, had_turn: bool) -> Self {
        Self {
            rendering,
            next: 0,
            place: None,
            had_turn,
        }
    }

    /// Returns the next piece, `Some(None)` at the end, and `None` if the runtime gets a turn.
    pub(crate) fn read(&mut self) -> Option<Option<Bytes>> {
        if matches!(self.state(), Next::Dropped) {
            self.detach();
        }
        if matches!(self.state(), Next::NotWritten) && std::mem::take(&mut self.had_turn) {
            self.rendering.write(self.next);
        }
        match self.take() {
            Next::Piece(piece) => {
                self.next += 1;
                self.place = Some(Arc::clone(&piece.after));
                Some(Some(piece.bytes.clone()))
            }
            Next::End => Some(None),
            Next::NotWritten | Next::Dropped => {
                self.had_turn = true;
                None
            }
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.state(), Next::End)
    }

    fn state(&self) -> Next<S::Cursor> {
        lock(&self.rendering.pieces).get(self.next)
    }

    /// Returns the state of the next piece, and drops the piece if no other reader needs it.
    fn take(&self) -> Next<S::Cursor> {
        let is_alone = Arc::strong_count(&self.rendering) == 1;
        let mut pieces = lock(&self.rendering.pieces);
        let next = pieces.get(self.next);
        if is_alone || !pieces.is_shared {
            pieces.drop_to(self.next);
        }
        next
    }

    /// Continues in a rendering for this reader only.
    fn detach(&mut self) {
        let current = &self.rendering;
        let place = self.place.as_deref();
        let place = place.map_or_else(
            || Place::new(current.source.cursor(current.format)),
            Place::copy,
        );
        let rendering = Rendering::new(
            &current.source,
            place,
            current.format,
            current.gzip,
            current.begun,
            false,
        );
        self.rendering = Arc::new(rendering);
        self.next = 0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
