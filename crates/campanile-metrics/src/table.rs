use std::sync::OnceLock;

/// A hash table of a fixed size whose entries are added and never changed, so that it is read without a lock.
pub(crate) struct Table<E>(Box<[OnceLock<Box<E>>]>);

/// The number of slots, a power of two: room for all series that a family has by default, twice.
const SLOTS: usize = 4_096;

/// How many slots are tried for a key.
const PROBES: usize = 16;

impl<E> Table<E> {
    pub(crate) fn new() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(SLOTS).collect())
    }

    /// Returns the entry of a key, if it is there.
    #[inline]
    pub(crate) fn get(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&E> {
        let slots = self.slots(hash).map_while(|slot| slot.get());
        slots.map(Box::as_ref).find(|entry| is_it(entry))
    }

    /// Returns the entry of a key, made now if it is new, or `None` if there is no slot left for it.
    #[inline]
    pub(crate) fn get_or_insert_with(
        &self,
        hash: u64,
        is_it: impl Fn(&E) -> bool,
        make: impl Fn() -> E,
    ) -> Option<&E> {
        let entries = self
            .slots(hash)
            .map(|slot| slot.get_or_init(|| Box::new(make())));
        entries.map(Box::as_ref).find(|entry| is_it(entry))
    }

    fn slots(&self, hash: u64) -> impl Iterator<Item = &OnceLock<Box<E>>> {
        let first = hash as usize;
        (first..first.wrapping_add(PROBES)).map(|slot| &self.0[slot % SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The value of a key, made by a closure if it is new.
    fn get(table: &Table<(u64, u64)>, key: u64, make: impl Fn() -> u64) -> Option<u64> {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entry = table.get_or_insert_with(hash, |(of, _)| *of == key, || (key, make()));
        let found = table.get(hash, |(of, _)| *of == key);
        assert_eq!(found, entry);
        entry.map(|(_, value)| *value)
    }

    #[test]
    fn a_value_is_made_once_for_a_key() {
        let (table, made) = (Table::new(), AtomicUsize::new(0));
        let make = || made.fetch_add(1, Ordering::Relaxed) as u64;
        assert!(table.get(3, |_| true).is_none());
        assert_eq!(
            [3, 7, 3].map(|key| get(&table, key, make)),
            [Some(0), Some(1), Some(0)]
        );
    }

    #[test]
    fn a_full_table_finds_what_it_has_and_refuses_the_rest() {
        let table = Table::new();
        let kept: Vec<_> = (0..10_000)
            .filter_map(|key| get(&table, key, || key))
            .collect();
        assert!((SLOTS / 2..=SLOTS).contains(&kept.len()), "{}", kept.len());
        for key in kept {
            assert_eq!(get(&table, key, || 0), Some(key));
        }
    }

    #[test]
    fn threads_agree_on_a_value() {
        let table = Table::new();
        let values = std::thread::scope(|scope| {
            let threads = [1, 2, 3, 4].map(|thread| {
                let table = &table;
                let get = move |key| get(table, key, || thread);
                scope.spawn(move || (0..200).map(get).collect::<Vec<_>>())
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(values.iter().all(|seen| *seen == values[0]));
    }
}
