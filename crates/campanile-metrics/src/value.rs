use std::sync::atomic::{AtomicU64, Ordering};

use crate::encode::Encoder;
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::Value;

/// A value that series may have.
pub(crate) trait MetricValue: Sized {
    const KIND: Kind;
    /// The maximum number of series of a family, whatever the registry's limit.
    const MAX_SERIES: usize = usize::MAX;
    /// Whether values of several series can be summed in an overflow series.
    const IS_SUMMABLE: bool = true;
    /// How much longer a line takes to write than one of a counter.
    const WEIGHT: usize = 1;

    fn read(&self) -> Value;

    /// Reads it for who shows it to others, which makes a difference for exemplars.
    fn show(&self) -> Value {
        self.read()
    }

    /// Writes the lines of a series with this value.
    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>);
}

/// Adds to a float that is kept as bits.
#[inline]
pub(crate) fn add(bits: &AtomicU64, by: f64) {
    let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
    // The closure never refuses, so neither does the update.
    let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
}

macro_rules! debug_by_value {
    ($($type:ident),+) => {
        $(impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.value()).finish()
            }
        })+
    };
}

pub(crate) use debug_by_value;
