use std::collections::BTreeMap;

use crate::adjustment::{Adjustment, MaintenanceWindow};
use crate::counts::SliCounts;
use crate::incident::Incident;
use crate::{sketch, windows};

/// The limit of buckets per width. It is more than a ring has, because merged snapshots may have
/// different times.
pub(super) const MAX_BUCKETS: usize = 10_000;

/// The contents of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Saved {
    /// By the indicator's key, and the route, if any.
    pub(crate) streams: BTreeMap<(String, Option<String>), SavedStream>,
    /// By the SLO's name.
    pub(crate) adjustments: BTreeMap<String, Vec<Adjustment>>,
    pub(crate) incidents: BTreeMap<String, Vec<Incident>>,
    pub(crate) maintenance: Vec<MaintenanceWindow>,
}

/// The counts of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SavedStream {
    /// The time of the snapshot, in milliseconds since 1970.
    pub(crate) time: u64,
    /// The buckets by their width and number.
    pub(crate) rings: BTreeMap<u64, BTreeMap<u64, SliCounts>>,
    /// The counts by the width and number of the part, and by the number of the bucket.
    pub(crate) sketches: BTreeMap<u64, BTreeMap<u64, BTreeMap<u64, u64>>>,
}

impl SavedStream {
    /// Adds the counts of another stream.
    pub(super) fn merge(&mut self, other: Self) {
        self.time = self.time.max(other.time);
        for (width, buckets) in other.rings {
            let ring = self.rings.entry(width).or_default();
            for (number, counts) in buckets {
                let bucket = ring.entry(number).or_default();
                let covered = bucket.covered.max(counts.covered);
                *bucket += counts;
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

    /// Drops the buckets that no window reaches any more, so that a merged snapshot stays readable.
    pub(super) fn trim(&mut self) {
        for (width, ring) in &mut self.rings {
            let oldest = self.time.saturating_sub(windows::max_window(*width));
            drop_before(ring, *width, oldest);
        }
        for (width, sketch) in &mut self.sketches {
            let oldest = self.time.saturating_sub(sketch::max_window(*width));
            drop_before(sketch, *width, oldest);
        }
    }

    /// Returns whether there are valid events since a time.
    pub(crate) fn has_counts_since(&self, time: u64) -> bool {
        self.rings.iter().any(|(width, ring)| {
            let mut valid = ring.iter().filter(|(_, counts)| counts.valid() > 0);
            valid.any(|(number, _)| end(*number, *width) > time)
        })
    }
}

/// Drops the buckets of a width that end before a time, and the oldest ones beyond the limit.
fn drop_before<T>(buckets: &mut BTreeMap<u64, T>, width: u64, oldest: u64) {
    buckets.retain(|number, _| end(*number, width) >= oldest);
    while buckets.len() > MAX_BUCKETS {
        buckets.pop_first();
    }
}

fn end(number: u64, width: u64) -> u64 {
    number.saturating_add(1).saturating_mul(width)
}
