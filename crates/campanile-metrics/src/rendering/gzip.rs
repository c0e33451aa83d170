//! Gzip with one compressor for all responses: each piece is compressed separately.

use std::sync::{Mutex, PoisonError};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The header of a gzip member: deflate, no name, no time, unknown system (RFC 1952, section 2.3).
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Returns the end of a gzip member: the checksum and the length of its text.
pub(super) fn trailer(crc: &Crc) -> impl Iterator<Item = u8> {
    let sum = crc.sum().to_le_bytes();
    sum.into_iter().chain(crc.amount().to_le_bytes())
}

/// A compressor of about 400 KiB that all responses use in turn.
///
/// If another thread is using it, a second one is created and dropped.
#[derive(Default)]
pub(super) struct Compressor(Mutex<Option<Compress>>);

impl Compressor {
    /// Appends a piece of a deflate stream that refers to no piece before it.
    pub(super) fn compress(&self, text: &[u8], is_last: bool, bytes: &mut Vec<u8>) {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().take();
        let mut compress = taken.unwrap_or_else(|| Compress::new(Compression::fast(), false));
        let flush = if is_last {
            FlushCompress::Finish
        } else {
            FlushCompress::Full
        };
        let mut rest = text;
        loop {
            bytes.reserve(rest.len() / 8 + 1_024);
            let before = compress.total_in();
            // Compressing to memory does not fail.
            let Ok(status) = compress.compress_vec(rest, bytes, flush) else {
                break;
            };
            let read = usize::try_from(compress.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(read..).unwrap_or_default();
            let has_room = bytes.len() < bytes.capacity();
            if status == Status::StreamEnd || (!is_last && rest.is_empty() && has_room) {
                break;
            }
        }
        compress.reset();
        *idle() = Some(compress);
    }
}
