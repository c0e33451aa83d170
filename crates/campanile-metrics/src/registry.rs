use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use self::register::Families;
use metrics::Unit;

use crate::beside::Exporter;
use crate::builder::{Constant, Settings};
use crate::cell::{CounterCell, GaugeCell, TimeCounterCell};
use crate::clock;
use crate::error::{InstallError, RegisterError};
use crate::family::AnyFamily;
use crate::name::{LabelText, sanitised};
use crate::page::{Cursor, Format};
use crate::recorder::Keys;
use crate::scrape::Ongoing;
use crate::series::{read, write};
use crate::snapshot::{FamilySnapshot, Kind, Snapshot, Value};
use crate::summary::SummaryCell;
use crate::{Counter, Gauge, Histogram, Preset, RegistryBuilder, Summary, TimeCounter};

mod declare;
mod merged;
mod own;
mod register;

pub use self::declare::Budget;
use self::declare::Declared;
pub(crate) use self::merged::Of;
pub(crate) use self::register::{Found, sample_names};

/// Counters, gauges, histograms and summaries that can be read back.
///
/// A clone is the same registry (an `Arc`).
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    families: RwLock<Families>,
    descriptions: RwLock<BTreeMap<Box<str>, Description>>,
    declared: RwLock<Declared>,
    settings: Settings,
    series: AtomicUsize,
    begun: Instant,
    /// Rises from time to time, to tell which series are idle.
    sweep: AtomicU32,
    refused: AtomicU64,
    truncated: AtomicU64,
    /// The names of families that turned series away, and how many series were turned away by
    /// families of that name that are gone.
    overflowing: Mutex<BTreeMap<Arc<str>, u64>>,
    dropped: Arc<AtomicU64>,
    /// Whether this is the process's recorder.
    pub(crate) is_installed: AtomicBool,
    /// The nanoseconds in which pages were written.
    in_pages: AtomicU64,
    /// What has gauges that follow from something else.
    refreshed: Mutex<Vec<Weak<dyn Refresh>>>,
    /// For each reason of a refusal, whether the log has it.
    logged: [AtomicBool; 9],
    /// The handles of keys that the macros have as constants.
    pub(crate) keys: Keys,
    /// The pages that are being written.
    pub(crate) ongoing: Ongoing,
    /// The exporter whose values are shown too.
    exporter: Option<Exporter>,
}

/// What has a gauge that follows from something else.
pub(crate) trait Refresh: Send + Sync {
    fn refresh(&self, now: Instant);
}

struct Description {
    help: Box<str>,
    unit: Option<&'static str>,
    /// Whether another recorder has it too.
    is_passed_on: AtomicBool,
}

