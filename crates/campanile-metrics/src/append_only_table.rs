use std::sync::OnceLock;

/// A hash table of a fixed size whose entries are added and never changed, so it is read without a
/// lock.
pub(crate) struct AppendOnlyTable<E>(Box<[OnceLock<Box<E>>]>);

/// The number of slots, a power of two: twice the default limit of series per family.
const SLOTS: usize = 4_096;

/// The number of slots that are tried for a key.
const PROBES: usize = 16;

impl<E> AppendOnlyTable<E> {
    pub(crate) fn new() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(SLOTS).collect())
    }

    /// Returns the entry of a key.
    #[inline]
    pub(crate) fn get(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&E> {
        let slots = self.slots(hash).map_while(|slot| slot.get());
        slots.map(Box::as_ref).find(|entry| is_it(entry))
    }

    /// Adds an entry, unless its key has an entry or no slot is free.
    pub(crate) fn insert(&self, hash: u64, is_it: impl Fn(&E) -> bool, entry: E) {
        let mut entry = Box::new(entry);
        for slot in self.slots(hash) {
            let Err(back) = slot.set(entry) else {
                return;
            };
            if slot.get().is_some_and(|there| is_it(there)) {
                return;
            }
            entry = back;
        }
    }

    /// Returns the number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|slot| slot.get().is_some()).count()
    }

    fn slots(&self, hash: u64) -> impl Iterator<Item = &OnceLock<Box<E>>> {
        let first = hash as usize;
        (first..first.wrapping_add(PROBES)).map(|slot| &self.0[slot % SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a key, which gets one if it is new.
    fn get(table: &AppendOnlyTable<(u64, u64)>, key: u64, value: u64) -> Option<u64> {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let is_it = |(of, _): &(u64, u64)| *of == key;
        table.insert(hash, is_it, (key, value));
        table.get(hash, is_it).map(|(_, value)| *value)
    }

    #[test]
    fn a_key_keeps_its_first_value() {
        let table = AppendOnlyTable::new();
        assert!(table.get(3, |_| true).is_none());
        let values = [(3, 1), (7, 2), (3, 3)].map(|(key, value)| get(&table, key, value));
        assert_eq!(values, [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_full_table_finds_what_it_has_and_refuses_the_rest() {
        let table = AppendOnlyTable::new();
        let kept: Vec<_> = (0..10_000)
            .filter_map(|key| get(&table, key, key))
            .collect();
        assert!((SLOTS / 2..=SLOTS).contains(&kept.len()), "{}", kept.len());
        for key in kept {
            assert_eq!(get(&table, key, 0), Some(key));
        }
    }

    #[test]
    fn threads_agree_on_a_value() {
        let table = AppendOnlyTable::new();
        let values = std::thread::scope(|scope| {
            let threads = [1, 2, 3, 4].map(|thread| {
                let table = &table;
                let get = move |key| get(table, key, thread);
                scope.spawn(move || (0..200).map(get).collect::<Vec<_>>())
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(values.iter().all(|seen| *seen == values[0]));
    }
}
