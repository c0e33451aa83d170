//! The difference of two snapshots, which is small: in some seconds only the last buckets change.

use std::collections::BTreeMap;

use super::{RestoreError, Saved, SavedStream, bytes, read, write};

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
    /// Returns whether a later stream has each bucket, too, from the first one of its ring on.
    fn is_part_of(&self, later: &Self) -> bool {
        self.time <= later.time
            && has_all(&self.rings, &later.rings)
            && has_all(&self.sketches, &later.sketches)
    }

    /// Drops the buckets that are the same in a base, except the first one of each ring: what is before it is dropped from the base.
    fn subtract(&mut self, base: &Self) {
        subtract(&mut self.rings, &base.rings);
        subtract(&mut self.sketches, &base.sketches);
    }

    /// Replaces the buckets that a later stream has, and drops those before its first ones.
    fn overwrite(&mut self, later: Self) {
        self.time = later.time;
        overwrite(&mut self.rings, later.rings);
        overwrite(&mut self.sketches, later.sketches);
    }
}

/// Buckets by their width and their number.
type Buckets<T> = BTreeMap<u64, BTreeMap<u64, T>>;

/// Returns whether all old buckets from the first later one on are there later. Those before are gone.
fn has_all<T>(old: &Buckets<T>, later: &Buckets<T>) -> bool {
    old.iter().all(|(width, old)| {
        let later = later.get(width);
        let Some((later, (first, _))) =
            later.and_then(|one| one.first_key_value().map(|first| (one, first)))
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
