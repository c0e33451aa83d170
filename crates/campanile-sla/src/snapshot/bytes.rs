//! The format of a snapshot.
//!
//! - A magic number and the version.
//! - Numbers in LEB128; ascending ones as the difference to the previous one.
//! - Strings and lists, preceded by their length.
//! - The CRC-32C of all of it, in little endian.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::saved::{MAX_BUCKETS, Saved, SavedStream};
use crate::adjustment::{Adjustment, MaintenanceWindow};
use crate::counts::SliCounts;
use crate::error::RestoreError;
use crate::incident::Incident;
use crate::time::{from_millis, to_millis};
use crate::windows::MAX_TIME;

/// The first bytes of a snapshot: a magic number and the version of the format.
const HEAD: &[u8; 5] = b"CSLA\x02";

pub(crate) fn write(saved: &Saved) -> Vec<u8> {
    let mut out = Writer(HEAD.to_vec());
    out.list(&saved.streams, |out, ((key, route), stream)| {
        out.string(key);
        out.list(route, |out, route| out.string(route));
        out.number(stream.time);
        out.list(&stream.rings, |out, (width, ring)| {
            out.number(*width);
            out.ordered(ring, |out, counts| {
                for number in [counts.good, counts.bad, counts.latency, counts.covered] {
                    out.number(number);
                }
            });
        });
        out.list(&stream.sketches, |out, (width, sketch)| {
            out.number(*width);
            out.ordered(sketch, |out, part| {
                out.ordered(part, |out, count| out.number(*count));
            });
        });
    });
    out.list(&saved.adjustments, |out, (name, adjustments)| {
        out.string(name);
        out.list(adjustments, |out, adjustment| {
            out.time(adjustment.at);
            out.number(adjustment.bad);
            out.string(&adjustment.reason);
            out.string(&adjustment.author);
        });
    });
    out.list(&saved.incidents, |out, (name, incidents)| {
        out.string(name);
        out.list(incidents, |out, incident| {
            out.time(incident.from);
            out.list(incident.until, |out, until| out.time(until));
            out.number(incident.bad);
            out.list(incident.burn_rate, |out, rate| out.number(rate.to_bits()));
        });
    });
    out.list(&saved.maintenance, |out, maintenance| {
        out.time(maintenance.from);
        out.time(maintenance.until);
        out.string(&maintenance.reason);
        out.string(&maintenance.author);
    });
    let Writer(mut bytes) = out;
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(crate) fn read(bytes: &[u8]) -> Result<Saved, RestoreError> {
    let mut reader = Reader(checked(bytes, HEAD)?);
    let saved = reader.saved().filter(|_| reader.0.is_empty());
    let saved = saved.filter(|saved| saved.streams.values().all(is_possible));
    saved.ok_or(RestoreError::Damaged)
}

/// The first bytes of changes: a magic number and the version of the format.
const CHANGES: &[u8; 5] = b"CSLC\x02";

/// The key of a stream: the key of its indicator, and its route.
type Key = (String, Option<String>);

/// Writes the changes since a snapshot: its checksum, the keys of its streams to drop, and a
/// snapshot of the new values.
pub(super) fn write_changes(base: &[u8], dropped: &[Key], changed: &[u8]) -> Vec<u8> {
    let mut out = Writer(CHANGES.to_vec());
    out.number(checksum(base));
    out.list(dropped, |out, (key, route)| {
        out.string(key);
        out.list(route, |out, route| out.string(route));
    });
    let Writer(mut bytes) = out;
    bytes.extend(changed);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Returns the keys of the streams to drop, and the snapshot of the new values.
pub(super) fn read_changes<'a>(
    base: &[u8],
    changes: &'a [u8],
) -> Result<(Vec<Key>, &'a [u8]), RestoreError> {
    let mut reader = Reader(checked(changes, CHANGES)?);
    if reader.number() != Some(checksum(base)) {
        return Err(RestoreError::OtherBase);
    }
    let dropped = reader.list(|reader| Some((reader.string()?, reader.option(Reader::string)?)));
    Ok((dropped.ok_or(RestoreError::Damaged)?, reader.0))
}

/// Returns the checksum at the end of a snapshot; 0 if it is too short.
///
/// The CRC of all bytes, including this one, would be the same for each snapshot.
fn checksum(snapshot: &[u8]) -> u64 {
    let sum = snapshot.last_chunk().copied().map(u32::from_le_bytes);
    sum.map_or(0, u64::from)
}

/// Returns the bytes between the head and the checksum, which is verified.
fn checked<'a>(bytes: &'a [u8], head: &[u8]) -> Result<&'a [u8], RestoreError> {
    if !bytes.starts_with(head) {
        return Err(RestoreError::Unknown);
    }
    let (content, sum) = bytes.split_last_chunk().ok_or(RestoreError::Damaged)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return Err(RestoreError::Damaged);
    }
    content.strip_prefix(head).ok_or(RestoreError::Damaged)
}

