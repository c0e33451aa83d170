use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

/// The most frequent strings of a stream, in bounded space (Metwally, Agrawal, El Abbadi:
/// "Space-Saving", 2005).
///
/// A string that makes up more than one part in [`PLACES`] of the stream is always included. Its
/// count is too high by at most that part.
#[derive(Default)]
pub(crate) struct SpaceSaving(Vec<Place>);

struct Place {
    hash: u64,
    count: u64,
    text: String,
}

/// The maximum number of counted strings.
const PLACES: usize = 64;

impl SpaceSaving {
    pub(crate) fn count(&mut self, text: &str) {
        let hash = FxBuildHasher.hash_one(text);
        let mut places = self.0.iter_mut();
        if let Some(place) = places.find(|place| place.hash == hash && place.text == text) {
            place.count += 1;
            return;
        }
        if self.0.len() < PLACES {
            let text = text.into();
            let count = 1;
            self.0.push(Place { hash, count, text });
            return;
        }
        // The new string replaces the rarest one, and continues its count.
        if let Some(rarest) = self.0.iter_mut().min_by_key(|place| place.count) {
            rarest.hash = hash;
            rarest.count += 1;
            rarest.text.clear();
            rarest.text.push_str(text);
        }
    }

    /// Returns the strings with the highest counts, in descending order.
    pub(crate) fn most(&self, number: usize) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|place| (place.text.clone(), place.count))
            .collect();
        all.sort_unstable_by(|(one, often), (other, more)| more.cmp(often).then(one.cmp(other)));
        all.truncate(number);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_are_found_among_many_rare_ones() {
        let mut top = SpaceSaving::default();
        for number in 0..10_000 {
            top.count(&format!("rare-{number}"));
            for often in (0..5).filter(|often| number % (often + 4) == 0) {
                top.count(&format!("often-{often}"));
            }
        }
        let most = top.most(5);
        let names: Vec<_> = most.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(
            names,
            ["often-0", "often-1", "often-2", "often-3", "often-4"]
        );
        let stream = 10_000 + 2_500 + 2_000 + 1_667 + 1_429 + 1_250;
        for ((_, count), exact) in most.iter().zip([2_500, 2_000, 1_667, 1_429, 1_250]) {
            assert!(
                (exact..=exact + stream / 64).contains(count),
                "{count}, not {exact}"
            );
        }
        assert_eq!(top.0.len(), PLACES);
    }
}
