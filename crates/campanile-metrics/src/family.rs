use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cell::{Counter, CounterCell, Gauge, GaugeCell, HistogramCell};
use crate::snapshot::{Kind, SeriesSnapshot, Value};

/// All series of one name, whatever their kind.
pub(crate) struct Family {
    /// The name as it was first given, before invalid characters were replaced.
    pub(crate) raw_name: Box<str>,
    pub(crate) series: AnySeries,
    /// How often a new series was turned away to the overflow series.
    pub(crate) overflowed: AtomicU64,
    /// The label text of the overflow series: one for the family, whatever labels are turned away later.
    pub(crate) overflow: OnceLock<Arc<str>>,
}

pub(crate) enum AnySeries {
    Counter(Series<CounterCell>),
    Gauge(Series<GaugeCell>),
    Histogram(Series<HistogramCell>),
}

/// Series by their label text.
pub(crate) type Series<C> = RwLock<BTreeMap<Arc<str>, Arc<C>>>;

/// A value that series may have.
pub(crate) trait Cell: Sized {
    const KIND: Kind;

    fn series(any: &AnySeries) -> Option<&Series<Self>>;

    fn any(series: Series<Self>) -> AnySeries;
}

macro_rules! cell {
    ($($kind:ident $cell:ty),+) => {
        $(impl Cell for $cell {
            const KIND: Kind = Kind::$kind;

            fn series(any: &AnySeries) -> Option<&Series<Self>> {
                match any {
                    AnySeries::$kind(series) => Some(series),
                    _ => None,
                }
            }

            fn any(series: Series<Self>) -> AnySeries {
                AnySeries::$kind(series)
            }
        })+
    };
}

cell!(Counter CounterCell, Gauge GaugeCell, Histogram HistogramCell);

impl Family {
    pub(crate) fn new<C: Cell>(raw_name: &str) -> Self {
        Self {
            raw_name: raw_name.into(),
            series: C::any(Series::default()),
            overflowed: AtomicU64::new(0),
            overflow: OnceLock::new(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.series {
            AnySeries::Counter(_) => Kind::Counter,
            AnySeries::Gauge(_) => Kind::Gauge,
            AnySeries::Histogram(_) => Kind::Histogram,
        }
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, labels: &str) -> Option<Value> {
        match &self.series {
            AnySeries::Counter(series) => read(series).get(labels).map(|cell| Counter::read(cell)),
            AnySeries::Gauge(series) => read(series).get(labels).map(|cell| Gauge::read(cell)),
            AnySeries::Histogram(series) => read(series)
                .get(labels)
                .map(|cell| Value::Histogram(cell.read())),
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<SeriesSnapshot> {
        match &self.series {
            AnySeries::Counter(series) => snapshot(series, Counter::read),
            AnySeries::Gauge(series) => snapshot(series, Gauge::read),
            AnySeries::Histogram(series) => snapshot(series, |cell| Value::Histogram(cell.read())),
        }
    }
}

fn snapshot<C>(series: &Series<C>, value: impl Fn(&C) -> Value) -> Vec<SeriesSnapshot> {
    let series = read(series);
    series
        .iter()
        .map(|(labels, cell)| SeriesSnapshot {
            labels: Arc::clone(labels),
            value: value(cell),
        })
        .collect()
}

/// Locks to read. Nothing that can panic runs under these locks, so a poisoned one is as good as any.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks to write.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
