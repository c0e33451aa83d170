use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::counts::SliCounts;
use crate::slo::Bound;
use crate::stream::Stream;
use crate::windows::Windows;

/// The time slices of a gauge, each of which counts as good or bad.
#[derive(Debug)]
pub(crate) struct Slices {
    bound: Bound,
    /// The length of a slice, in milliseconds.
    width: u64,
    current: Mutex<Option<Slice>>,
}

/// The current slice.
#[derive(Clone, Copy, Debug)]
struct Slice {
    number: u64,
    sum: f64,
    values: u64,
}

impl Slices {
    pub(crate) fn new(bound: Bound, slice: Duration) -> Self {
        Self {
            bound,
            width: u64::try_from(slice.as_millis()).unwrap_or(u64::MAX),
            current: Mutex::new(None),
        }
    }

    /// Adds a value of the gauge; NaN is ignored.
    pub(crate) fn observe(&self, stream: &Stream, value: f64, at: Instant) {
        let mut windows = stream.windows(at);
        self.settle(&mut windows);
        if value.is_nan() {
            return;
        }
        let number = windows.time() / self.width;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let slice = current.get_or_insert(Slice {
            number,
            sum: 0.0,
            values: 0,
        });
        slice.sum += value;
        slice.values += 1;
    }

    /// Counts the current slice if it has ended. A slice that is in the future, because the clock
    /// was set back, is dropped.
    pub(crate) fn settle(&self, windows: &mut Windows) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = windows.time() / self.width;
        let slice = current.take_if(|slice| slice.number != now);
        let Some(slice) = slice.filter(|slice| slice.number < now) else {
            return;
        };
        let is_good = self.bound.holds(slice.sum / slice.values as f64);
        let counts = SliCounts {
            good: is_good.into(),
            bad: (!is_good).into(),
            ..SliCounts::default()
        };
        // Counted at its end, so that cumulative counters grow when the time has passed.
        windows.add_at((slice.number + 1).saturating_mul(self.width), counts);
    }
}
