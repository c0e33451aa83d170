use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use campanile_http::TraceRef;

use crate::clock;

/// The sample that represents a bucket, and its trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) value: f64,
    pub(crate) trace: TraceRef,
    /// In milliseconds since the Unix epoch.
    pub(crate) at: u64,
}

/// The exemplar of a bucket: the greatest sample since the last exposition. It stays until a new
/// sample replaces it, so several Prometheus servers can read it.
pub(crate) struct ExemplarCell {
    /// The bits of the float that a new sample must exceed.
    bar: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl ExemplarCell {
    pub(crate) fn offer(&self, value: f64, trace: TraceRef) {
        if !self.is_above(value) {
            return;
        }
        let mut exemplar = self.exemplar();
        // Another thread may have stored a greater sample.
        if self.is_above(value) {
            self.bar.store(value.to_bits(), Ordering::Relaxed);
            let at = clock::milliseconds();
            *exemplar = Some(Exemplar { value, trace, at });
        }
    }

    /// Returns the exemplar. Any later sample may replace it.
    pub(crate) fn show(&self) -> Option<Exemplar> {
        let exemplar = self.exemplar();
        self.bar
            .store(f64::NEG_INFINITY.to_bits(), Ordering::Relaxed);
        *exemplar
    }

    /// Returns the exemplar.
    pub(crate) fn get(&self) -> Option<Exemplar> {
        *self.exemplar()
    }

    fn is_above(&self, value: f64) -> bool {
        value > f64::from_bits(self.bar.load(Ordering::Relaxed))
    }

    fn exemplar(&self) -> MutexGuard<'_, Option<Exemplar>> {
        self.exemplar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ExemplarCell {
    fn default() -> Self {
        Self {
            bar: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            exemplar: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU128;

    use super::*;

    #[test]
    fn the_greatest_since_the_last_page_is_shown_until_another_comes() {
        let cell = ExemplarCell::default();
        let offer = |value, id| {
            cell.offer(value, TraceRef::new(NonZeroU128::new(id).unwrap(), true));
        };
        let shown = || {
            cell.show()
                .map(|shown| (shown.value, shown.trace.trace_id()))
        };
        assert_eq!(shown(), None);
        offer(0.5, 1);
        offer(0.9, 2);
        offer(0.7, 3);
        assert_eq!([shown(), shown()], [Some((0.9, 2)); 2]);
        offer(0.1, 4);
        offer(0.1, 5);
        assert_eq!(shown(), Some((0.1, 4)));
        assert!(cell.show().unwrap().at > 1_700_000_000_000);
    }
}
