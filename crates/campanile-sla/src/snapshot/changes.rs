//! The difference of two snapshots, which is small: in some seconds only the last buckets change.

use std::collections::BTreeMap;

use super::{RestoreError, Saved, SavedStream, bytes, read, write};
use crate::{sketch, windows};

impl Saved {
    /// Returns what differs from a base, and drops the rest: equal buckets of streams that the base has, too.
    pub(crate) fn changes(mut self, base_bytes: &[u8], mut base: Self) -> Vec<u8> {
        let mut dropped = Vec::new();
        for (key, stream) in &mut self.streams {
            if let Some(of_base) = base.streams.remove(key) {
                // A clock that was set moves buckets: what is not there any more can't be overwritten.
                match of_base.is_part_of(stream) {
                    true => stream.subtract(&of_base),
                    false => dropped.push(key.clone()),
                }
            }
        }
        dropped.extend(base.streams.into_keys());
        bytes::write_changes(base_bytes, &dropped, &write(&self))
    }
}

/// Returns the snapshot that results from an earlier one and the [changes](crate::Sla::changes) since.
///
/// # Errors
///
/// If one of them is damaged or of another version, or if the changes are those of another snapshot.
pub fn apply_changes(base: &[u8], changes: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let mut saved = read(base)?;
    let (dropped, changed) = bytes::read_changes(base, changes)?;
    let changed = read(changed)?;
    for key in dropped {
        saved.streams.remove(&key);
    }
    for (key, stream) in changed.streams {
        let of_base = saved.streams.entry(key).or_default();
        of_base.overwrite(stream);
        of_base.trim();
    }
    saved.adjustments = changed.adjustments;
    saved.incidents = changed.incidents;
    saved.maintenance = changed.maintenance;
    Ok(write(&saved))
}

impl SavedStream {
    /// Returns whether a later stream has each bucket, too, that is not too old for its windows.
    fn is_part_of(&self, later: &Self) -> bool {
        let oldest = |longest: u64| later.time.saturating_sub(longest);
        let of_rings = |width| oldest(windows::longest(width));
        let of_sketches = |width| oldest(sketch::longest(width));
        self.time <= later.time
            && has_all(&self.rings, &later.rings, of_rings)
            && has_all(&self.sketches, &later.sketches, of_sketches)
    }

    /// Drops the buckets that are the same in a base.
    fn subtract(&mut self, base: &Self) {
        subtract(&mut self.rings, &base.rings);
        subtract(&mut self.sketches, &base.sketches);
    }

    /// Replaces the buckets that a later stream has.
    fn overwrite(&mut self, later: Self) {
        self.time = later.time;
        overwrite(&mut self.rings, later.rings);
        overwrite(&mut self.sketches, later.sketches);
    }
}

/// Buckets by their width and their number.
type Buckets<T> = BTreeMap<u64, BTreeMap<u64, T>>;

fn has_all<T>(old: &Buckets<T>, later: &Buckets<T>, oldest: impl Fn(u64) -> u64) -> bool {
    old.iter().all(|(width, old)| {
        let first = oldest(*width).div_ceil(*width);
        let later = later.get(width);
        let has = |number| later.is_some_and(|later| later.contains_key(number));
        old.range(first..).all(|(number, _)| has(number))
    })
}

fn subtract<T: PartialEq>(later: &mut Buckets<T>, base: &Buckets<T>) {
    for (width, later) in later {
        if let Some(base) = base.get(width) {
            later.retain(|number, bucket| base.get(number) != Some(bucket));
        }
    }
}

fn overwrite<T>(base: &mut Buckets<T>, later: Buckets<T>) {
    for (width, later) in later {
        base.entry(width).or_default().extend(later);
    }
}
