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

/// All series of one name, of any kind.
pub(crate) struct AnyFamily {
    /// The exported name.
    pub(crate) name: Arc<str>,
    /// The name as it was first given, without replacements and suffixes.
    pub(crate) raw_name: Box<str>,
    pub(crate) series: AnySeries,
    /// The labels of the overflow series. A family has one overflow series.
    pub(crate) overflow: OnceLock<Arc<str>>,
    /// The number of rejected new series.
    overflowed: AtomicU64,
    /// The most frequently rejected label sets.
    rejected: Mutex<SpaceSaving>,
    /// Whether the family was removed from the registry. A caller that still has it then looks the
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

        /// Evaluates an expression for the series of any kind.
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

/// The number of series that are read under one lock.
const PIECE: usize = 1_000;

impl AnyFamily {
    pub(crate) fn new<C: StoredValue>(name: Arc<str>, raw_name: &str) -> Self {
        Self {
            name,
            raw_name: raw_name.into(),
            series: C::any(SeriesSet::default()),
            overflow: OnceLock::new(),
            overflowed: AtomicU64::new(0),
            rejected: Mutex::default(),
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

    /// Returns the maximum number of series for this kind, whatever the limits of the registry.
    pub(crate) fn cap(&self) -> usize {
        fn cap<C: MetricValue>(_: &SeriesSet<C>) -> usize {
            C::MAX_SERIES
        }
        with!(&self.series, set => cap(set))
    }

    /// Marks the family as removed if it has no series. Returns whether it did.
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

    /// Returns all series. `shows` selects whether exemplars are marked as shown. The lock is held
    /// for some of the series at a time, so that new series wait for microseconds only.
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

    /// Writes the lines of the series after a label set, until the text has this length. Then it
    /// returns the labels of the last series.
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

    /// Removes the series with these labels if it is not in use. Returns the number of removed
    /// series.
    #[cfg(feature = "business")]
    pub(crate) fn remove(&self, labels: &str) -> usize {
        usize::from(with!(&self.series, set => set.remove(labels)))
    }

    /// Removes the series that are not in use. Returns their number.
    pub(crate) fn remove_idle(&self, before: u32, now: u32) -> usize {
        with!(&self.series, set => set.remove_idle(before, now))
    }

    /// Counts a rejected label set. Returns whether it is the first.
    pub(crate) fn reject_labels(&self, labels: &str) -> bool {
        let before = self.overflowed.fetch_add(1, Ordering::Relaxed);
        // Clients may cause this on all threads at once, so no thread waits for an estimate.
        match self.rejected.try_lock() {
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
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
