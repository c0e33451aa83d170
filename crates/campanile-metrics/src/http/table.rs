use std::hash::BuildHasher;
use std::sync::OnceLock;

use campanile_http::Route;
use http::StatusCode;
use rustc_hash::FxBuildHasher;

/// A hash table of a fixed size whose entries are added and never changed, so that it is read without a lock.
pub(super) struct Table<V>(Box<[OnceLock<Box<Entry<V>>>]>);

struct Entry<V> {
    route: Route,
    method: &'static str,
    status: StatusCode,
    value: V,
}

/// The number of slots, a power of two: room for all series that a family has by default, twice.
const SLOTS: usize = 4_096;

/// How many slots are tried for a key.
const PROBES: usize = 16;

impl<V> Table<V> {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(SLOTS).collect())
    }

    /// Returns the value of a key, made now if it is new, or `None` if there is no slot left for it.
    pub(super) fn get_or_insert_with(
        &self,
        route: &Route,
        method: &'static str,
        status: StatusCode,
        make: impl Fn() -> V,
    ) -> Option<&V> {
        let first = FxBuildHasher.hash_one((route.as_str(), method, status.as_u16())) as usize;
        (first..first.wrapping_add(PROBES)).find_map(|probe| {
            let slot = &self.0[probe % SLOTS];
            let entry = slot.get_or_init(|| {
                Entry {
                    route: route.clone(),
                    method,
                    status,
                    value: make(),
                }
                .into()
            });
            let same = entry.status == status && entry.method == method && entry.route == *route;
            same.then_some(&entry.value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn route(number: usize) -> Route {
        Route::from(Arc::from(format!("/{number}").as_str()))
    }

    #[test]
    fn a_value_is_made_once_for_a_key() {
        let table = Table::new();
        let made = AtomicUsize::new(0);
        let get = |method, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            *table
                .get_or_insert_with(&route(1), method, status, || {
                    made.fetch_add(1, Ordering::Relaxed)
                })
                .unwrap()
        };
        assert_eq!(
            [
                get("GET", 200),
                get("GET", 500),
                get("PUT", 200),
                get("GET", 200)
            ],
            [0, 1, 2, 0]
        );
    }

    #[test]
    fn a_full_table_finds_what_it_has_and_refuses_the_rest() {
        let table = Table::new();
        let get = |number| {
            table
                .get_or_insert_with(&route(number), "GET", StatusCode::OK, || number)
                .copied()
        };
        let kept: Vec<_> = (0..10_000).filter_map(get).collect();
        assert!((SLOTS / 2..=SLOTS).contains(&kept.len()), "{}", kept.len());
        for number in kept {
            assert_eq!(get(number), Some(number));
        }
    }

    #[test]
    fn threads_agree_on_a_value() {
        let table = Table::new();
        let values = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let table = &table;
                    let get = move |number| {
                        table.get_or_insert_with(&route(number), "GET", StatusCode::OK, || thread)
                    };
                    scope.spawn(move || (0..200).map(get).collect::<Vec<_>>())
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(values.iter().all(|seen| *seen == values[0]));
    }
}