/// Returns whether all values of a stream are possible.
fn is_possible(stream: &SavedStream) -> bool {
    let is_past = |width: u64, number: u64| {
        let start = width.checked_mul(number);
        width > 0 && start.is_some_and(|start| start <= stream.time)
    };
    let rings = stream.rings.iter().all(|(width, ring)| {
        let buckets = ring.iter();
        ring.len() <= MAX_BUCKETS
            && buckets
                .clone()
                .all(|(number, bucket)| is_past(*width, *number) && bucket.covered <= *width)
    });
    let sketches = stream.sketches.iter().all(|(width, sketch)| {
        let parts = sketch.keys();
        sketch.len() <= MAX_BUCKETS && parts.clone().all(|number| is_past(*width, *number))
    });
    stream.time <= MAX_TIME && rings && sketches
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn time(&mut self, at: SystemTime) {
        self.number(to_millis(at));
    }

    fn list<T>(&mut self, list: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        let mut count = 0;
        let mut items = Self(Vec::new());
        for value in list {
            write(&mut items, value);
            count += 1;
        }
        self.number(count);
        self.0.append(&mut items.0);
    }

    fn ordered<T>(&mut self, map: &BTreeMap<u64, T>, write: impl Fn(&mut Self, &T)) {
        self.number(map.len() as u64);
        let mut before = 0;
        for (number, value) in map {
            self.number(number - before);
            before = *number;
            write(self, value);
        }
    }
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits
                .checked_shl(shift)
                .filter(|part| part >> shift == bits)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn time(&mut self) -> Option<SystemTime> {
        self.number().map(from_millis)
    }

    fn list<T, C: FromIterator<T>>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        let count = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Reads a list of at most one item.
    fn option<T>(&mut self, read: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let list: Vec<_> = self.list(read)?;
        let mut list = list.into_iter();
        let first = list.next();
        list.next().is_none().then_some(first)
    }

    fn ordered<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<BTreeMap<u64, T>> {
        let mut before = 0u64;
        self.list(|reader| {
            before = before.checked_add(reader.number()?)?;
            Some((before, read(reader)?))
        })
    }

    fn saved(&mut self) -> Option<Saved> {
        Some(Saved {
            streams: self.list(|reader| {
                let key = (reader.string()?, reader.option(Self::string)?);
                Some((key, reader.stream()?))
            })?,
            adjustments: self.list(|reader| {
                let name = reader.string()?;
                let adjustment = |reader: &mut Self| {
                    Some(Adjustment {
                        at: reader.time()?,
                        bad: reader.number()?,
                        reason: reader.string()?,
                        author: reader.string()?,
                    })
                };
                Some((name, reader.list(adjustment)?))
            })?,
            incidents: self.list(|reader| {
                let name = reader.string()?;
                let incident = |reader: &mut Self| {
                    Some(Incident {
                        from: reader.time()?,
                        until: reader.option(Self::time)?,
                        bad: reader.number()?,
                        burn_rate: reader.option(Self::number)?.map(f64::from_bits),
                    })
                };
                Some((name, reader.list(incident)?))
            })?,
            maintenance: self.list(|reader| {
                Some(MaintenanceWindow {
                    from: reader.time()?,
                    until: reader.time()?,
                    reason: reader.string()?,
                    author: reader.string()?,
                })
            })?,
        })
    }

    fn stream(&mut self) -> Option<SavedStream> {
        Some(SavedStream {
            time: self.number()?,
            rings: self.list(|reader| {
                let width = reader.number()?;
                let counts = |reader: &mut Self| {
                    Some(SliCounts {
                        good: reader.number()?,
                        bad: reader.number()?,
                        latency: reader.number()?,
                        covered: reader.number()?,
                    })
                };
                Some((width, reader.ordered(counts)?))
            })?,
            sketches: self.list(|reader| {
                let width = reader.number()?;
                let part = |reader: &mut Self| reader.ordered(Self::number);
                Some((width, reader.ordered(part)?))
            })?,
        })
    }
}
