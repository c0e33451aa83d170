use std::sync::atomic::{AtomicU64, Ordering};

use crate::encode::Encoder;
use crate::kind::Kind;
use crate::series::Series;
use crate::snapshot::Value;

/// The value of a series of one kind.
pub(crate) trait MetricValue: Sized {
    const KIND: Kind;
    /// The maximum number of series of a family, whatever the limits of the registry.
    const MAX_SERIES: usize = usize::MAX;
    /// Whether an overflow series can sum several values.
    const IS_SUMMABLE: bool = true;
    /// The cost of encoding, relative to a counter.
    const WEIGHT: usize = 1;

    fn read(&self) -> Value;

    /// Reads the value for an exposition, which marks its exemplars as shown.
    fn show(&self) -> Value {
        self.read()
    }

    /// Writes the lines of a series.
    fn write(&self, series: &Series<Self>, encoder: &mut Encoder<'_>);
}

/// Adds to a float that is stored as bits.
#[inline]
pub(crate) fn add(bits: &AtomicU64, by: f64) {
    let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
    // The closure never returns `None`, so the update succeeds.
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
