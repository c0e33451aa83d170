use std::collections::HashMap;

/// The most frequent of a stream of texts, in a bounded space (Metwally, Agrawal, El Abbadi: "Space-Saving", 2005).
///
/// A text that makes up more than one part in [`PLACES`] of the stream is always among them, and is counted at most that part too
/// often.
#[derive(Default)]
pub(crate) struct Top(HashMap<Box<str>, u64>);

/// How many texts are counted.
const PLACES: usize = 64;

impl Top {
    pub(crate) fn count(&mut self, text: &str) {
        if let Some(count) = self.0.get_mut(text) {
            *count += 1;
            return;
        }
        let mut count = 0;
        if self.0.len() >= PLACES {
            // The newcomer takes the place, and the count, of the rarest.
            let rarest = self.0.iter().min_by_key(|(_, count)| **count);
            if let Some((rarest, fewest)) = rarest.map(|(text, count)| (text.clone(), *count)) {
                self.0.remove(&rarest);
                count = fewest;
            }
        }
        self.0.insert(text.into(), count + 1);
    }

    /// Returns the most frequent, the first first.
    pub(crate) fn most(&self, number: usize) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(text, count)| (text.to_string(), *count))
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
        let mut top = Top::default();
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
