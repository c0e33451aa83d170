//! The form of a snapshot: a mark and the version; numbers in LEB128, of which those in order are written as what they are more than the one
//! before; texts and lists after their length; and the checksum of all of it, CRC-32C in little endian.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{RestoreError, Saved, SavedStream};
use crate::objective::{milliseconds, moment};
use crate::ring::Reading;
use crate::windows::LATEST;
use crate::{Adjustment, Incident, Maintenance};

/// What a snapshot begins with: a mark, and the version of the format.
const HEAD: &[u8; 5] = b"CSLA\x02";

pub(crate) fn write(saved: &Saved) -> Vec<u8> {
    let mut out = Writer(HEAD.to_vec());
    out.list(&saved.streams, |out, ((key, route), stream)| {
        out.text(key);
        out.list(route, |out, route| out.text(route));
        out.number(stream.time);
        out.list(&stream.rings, |out, (width, ring)| {
            out.number(*width);
            out.ordered(ring, |out, reading| {
                for number in [reading.good, reading.bad, reading.latency, reading.covered] {
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
        out.text(name);
        out.list(adjustments, |out, adjustment| {
            out.moment(adjustment.at);
            out.number(adjustment.bad);
            out.text(&adjustment.reason);
            out.text(&adjustment.author);
        });
    });
    out.list(&saved.incidents, |out, (name, incidents)| {
        out.text(name);
        out.list(incidents, |out, incident| {
            out.moment(incident.from);
            out.list(incident.until, |out, until| out.moment(until));
            out.number(incident.bad);
            out.list(incident.burn_rate, |out, rate| out.number(rate.to_bits()));
        });
    });
    out.list(&saved.maintenance, |out, maintenance| {
        out.moment(maintenance.from);
        out.moment(maintenance.until);
        out.text(&maintenance.reason);
        out.text(&maintenance.author);
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

/// The beginning of changes: a mark, and the version of the format.
const CHANGES: &[u8; 5] = b"CSLC\x02";

/// The key of a stream: that of its source, and its route.
type Key = (String, Option<String>);

/// Writes the changes since a snapshot: its checksum, the streams of it that no longer hold, and a snapshot of what is new.
pub(super) fn write_changes(base: &[u8], dropped: &[Key], changed: &[u8]) -> Vec<u8> {
    let mut out = Writer(CHANGES.to_vec());
    out.number(checksum(base));
    out.list(dropped, |out, (key, route)| {
        out.text(key);
        out.list(route, |out, route| out.text(route));
    });
    let Writer(mut bytes) = out;
    bytes.extend(changed);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Returns the streams that no longer hold, and the snapshot of what is new.
pub(super) fn read_changes<'a>(
    base: &[u8],
    changes: &'a [u8],
) -> Result<(Vec<Key>, &'a [u8]), RestoreError> {
    let mut reader = Reader(checked(changes, CHANGES)?);
    if reader.number() != Some(checksum(base)) {
        return Err(RestoreError::OtherBase);
    }
    let dropped = reader.list(|reader| Some((reader.text()?, reader.option(Reader::text)?)));
    Ok((dropped.ok_or(RestoreError::Damaged)?, reader.0))
}

/// Returns the checksum at the end of a snapshot; 0 if it is too short. That of all bytes is the same for each snapshot.
fn checksum(snapshot: &[u8]) -> u64 {
    let sum = snapshot.last_chunk().copied().map(u32::from_le_bytes);
    sum.map_or(0, u64::from)
}

/// Returns what is between a mark and the checksum.
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

/// Returns whether a stream has nothing impossible.
fn is_possible(stream: &SavedStream) -> bool {
    let is_past = |width: u64, number: u64| {
        let start = width.checked_mul(number);
        width > 0 && start.is_some_and(|start| start <= stream.time)
    };
    let rings = stream.rings.iter().all(|(width, ring)| {
        let buckets = ring.iter();
        ring.len() <= MOST
            && buckets
                .clone()
                .all(|(number, bucket)| is_past(*width, *number) && bucket.covered <= *width)
    });
    let sketches = stream.sketches.iter().all(|(width, sketch)| {
        let parts = sketch.keys();
        sketch.len() <= MOST && parts.clone().all(|number| is_past(*width, *number))
    });
    stream.time <= LATEST && rings && sketches
}

/// More than a ring has buckets: two snapshots that are merged may be of different times.
pub(super) const MOST: usize = 10_000;

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn moment(&mut self, at: SystemTime) {
        self.number(milliseconds(at));
    }

    fn list<T>(&mut self, list: impl IntoIterator<Item = T>, one: impl Fn(&mut Self, T)) {
        let mut count = 0;
        let mut items = Self(Vec::new());
        for item in list {
            one(&mut items, item);
            count += 1;
        }
        self.number(count);
        self.0.append(&mut items.0);
    }

    fn ordered<T>(&mut self, map: &BTreeMap<u64, T>, one: impl Fn(&mut Self, &T)) {
        self.number(map.len() as u64);
        let mut before = 0;
        for (number, value) in map {
            self.number(number - before);
            before = *number;
            one(self, value);
        }
    }
}

/// What is left to be read.
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

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn moment(&mut self) -> Option<SystemTime> {
        self.number().map(moment)
    }

    fn list<T, C: FromIterator<T>>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        let count = self.number()?;
        (0..count).map(|_| one(self)).collect()
    }

    /// Reads what there may be one of.
    fn option<T>(&mut self, one: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let list: Vec<_> = self.list(one)?;
        let mut list = list.into_iter();
        let first = list.next();
        list.next().is_none().then_some(first)
    }

    fn ordered<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<BTreeMap<u64, T>> {
        let mut before = 0u64;
        self.list(|reader| {
            before = before.checked_add(reader.number()?)?;
            Some((before, one(reader)?))
        })
    }

    fn saved(&mut self) -> Option<Saved> {
        Some(Saved {
            streams: self.list(|reader| {
                let key = (reader.text()?, reader.option(Self::text)?);
                Some((key, reader.stream()?))
            })?,
            adjustments: self.list(|reader| {
                let name = reader.text()?;
                let adjustment = |reader: &mut Self| {
                    Some(Adjustment {
                        at: reader.moment()?,
                        bad: reader.number()?,
                        reason: reader.text()?,
                        author: reader.text()?,
                    })
                };
                Some((name, reader.list(adjustment)?))
            })?,
            incidents: self.list(|reader| {
                let name = reader.text()?;
                let incident = |reader: &mut Self| {
                    Some(Incident {
                        from: reader.moment()?,
                        until: reader.option(Self::moment)?,
                        bad: reader.number()?,
                        burn_rate: reader.option(Self::number)?.map(f64::from_bits),
                    })
                };
                Some((name, reader.list(incident)?))
            })?,
            maintenance: self.list(|reader| {
                Some(Maintenance {
                    from: reader.moment()?,
                    until: reader.moment()?,
                    reason: reader.text()?,
                    author: reader.text()?,
                })
            })?,
        })
    }

    fn stream(&mut self) -> Option<SavedStream> {
        Some(SavedStream {
            time: self.number()?,
            rings: self.list(|reader| {
                let width = reader.number()?;
                let reading = |reader: &mut Self| {
                    Some(Reading {
                        good: reader.number()?,
                        bad: reader.number()?,
                        latency: reader.number()?,
                        covered: reader.number()?,
                    })
                };
                Some((width, reader.ordered(reading)?))
            })?,
            sketches: self.list(|reader| {
                let width = reader.number()?;
                let part = |reader: &mut Self| reader.ordered(Self::number);
                Some((width, reader.ordered(part)?))
            })?,
        })
    }
}
