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

/// Counters, gauges, histograms and summaries that can be read back.
///
/// A clone is the same registry (an `Arc`).
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(super) families: RwLock<Families>,
    pub(super) descriptions: RwLock<BTreeMap<Box<str>, Description>>,
    pub(super) declared: RwLock<Schema>,
    pub(super) settings: Settings,
    pub(super) series: AtomicUsize,
    pub(super) begun: Instant,
    /// Rises from time to time, to tell which series are idle.
    pub(super) sweep: AtomicU32,
    pub(super) refused: AtomicU64,
    pub(super) truncated: AtomicU64,
    /// The names of families that turned series away, and how many series were turned away by
    /// families of that name that are gone.
    pub(super) overflowing: Mutex<BTreeMap<Arc<str>, u64>>,
    pub(super) dropped: Arc<AtomicU64>,
    /// Whether this is the process's recorder.
    pub(crate) is_installed: AtomicBool,
    /// The nanoseconds in which pages were written.
    pub(super) scrape_nanoseconds: AtomicU64,
    /// What has gauges that follow from something else.
    pub(super) refreshed: Mutex<Vec<Weak<dyn Refresh>>>,
    /// For each reason of a refusal, whether the log has it.
    pub(super) logged: [AtomicBool; 9],
    /// The handles of keys that the macros have as constants.
    pub(crate) keys: KeyCache,
    /// The pages that are being written.
    pub(crate) scrapes: SharedScrapes<Registry>,
    /// The exporter whose values are shown too.
    pub(super) exporter: Option<Exporter>,
}

/// What has a gauge that follows from something else.
pub(crate) trait Refresh: Send + Sync {
    fn refresh(&self, now: Instant);
}

pub(super) struct Description {
    pub(super) help: Box<str>,
    pub(super) unit: Option<&'static str>,
    /// Whether another recorder has it too.
    pub(super) is_passed_on: AtomicBool,
}

impl Registry {
    /// Returns an empty registry with all settings at their defaults.
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
            begun: clock::now(),
            sweep: AtomicU32::new(0),
            refused: AtomicU64::new(0),
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

    /// Brings gauges up to date that follow from something else: those of [`DistinctCount`](crate::DistinctCount). `Campanile::run` does
    /// so every 10 s.
    pub fn refresh(&self, now: Instant) {
        let refreshed = || {
            let refreshed = self.0.refreshed.lock();
            refreshed.unwrap_or_else(PoisonError::into_inner)
        };
        refreshed().retain(|one| one.strong_count() > 0);
        let all: Vec<_> = refreshed().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|one| one.refresh(now));
    }

    pub(crate) fn add_refreshed(&self, one: Weak<dyn Refresh>) {
        let refreshed = self.0.refreshed.lock();
        refreshed.unwrap_or_else(PoisonError::into_inner).push(one);
    }

    /// Takes note of the time that a piece of a page took.
    pub(crate) fn add_scrape_time(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.scrape_nanoseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// Returns the time in which pages were written so far.
    pub(crate) fn scrape_time(&self) -> Duration {
        Duration::from_nanos(self.0.scrape_nanoseconds.load(Ordering::Relaxed))
    }

    /// The labels of all series.
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
        // The library's own metrics have the same names in all services.
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
