use crate::ring::Reading;
use crate::windows::Windows;

/// What a snapshot begins with: a mark, and the version of the format.
const HEAD: &[u8; 5] = b"CSLA\x01";

/// A snapshot cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is none, or one of another version.
    #[error("this is not a snapshot of version 1")]
    Unknown,
    /// Its checksum is wrong.
    #[error("the snapshot is damaged")]
    Damaged,
}

/// Writes the mark and the version, the time, and for each bucket that has something its ring's number, its own number and its
/// counts, all in little endian; then the checksum of all of it.
pub(crate) fn write(windows: &Windows) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend(windows.time().to_le_bytes());
    for (ring, place) in windows.rings().iter().zip(0u8..) {
        for (number, reading) in ring.filled() {
            bytes.push(place);
            for word in [
                number,
                reading.good,
                reading.bad,
                reading.latency,
                reading.covered,
            ] {
                bytes.extend(word.to_le_bytes());
            }
        }
    }
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// The number of a ring, the number of a bucket, and what it holds.
type Bucket = (usize, u64, Reading);

/// Returns the time of a snapshot and its buckets.
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, Vec<Bucket>), RestoreError> {
    let rest = bytes.strip_prefix(HEAD).ok_or(RestoreError::Unknown)?;
    let (rest, sum) = rest.split_last_chunk().ok_or(RestoreError::Damaged)?;
    if crc32c::crc32c(&bytes[..bytes.len() - sum.len()]) != u32::from_le_bytes(*sum) {
        return Err(RestoreError::Damaged);
    }
    let (time, rest) = rest.split_first_chunk().ok_or(RestoreError::Damaged)?;
    let (buckets, []) = rest.as_chunks::<41>() else {
        return Err(RestoreError::Damaged);
    };
    let bucket = |bytes: &[u8; 41]| {
        let [ring, words @ ..] = bytes;
        let (words, _) = words.as_chunks().0.split_first_chunk::<5>()?;
        let [number, good, bad, latency, covered] = words.map(u64::from_le_bytes);
        let reading = Reading {
            good,
            bad,
            latency,
            covered,
        };
        (*ring < 4).then_some((usize::from(*ring), number, reading))
    };
    let buckets = buckets.iter().map(bucket).collect::<Option<_>>();
    Ok((
        u64::from_le_bytes(*time),
        buckets.ok_or(RestoreError::Damaged)?,
    ))
}