impl Registry {
    /// Returns an empty registry with all settings at their defaults.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Returns a builder for a registry with settings of its own.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let source = settings.beside.clone();
        Self(Arc::new(Inner {
            exporter: source.map(|source| Exporter::new(source, settings.series)),
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
            in_pages: AtomicU64::new(0),
            refreshed: Mutex::default(),
            logged: Default::default(),
            keys: Keys::default(),
            ongoing: Ongoing::default(),
        }))
    }

    /// Makes this registry the process's recorder, to which the `metrics` macros write everywhere.
    ///
    /// Handles that were made by the macros before stay without effect.
    ///
    /// # Errors
    ///
    /// If the process has a recorder already.
    pub fn install(&self) -> Result<(), InstallError> {
        metrics::set_global_recorder(self.clone()).map_err(|_| InstallError::Taken)?;
        self.0.is_installed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the counter with this name and these labels, at 0 if it is new. A name that does not end with `_total` gets that.
    ///
    /// # Errors
    ///
    /// If the name or a label is not valid, or the name is another metric's. Past a cap the overflow series is returned,
    /// and that is not an error.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<Counter, RegisterError> {
        self.strict(name, labels, |_| CounterCell::default())
            .map(Counter)
    }

    /// Returns the counter of time with this name and these labels, at 0 if it is new. The name should end with `_seconds_total`; one
    /// that does not end with `_total` gets that.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn time_counter(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<TimeCounter, RegisterError> {
        self.strict(name, labels, |_| TimeCounterCell::default())
            .map(TimeCounter)
    }

    /// Returns the gauge with this name and these labels, at 0 if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter). Past a limit the gauge is detached: it can be used, but is
    /// not exported, because the values of several gauges can't be shown as one.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<Gauge, RegisterError> {
        self.strict(name, labels, |_| GaugeCell::default())
            .map(Gauge)
    }

    /// Returns the histogram with this name and these labels, empty if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Histogram, RegisterError> {
        self.strict(name, labels, |name| self.new_histogram(name))
            .map(Histogram)
    }

    /// Returns the summary with this name and these labels, empty if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn summary(&self, name: &str, labels: &[(&str, &str)]) -> Result<Summary, RegisterError> {
        self.strict(name, labels, |_| self.new_summary())
            .map(Summary)
    }

    /// Describes a metric, for the exposition's `# HELP` line. The first description of a name holds.
    ///
    /// There can be 10,000 descriptions. Past that, those of metrics whose series all went idle are
    /// forgotten; if there are none, new ones are refused and counted.
    pub fn describe(&self, name: &str, help: &str) {
        self.describe_with_unit(name, help, None);
    }

    /// Describes a metric and its unit, which OpenMetrics shows if it is the last part of the name, as `seconds` is in
    /// `http_request_duration_seconds`.
    pub fn describe_with_unit(&self, name: &str, help: &str, unit: Option<Unit>) {
        self.describe_as(name, help, unit.map(|unit| unit.as_str()));
    }

    /// Does so, and returns whether another recorder has to get the description too: once for each
    /// name.
    pub(crate) fn describe_both(&self, name: &str, help: &str, unit: Option<Unit>) -> bool {
        self.describe_with_unit(name, help, unit);
        let name = self.prefixed(sanitised(name));
        let descriptions = read(&self.0.descriptions);
        let description = descriptions.get(&*name);
        description
            .is_some_and(|description| !description.is_passed_on.swap(true, Ordering::Relaxed))
    }

    /// Does so with any unit.
    pub(crate) fn describe_as(&self, name: &str, help: &str, unit: Option<&'static str>) {
        let name = self.prefixed(sanitised(name));
        if read(&self.0.descriptions).contains_key(&*name) {
            return;
        }
        // One lock at a time: a new series waits for this one while it holds that of its family.
        let is_full = read(&self.0.descriptions).len() >= MAX_DESCRIPTIONS;
        let mut gone = Default::default();
        if is_full {
            std::mem::swap(&mut gone, &mut write(&self.0.declared).gone);
            let families = read(&self.0.families);
            gone.retain(|name| !families.has(name));
        }
        let mut descriptions = write(&self.0.descriptions);
        for name in &gone {
            descriptions.remove(name);
        }
        let room = descriptions.len() < MAX_DESCRIPTIONS;
        match descriptions.entry(name.into()) {
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) if room => {
                let help = help.into();
                let is_passed_on = AtomicBool::new(false);
                entry.insert(Description {
                    help,
                    unit,
                    is_passed_on,
                });
            }
            Entry::Vacant(_) => {
                self.0.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Calls a closure with the help and the unit of an exported name; a counter's may have been given without its `_total`.
    pub(crate) fn described<T>(
        &self,
        name: &str,
        then: impl FnOnce(Option<&str>, Option<&'static str>) -> T,
    ) -> T {
        let descriptions = read(&self.0.descriptions);
        let base = || descriptions.get(name.strip_suffix("_total")?);
        let found = descriptions.get(name).or_else(base);
        then(
            found.map(|description| &*description.help),
            found.and_then(|description| description.unit),
        )
    }

    /// Returns the value of a series, or `None` if there is none with this exported name and exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let text = |longest| {
            let labels = labels.iter();
            let labels = labels.map(|&(name, value)| (Cow::Borrowed(name), value));
            let mut labels: Vec<_> = labels.collect();
            self.drop_constant(&mut labels, longest);
            LabelText::new(name, Kind::Gauge, &mut labels, longest).ok()
        };
        self.publish_if_own(name);
        let family = read(&self.0.families).get(name).cloned();
        match family {
            Some(family) => family.get(&text(self.0.settings.label_value_bytes)?.text),
            // The values of another exporter's labels are not cut.
            None if self.has_exporter() => self.get_beside(name, &text(usize::MAX)?.text),
            None => None,
        }
    }

    /// Returns all values.
    pub fn snapshot(&self) -> Snapshot {
        let mut families = Vec::new();
        self.each_family(false, |family| families.push(family));
        Snapshot { families }
    }

    /// Calls a function with the values of each name in turn, to send them elsewhere: exemplars
    /// count as shown, as they do for a page in OpenMetrics. Add the
    /// [constant labels](Self::constant_labels) that a series does not have itself.
    pub fn export(&self, each: impl FnMut(FamilySnapshot)) {
        self.each_family(true, each);
    }

    /// Returns the names and values of the labels that
    /// [all series](RegistryBuilder::constant_label) have in an exposition, in the order in which
    /// they were set.
    pub fn constant_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.constant().iter()
    }

    /// Returns the values of one exported name, or `None` if there are none.
    pub fn family(&self, name: &str) -> Option<FamilySnapshot> {
        self.publish_if_own(name);
        let own = read(&self.0.families).get_key_value(name);
        match own {
            Some((name, family)) => Some(self.family_snapshot(name, &family, false)),
            None => self.family_beside(name),
        }
    }

    /// Returns the labels that a limit turned away most often, at most ten, with their counts; the
    /// most frequent first.
    ///
    /// The counts are estimates. They may be too high by a 64th of all, and too low if several
    /// threads are turned away at the same time.
    ///
    /// The labels are as they are exposed, without braces. Empty if the family is not there or has room.
    pub fn turned_away(&self, name: &str) -> Vec<(String, u64)> {
        let family = read(&self.0.families).get(name).cloned();
        family.map_or_else(Vec::new, |family| family.top().most(10))
    }

    fn family_snapshot(&self, name: Arc<str>, family: &AnyFamily, shows: bool) -> FamilySnapshot {
        let (help, unit) = self.described(&name, |help, unit| (help.map(str::to_owned), unit));
        FamilySnapshot {
            kind: family.kind(),
            help,
            unit,
            series: family.snapshot(shows),
            name,
        }
    }

    /// Returns the next family in the order of names.
    pub(crate) fn family_after(&self, name: Option<&str>) -> Option<(Arc<str>, Arc<AnyFamily>)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        read(&self.0.families).next(from)
    }

    /// Removes the series that have not been in use for the [idle timeout](RegistryBuilder::idle_timeout); does nothing without one.
    ///
    /// A series goes once it was idle for between one and two timeouts, or between two sweeps if
    /// they are further apart. It is in use while a handle to it exists, and when it is looked up.
    /// `Campanile::run`
    /// sweeps every 10 s. With 100,000 series it takes some ten milliseconds, once in a timeout.
    pub fn sweep(&self, now: Instant) {
        let Some(timeout) = self.0.settings.idle_timeout else {
            return;
        };
        let elapsed = now.saturating_duration_since(self.0.begun);
        let now = elapsed.as_nanos() / timeout.as_nanos();
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let previous = self.0.sweep.fetch_max(now, Ordering::Relaxed);
        if previous >= now {
            return;
        }
        let mut last = None::<Arc<str>>;
        while let Some((name, family)) = self.family_after(last.as_deref()) {
            // What was asked for since the sweep before has its number.
            let removed = family.remove_idle(previous, now);
            self.removed(&name, &family, removed);
            last = Some(name);
        }
    }

    /// Removes a gauge, by its name and its labels as they are exposed, unless it has a handle. With
    /// the last gauge of a name it removes the description.
    #[cfg(feature = "business")]
    pub(crate) fn forget(&self, name: &str, labels: &str) {
        let name = self.exported(name, Kind::Gauge);
        let family = read(&self.0.families).get(&name).cloned();
        if let Some(family) = family {
            let removed = family.remove(labels);
            self.removed(&name, &family, removed);
            if read(&self.0.families).get(&name).is_none() {
                write(&self.0.descriptions).remove(&*name);
                write(&self.0.declared).gone.remove(&*name);
            }
        }
    }

    /// Counts series that were removed from a family, and removes the family if it is empty.
    fn removed(&self, name: &str, family: &Arc<AnyFamily>, count: usize) {
        self.0.series.fetch_sub(count, Ordering::Relaxed);
        if count > 0 && write(&self.0.families).remove_if_empty(name, family) {
            let base = name.strip_suffix("_total");
            let described = {
                let descriptions = read(&self.0.descriptions);
                let mut names = [Some(name), base].into_iter().flatten();
                names.find(|name| descriptions.contains_key(*name))
            };
            write(&self.0.declared).forget(name, described);
            self.note_gone(name, family.overflowed());
        }
    }

    /// Returns all values in Prometheus' text format 0.0.4, to be sent with [`CONTENT_TYPE`](crate::CONTENT_TYPE).
    pub fn render(&self) -> String {
        self.page(Format::Text)
    }

    /// Returns all values in the format of OpenMetrics 1.0.0.
    pub fn render_open_metrics(&self) -> String {
        self.page(Format::OpenMetrics)
    }

    fn page(&self, format: Format) -> String {
        let mut page = String::new();
        self.publish_own();
        let mut cursor = Cursor::new(format);
        while cursor.write(self, &mut page, usize::MAX) {}
        page
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

    pub(crate) fn refreshed_by(&self, one: Weak<dyn Refresh>) {
        let refreshed = self.0.refreshed.lock();
        refreshed.unwrap_or_else(PoisonError::into_inner).push(one);
    }

    /// Takes note of the time that a piece of a page took.
    pub(crate) fn note_page(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.in_pages.fetch_add(took, Ordering::Relaxed);
    }

    /// Returns the time in which pages were written so far.
    pub(crate) fn time_in_pages(&self) -> Duration {
        Duration::from_nanos(self.0.in_pages.load(Ordering::Relaxed))
    }

    /// The labels of all series.
    pub(crate) fn constant(&self) -> &Constant {
        &self.0.settings.constant
    }

    /// Returns whether OpenMetrics has `_created` lines.
    pub(crate) fn has_created(&self) -> bool {
        self.0.settings.has_created
    }

    pub(crate) fn preset(&self) -> Preset {
        self.0.settings.preset
    }

    fn prefixed<'a>(&self, name: Cow<'a, str>) -> Cow<'a, str> {
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

    pub(crate) fn new_summary(&self) -> SummaryCell {
        SummaryCell::new(Arc::clone(&self.0.dropped))
    }
}

/// The maximum number of described names.
const MAX_DESCRIPTIONS: usize = 10_000;

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

#[cfg(test)]
mod tests;
