//! What survives a restart, and how that of several replicas becomes one.

use std::collections::BTreeMap;

use crate::ring::Reading;
use crate::{Adjustment, Incident, Maintenance, adjustment, incident, sketch, windows};

mod bytes;
mod changes;
mod retained;

pub(crate) use self::bytes::{read, write};
pub use self::changes::apply_changes;

/// A snapshot can't be restored or merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is none, or one of another version.
    #[error("this is not a snapshot of version 2")]
    Unknown,
    /// Its checksum is wrong, or it says what no snapshot says.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Changes are those of another snapshot.
    #[error("the changes belong to another snapshot: expected the one that they were made from")]
    OtherBase,
    /// A snapshot was restored already, and its counts would be added a second time.
    #[error("duplicate restore: expected one snapshot for each `Sla`, use `merge` for several")]
    Duplicate,
}

/// All that a snapshot has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Saved {
    /// By the source's key, and the route if it is of one.
    pub(crate) streams: BTreeMap<(String, Option<String>), SavedStream>,
    /// By the objective's name.
    pub(crate) adjustments: BTreeMap<String, Vec<Adjustment>>,
    pub(crate) incidents: BTreeMap<String, Vec<Incident>>,
    pub(crate) maintenance: Vec<Maintenance>,
}

/// What was counted of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SavedStream {
    /// How far time had come.
    pub(crate) time: u64,
    /// By the width of the buckets, and by their number.
    pub(crate) rings: BTreeMap<u64, BTreeMap<u64, Reading>>,
    /// By the width of the parts, by their number, and by the number of the bucket.
    pub(crate) sketches: BTreeMap<u64, BTreeMap<u64, BTreeMap<u64, u64>>>,
}

/// Returns one snapshot of what two replicas counted, to be [restored](crate::Sla::restore) where both are to be judged together.
///
/// Counts are added, and so is the time of uptimes: of two replicas of which one was down, it is half. A moment is covered if one of the replicas covered it: of a bucket, as much as the one that covered more. Adjustments,
/// incidents and maintenance are those of both. The order of replicas, and of merging more of them, makes no difference.
///
/// # Errors
///
/// If one of them is not a snapshot, or a damaged one.
pub fn merge(one: &[u8], other: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let (mut saved, other) = (read(one)?, read(other)?);
    for (key, stream) in other.streams {
        saved.streams.entry(key).or_default().merge(stream);
    }
    for stream in saved.streams.values_mut() {
        stream.trim();
    }
    for (name, adjustments) in other.adjustments {
        let all = saved.adjustments.entry(name).or_default();
        all.extend(adjustments);
        *all = adjustment::united(std::mem::take(all));
    }
    for (name, incidents) in other.incidents {
        let all = saved.incidents.entry(name).or_default();
        all.extend(incidents);
        all.sort_by_key(incident::key);
        all.dedup();
        incident::limit(all);
    }
    saved.maintenance.extend(other.maintenance);
    saved.maintenance = adjustment::merged(saved.maintenance);
    Ok(write(&saved))
}

impl SavedStream {
    fn merge(&mut self, other: Self) {
        self.time = self.time.max(other.time);
        for (width, buckets) in other.rings {
            let ring = self.rings.entry(width).or_default();
            for (number, reading) in buckets {
                let bucket = ring.entry(number).or_default();
                let covered = bucket.covered.max(reading.covered);
                *bucket += reading;
                bucket.covered = covered;
            }
        }
        for (width, parts) in other.sketches {
            let sketch = self.sketches.entry(width).or_default();
            for (number, counts) in parts {
                let part = sketch.entry(number).or_default();
                for (at, count) in counts {
                    let sum = part.entry(at).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
    }

    /// Drops the buckets that no window reaches any more, so that a merged snapshot has a limit and can be read.
    fn trim(&mut self) {
        for (width, ring) in &mut self.rings {
            let oldest = self.time.saturating_sub(windows::longest(*width));
            drop_before(ring, *width, oldest);
        }
        for (width, sketch) in &mut self.sketches {
            let oldest = self.time.saturating_sub(sketch::longest(*width));
            drop_before(sketch, *width, oldest);
        }
    }

    /// Returns whether something valid was counted at a time or later.
    pub(crate) fn has_counts_since(&self, time: u64) -> bool {
        self.rings.iter().any(|(width, ring)| {
            let mut valid = ring.iter().filter(|(_, reading)| reading.valid() > 0);
            valid.any(|(number, _)| end(*number, *width) > time)
        })
    }
}

/// Drops the buckets of a width that end before a time, and the oldest of too many.
fn drop_before<T>(buckets: &mut BTreeMap<u64, T>, width: u64, oldest: u64) {
    buckets.retain(|number, _| end(*number, width) >= oldest);
    while buckets.len() > bytes::MOST {
        buckets.pop_first();
    }
}

fn end(number: u64, width: u64) -> u64 {
    number.saturating_add(1).saturating_mul(width)
}
