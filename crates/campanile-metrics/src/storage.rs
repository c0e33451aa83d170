use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, UNIX_EPOCH};

use crate::counter::{CounterValue, TimeCounterValue};
use crate::encode::Encoder;
use crate::gauge::GaugeValue;
use crate::histogram::HistogramValue;
use crate::kind::Kind;
use crate::series::SeriesSet;
use crate::snapshot::{SeriesSnapshot, Value};
use crate::space_saving::SpaceSaving;
use crate::summary::SummaryValue;
use crate::value::MetricValue;

/// All series of one name, whatever their kind.
pub(crate) struct AnyFamily {
    /// The exported name.
    pub(crate) name: Arc<str>,
    /// The name as it was first given, before anything was replaced or added.
    pub(crate) raw_name: Box<str>,
    pub(crate) series: AnySeries,
    /// The labels of the overflow series: one for the family, whatever labels are turned away later.
    pub(crate) overflow: OnceLock<Arc<str>>,
    /// How often a new series was turned away.
    overflowed: AtomicU64,
    /// The labels that were turned away most often.
    top_overflow: Mutex<SpaceSaving>,
    /// Whether the family was removed from the registry, so that a caller that still has it looks the
    /// name up again. Set and read under the lock of the series.
    is_removed: AtomicBool,
}

/// A value whose series are kept in an [`AnySeries`].
pub(crate) trait StoredValue: MetricValue {
    /// Returns the series, if they are of this kind.
    fn series(any: &AnySeries) -> Option<&SeriesSet<Self>>;

    fn any(series: SeriesSet<Self>) -> AnySeries;
}

macro_rules! kinds {
    ($($kind:ident $cell:ty),+) => {
        pub(crate) enum AnySeries {
            $($kind(SeriesSet<$cell>),)+
        }

        $(impl StoredValue for $cell {
            fn series(any: &AnySeries) -> Option<&SeriesSet<Self>> {
                match any {
                    AnySeries::$kind(series) => Some(series),
                    _ => None,
                }
            }

            fn any(series: SeriesSet<Self>) -> AnySeries {
                AnySeries::$kind(series)
            }
        })+

        /// Does the same with the series of any kind.
        macro_rules! with {
            ($any:expr, $set:ident => $then:expr) => {
                match $any {
                    $(AnySeries::$kind($set) => $then,)+
                }
            };
        }
    };
}

kinds!(
    Counter CounterValue,
    TimeCounter TimeCounterValue,
    Gauge GaugeValue,
    Histogram HistogramValue,
    Summary SummaryValue
);

/// How many series are read under one lock.
const PIECE: usize = 1_000;

impl AnyFamily {
    pub(crate) fn new<C: StoredValue>(name: Arc<str>, raw_name: &str) -> Self {
        Self {
            name,
            raw_name: raw_name.into(),
            series: C::any(SeriesSet::default()),
            overflow: OnceLock::new(),
            overflowed: AtomicU64::new(0),
            top_overflow: Mutex::default(),
            is_removed: AtomicBool::new(false),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        fn kind<C: MetricValue>(_: &SeriesSet<C>) -> Kind {
            C::KIND
        }
        with!(&self.series, set => kind(set))
    }

    pub(crate) fn len(&self) -> usize {
        with!(&self.series, set => set.read().len())
    }

    /// Returns the maximum number of series for this kind, whatever the registry's limit.
    pub(crate) fn cap(&self) -> usize {
        fn cap<C: MetricValue>(_: &SeriesSet<C>) -> usize {
            C::MAX_SERIES
        }
        with!(&self.series, set => cap(set))
    }

    /// Marks the family as removed, if it has no series.
    pub(crate) fn remove_if_empty(&self) -> bool {
        with!(&self.series, set => {
            let set = set.write();
            let is_empty = set.is_empty();
            self.is_removed.store(is_empty, Ordering::Relaxed);
            is_empty
        })
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, labels: &str) -> Option<Value> {
        with!(&self.series, set => set.get(labels).map(|series| series.read()))
    }

    /// Returns all series; `shows` tells whether exemplars then count as shown. The lock is held
    /// for some of them at a time, so that new series wait for microseconds and not for all.
    pub(crate) fn snapshot(&self, shows: bool) -> Vec<SeriesSnapshot> {
        fn snapshot<C: MetricValue>(set: &SeriesSet<C>, shows: bool) -> Vec<SeriesSnapshot> {
            let mut all = Vec::new();
            let mut after = None::<Arc<str>>;
            loop {
                let until = all.len() + PIECE;
                after = set.walk(after.as_deref(), |series| {
                    all.push(SeriesSnapshot {
                        labels: Arc::clone(&series.labels),
                        created: series
                            .counted_since()
                            .map(|since| UNIX_EPOCH + Duration::from_millis(since)),
                        value: if shows { series.show() } else { series.read() },
                    });
                    all.len() < until
                });
                if after.is_none() {
                    break;
                }
            }
            all
        }
        with!(&self.series, set => snapshot(set, shows))
    }

    /// Writes the lines of the series after one, until the page is long enough; returns the labels of the last one then.
    pub(crate) fn write(
        &self,
        after: Option<&str>,
        encoder: &mut Encoder<'_>,
        length: usize,
    ) -> Option<Arc<str>> {
        fn write<C: MetricValue>(
            set: &SeriesSet<C>,
            after: Option<&str>,
            encoder: &mut Encoder<'_>,
            length: usize,
        ) -> Option<Arc<str>> {
            let length = encoder
                .len()
                .saturating_add(length.saturating_sub(encoder.len()) / C::WEIGHT);
            set.walk(after, |series| {
                encoder.overridden(series.overrides.then_some(&*series.labels));
                series.write(series, encoder);
                encoder.len() < length
            })
        }
        with!(&self.series, set => write(set, after, encoder, length))
    }

    /// Removes the series with these labels if it is not in use; returns how many.
    #[cfg(feature = "business")]
    pub(crate) fn remove(&self, labels: &str) -> usize {
        usize::from(with!(&self.series, set => set.remove(labels)))
    }

    /// Removes the series that are not in use; returns how many.
    pub(crate) fn remove_idle(&self, before: u32, now: u32) -> usize {
        with!(&self.series, set => set.remove_idle(before, now))
    }

    /// Counts labels that were turned away; returns whether they are the first.
    pub(crate) fn reject_labels(&self, labels: &str) -> bool {
        let before = self.overflowed.fetch_add(1, Ordering::Relaxed);
        // Clients may cause this on all threads at once: none of them waits for a rough count.
        match self.top_overflow.try_lock() {
            Ok(mut top) => top.count(labels),
            Err(TryLockError::Poisoned(top)) => top.into_inner().count(labels),
            Err(TryLockError::WouldBlock) => {}
        }
        before == 0
    }

    /// Returns the number of overflow series, which is at most one. It does not count towards the
    /// limit.
    pub(crate) fn overflows(&self, is_there: impl FnOnce(&str) -> bool) -> usize {
        let overflow = self.overflow.get();
        usize::from(overflow.is_some_and(|labels| is_there(labels)))
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    pub(crate) fn top(&self) -> MutexGuard<'_, SpaceSaving> {
        self.top_overflow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
