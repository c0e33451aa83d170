//! The difference of two snapshots. It is small, because only the latest buckets change.

use std::collections::BTreeMap;

use super::bytes::{self, read, write};
use super::saved::{Saved, SavedStream};
use crate::error::RestoreError;

impl Saved {
    /// Returns the changes since a base: without the buckets that are equal in both.
    pub(crate) fn changes(mut self, base_bytes: &[u8], mut base: Self) -> Vec<u8> {
        let mut dropped = Vec::new();
        for (key, stream) in &mut self.streams {
            if let Some(base_stream) = base.streams.remove(key) {
                // If the clock was set, buckets have moved, and those of the base can't be
                // overwritten.
                match base_stream.is_part_of(stream) {
                    true => stream.subtract(&base_stream),
                    false => dropped.push(key.clone()),
                }
            }
        }
        dropped.extend(base.streams.into_keys());
        bytes::write_changes(base_bytes, &dropped, &write(&self))
    }
}

/// Applies [changes](crate::ServiceLevels::changes) to the snapshot that they were made from, and
/// returns the later snapshot.
///
/// # Errors
///
/// Returns an error if one of them is not valid, or if the changes were made from another snapshot.
pub fn apply_changes(base: &[u8], changes: &[u8]) -> Result<Vec<u8>, RestoreError> {
    let mut saved = read(base)?;
    let (dropped, changed) = bytes::read_changes(base, changes)?;
    let changed = read(changed)?;
    for key in dropped {
        saved.streams.remove(&key);
    }
    for (key, stream) in changed.streams {
        let base_stream = saved.streams.entry(key).or_default();
        base_stream.overwrite(stream);
        base_stream.trim();
    }
    saved.adjustments = changed.adjustments;
    saved.incidents = changed.incidents;
    saved.maintenance = changed.maintenance;
    Ok(write(&saved))
}

impl SavedStream {
    /// Returns whether a later stream still has all buckets that are not before its first ones.
    fn is_part_of(&self, later: &Self) -> bool {
        self.time <= later.time
            && has_all(&self.rings, &later.rings)
            && has_all(&self.sketches, &later.sketches)
    }

    /// Drops the buckets that are equal in a base, except the first one of each ring. It marks the
    /// start before which the buckets of the base are dropped.
    fn subtract(&mut self, base: &Self) {
        subtract(&mut self.rings, &base.rings);
        subtract(&mut self.sketches, &base.sketches);
    }

    /// Replaces buckets by those of a later stream, and drops those before its first ones.
    fn overwrite(&mut self, later: Self) {
        self.time = later.time;
        overwrite(&mut self.rings, later.rings);
        overwrite(&mut self.sketches, later.sketches);
    }
}

/// Buckets by their width and number.
type Buckets<T> = BTreeMap<u64, BTreeMap<u64, T>>;

/// Returns whether the later buckets include all old ones that are not before the first later one.
fn has_all<T>(old: &Buckets<T>, later: &Buckets<T>) -> bool {
    old.iter().all(|(width, old)| {
        let later = later.get(width);
        let Some((later, (first, _))) =
            later.and_then(|ring| ring.first_key_value().map(|first| (ring, first)))
        else {
            return true;
        };
        let mut held = old.range(first..);
        held.all(|(number, _)| later.contains_key(number))
    })
}

fn subtract<T: PartialEq>(later: &mut Buckets<T>, base: &Buckets<T>) {
    for (width, later) in later {
        if let Some(base) = base.get(width) {
            let first = later.keys().next().copied();
            later.retain(|number, bucket| {
                Some(*number) == first || base.get(number) != Some(bucket)
            });
        }
    }
}

fn overwrite<T>(base: &mut Buckets<T>, later: Buckets<T>) {
    base.retain(|width, _| later.contains_key(width));
    for (width, later) in later {
        let buckets = base.entry(width).or_default();
        match later.keys().next() {
            Some(first) => *buckets = buckets.split_off(first),
            None => buckets.clear(),
        }
        buckets.extend(later);
    }
}
