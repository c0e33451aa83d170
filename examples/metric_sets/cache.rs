//! A cache: look-ups as counters, and their ratio as a gauge.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use campanile::metrics::{Counter, Family, Gauge, RegisterError, Registry};
use campanile::{Labels, MetricSet};

#[derive(MetricSet)]
#[metrics(prefix = "cache")]
struct CacheMetrics {
    /// Look-ups that found an entry.
    hits: Family<CacheType, Counter>,
    /// Look-ups that found no entry.
    misses: Family<CacheType, Counter>,
    /// The part of the look-ups that found an entry, from 0 to 1.
    hit_ratio: Family<CacheType, Gauge>,
    /// Operations, by whether the entry was there before.
    operations: Family<Access, Counter>,
    /// Entries that are kept.
    entries: Family<CacheType, Gauge>,
}

#[derive(Clone, Copy, Labels)]
pub(crate) enum CacheType {
    Memory,
    Shared,
}

#[derive(Labels)]
struct Access {
    operation: Operation,
    result: Presence,
}

#[derive(Labels)]
enum Operation {
    Get,
    Set,
}

#[derive(Labels)]
enum Presence {
    Hit,
    Miss,
}

impl CacheMetrics {
    fn looked_up(&self, cache_type: CacheType, is_hit: bool) {
        let hits = self.hits.with(cache_type);
        let misses = self.misses.with(cache_type);
        let counter = if is_hit { &hits } else { &misses };
        counter.increment(1);
        let (hits, misses) = (hits.value() as f64, misses.value() as f64);
        let ratio = hits / (hits + misses);
        self.hit_ratio.with(cache_type).set(ratio);
        self.operated(Operation::Get, is_hit);
    }

    fn stored(&self, cache_type: CacheType, entries: usize, is_hit: bool) {
        self.entries.with(cache_type).set(entries as f64);
        self.operated(Operation::Set, is_hit);
    }

    fn operated(&self, operation: Operation, is_hit: bool) {
        let result = if is_hit {
            Presence::Hit
        } else {
            Presence::Miss
        };
        let access = Access { operation, result };
        self.operations.with(access).increment(1);
    }
}

/// Pages of products, up to a number.
pub(crate) struct Cache {
    cache_type: CacheType,
    most: usize,
    pages: Mutex<BTreeMap<u64, String>>,
    metrics: CacheMetrics,
}

impl Cache {
    /// Returns an empty cache. All caches write to the same metrics, since a set that is registered
    /// again has the same series.
    pub(crate) fn new(
        registry: &Registry,
        cache_type: CacheType,
        most: usize,
    ) -> Result<Self, RegisterError> {
        Ok(Self {
            cache_type,
            most,
            pages: Mutex::default(),
            metrics: CacheMetrics::register(registry)?,
        })
    }

    pub(crate) fn get(&self, id: u64) -> Option<String> {
        let page = self.pages().get(&id).cloned();
        self.metrics.looked_up(self.cache_type, page.is_some());
        page
    }

    pub(crate) fn set(&self, id: u64, page: &str) {
        let mut pages = self.pages();
        let before = pages.insert(id, page.to_owned());
        if pages.len() > self.most {
            pages.pop_first();
        }
        self.metrics
            .stored(self.cache_type, pages.len(), before.is_some());
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
