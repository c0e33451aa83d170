use std::sync::OnceLock;

use crate::{Counter, Gauge, Kind, Metric, RegisterError, Registry};

/// Metrics of a cache.
///
/// | metric | kind | meaning |
/// |---|---|---|
/// | `cache_hits_total{cache_type}` | counter | lookups that found a value |
/// | `cache_misses_total{cache_type}` | counter | lookups that found no value |
/// | `cache_hit_ratio{cache_type}` | gauge | hits divided by all lookups since the start, 0 to 1; missing before the first |
/// | `cache_entries{cache_type}` | gauge | entries in the cache, if they are [set](Self::set_entries) |
///
/// ```
/// use std::collections::HashMap;
///
/// use campanile_metrics::collectors::CacheMetrics;
/// use campanile_metrics::Registry;
///
/// let registry = Registry::new();
/// let metrics = CacheMetrics::register(&registry, "sessions")?;
/// let sessions = HashMap::from([(7, "ada")]);
///
/// assert_eq!(metrics.record_lookup(sessions.get(&7)), Some(&"ada"));
/// assert_eq!(metrics.record_lookup(sessions.get(&8)), None);
/// metrics.set_entries(sessions.len());
/// assert!(registry.render().contains("cache_hit_ratio{cache_type=\"sessions\"} 0.5\n"));
/// # Ok::<_, campanile_metrics::RegisterError>(())
/// ```
///
/// For the ratio of the last five minutes, use a query: `rate(cache_hits_total[5m]) /
/// (rate(cache_hits_total[5m]) + rate(cache_misses_total[5m]))`.
///
/// A clone writes to the same series.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    registry: Registry,
    cache_type: Box<str>,
    hits: Counter,
    misses: Counter,
    ratio: OnceLock<Gauge>,
    entries: OnceLock<Gauge>,
}

const HITS: &str = "cache_hits_total";
const MISSES: &str = "cache_misses_total";
const RATIO: &str = "cache_hit_ratio";
const ENTRIES: &str = "cache_entries";

impl CacheMetrics {
    /// Registers the metrics of a cache.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric.
    pub fn register(registry: &Registry, cache_type: &str) -> Result<Self, RegisterError> {
        registry.describe(HITS, "Cache lookups that found a value.");
        registry.describe(MISSES, "Cache lookups that found no value.");
        registry.describe(RATIO, "Cache hits divided by all lookups since the start.");
        registry.describe(ENTRIES, "Entries in the cache.");
        let labels = [("cache_type", cache_type)];
        for name in [RATIO, ENTRIES] {
            registry.declare(name, Kind::Gauge, ["cache_type"].into_iter(), None)?;
        }
        Ok(Self {
            hits: registry.counter(HITS, &labels)?,
            misses: registry.counter(MISSES, &labels)?,
            registry: registry.clone(),
            cache_type: cache_type.into(),
            ratio: OnceLock::new(),
            entries: OnceLock::new(),
        })
    }

    /// Counts a lookup as a hit or a miss, and returns its result.
    pub fn record_lookup<T>(&self, found: Option<T>) -> Option<T> {
        if found.is_some() {
            self.hits.increment(1);
        } else {
            self.misses.increment(1);
        }
        let (hits, misses) = (self.hits.value() as f64, self.misses.value() as f64);
        let ratio = self.ratio.get_or_init(|| self.gauge(RATIO));
        ratio.set(hits / (hits + misses));
        found
    }

    /// Sets the number of entries in the cache.
    pub fn set_entries(&self, entries: usize) {
        let gauge = self.entries.get_or_init(|| self.gauge(ENTRIES));
        gauge.set(entries as f64);
    }

    fn gauge(&self, name: &str) -> Gauge {
        let gauge = self
            .registry
            .gauge(name, &[("cache_type", &self.cache_type)]);
        gauge.unwrap_or_else(|_| Gauge::detached(&self.registry))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Value, clock};

    #[test]
    fn the_gauge_of_a_cache_that_does_not_change_does_not_expire() {
        let minute = Duration::from_secs(60);
        let registry = Registry::builder().idle_timeout(minute).build().unwrap();
        let cache = CacheMetrics::register(&registry, "users").unwrap();
        cache.set_entries(7);
        let begun = clock::now();
        (1..5).for_each(|number| registry.sweep(begun + 2 * number * minute));
        let entries = registry.get(ENTRIES, &[("cache_type", "users")]);
        assert_eq!(entries, Some(Value::Gauge(7.0)));
    }
}
