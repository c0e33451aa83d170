use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use super::families::Families;
use super::schema::Schema;
use crate::beside::Exporter;
use crate::clock;
use crate::constant_labels::ConstantLabels;
use crate::http_naming::HttpNaming;
use crate::key_cache::KeyCache;
use crate::rendering::SharedScrapes;
use crate::settings::Settings;

/// A bounded set of counters, gauges, histograms and summaries that can be read.
///
/// A clone shares the state (an `Arc`).
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(super) families: RwLock<Families>,
    pub(super) descriptions: RwLock<BTreeMap<Box<str>, Description>>,
    pub(super) declared: RwLock<Schema>,
    pub(super) settings: Settings,
    pub(super) series: AtomicUsize,
    pub(super) created_at: Instant,
    /// The number of the current sweep, which distinguishes idle series.
    pub(super) sweep: AtomicU32,
    pub(super) rejected: AtomicU64,
    pub(super) truncated: AtomicU64,
    /// The families that rejected series, and the number of series that removed families of that
    /// name rejected.
    pub(super) overflowing: Mutex<BTreeMap<Arc<str>, u64>>,
    pub(super) dropped: Arc<AtomicU64>,
    /// Whether this is the global recorder of the process.
    pub(crate) is_installed: AtomicBool,
    /// The CPU time of scrape responses, in nanoseconds.
    pub(super) scrape_nanoseconds: AtomicU64,
    /// The metrics whose gauges are computed from other state.
    pub(super) refreshed: Mutex<Vec<Weak<dyn Refresh>>>,
    /// Whether each reason of a rejection was logged.
    pub(super) logged: [AtomicBool; 9],
    /// The handles of keys whose strings are all literals.
    pub(crate) keys: KeyCache,
    /// The scrape responses in progress.
    pub(crate) scrapes: SharedScrapes<Registry>,
    /// The exporter whose values are exported too.
    pub(super) exporter: Option<Exporter>,
}

/// A metric whose gauge is computed from other state.
pub(crate) trait Refresh: Send + Sync {
    fn refresh(&self, now: Instant);
}

pub(super) struct Description {
    pub(super) help: Box<str>,
    pub(super) unit: Option<&'static str>,
    /// Whether another recorder got it too.
    pub(super) is_passed_on: AtomicBool,
}

impl Registry {
    /// Creates an empty registry with the default settings.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let source = settings.beside.clone();
        Self(Arc::new(Inner {
            exporter: source.map(|source| Exporter::new(source, settings.max_series)),
            families: RwLock::default(),
            descriptions: RwLock::default(),
            declared: RwLock::default(),
            settings,
            series: AtomicUsize::new(0),
            created_at: clock::now(),
            sweep: AtomicU32::new(0),
            rejected: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            overflowing: Mutex::default(),
            dropped: Arc::default(),
            is_installed: AtomicBool::new(false),
            scrape_nanoseconds: AtomicU64::new(0),
            refreshed: Mutex::default(),
            logged: Default::default(),
            keys: KeyCache::default(),
            scrapes: SharedScrapes::default(),
        }))
    }

    /// Updates gauges that are computed from other state, such as
    /// [`DistinctCount`](crate::DistinctCount). `Campanile::run` calls this every 10 s.
    pub fn refresh(&self, now: Instant) {
        let refreshed = || {
            let refreshed = self.0.refreshed.lock();
            refreshed.unwrap_or_else(PoisonError::into_inner)
        };
        refreshed().retain(|metric| metric.strong_count() > 0);
        let alive: Vec<_> = refreshed().iter().filter_map(Weak::upgrade).collect();
        alive.iter().for_each(|metric| metric.refresh(now));
    }

    pub(crate) fn add_refreshed(&self, metric: Weak<dyn Refresh>) {
        let refreshed = self.0.refreshed.lock();
        refreshed
            .unwrap_or_else(PoisonError::into_inner)
            .push(metric);
    }

    /// Adds CPU time that was spent on scrape responses.
    pub(crate) fn add_scrape_time(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.scrape_nanoseconds.fetch_add(time, Ordering::Relaxed);
    }

    /// Returns the CPU time that was spent on scrape responses so far.
    pub(crate) fn scrape_time(&self) -> Duration {
        Duration::from_nanos(self.0.scrape_nanoseconds.load(Ordering::Relaxed))
    }

    /// Returns the labels of all series.
    pub(crate) fn constant(&self) -> &ConstantLabels {
        &self.0.settings.constant_labels
    }

    /// Returns whether OpenMetrics has `_created` lines.
    pub(crate) fn has_created(&self) -> bool {
        self.0.settings.has_created
    }

    pub(crate) fn http_naming(&self) -> HttpNaming {
        self.0.settings.http_naming
    }

    pub(super) fn prefixed<'a>(&self, name: Cow<'a, str>) -> Cow<'a, str> {
        let prefix = &*self.0.settings.prefix;
        // Campanile's metrics have the same names in all services.
        if prefix.is_empty() || name.starts_with("campanile_") {
            return name;
        }
        [prefix, "_", &name].concat().into()
    }

    pub(crate) fn is_summary(&self, name: &str) -> bool {
        self.0.settings.is_summary(name)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = self.0.series.load(Ordering::Relaxed);
        f.debug_struct("Registry")
            .field("series", &series)
            .finish_non_exhaustive()
    }
}
