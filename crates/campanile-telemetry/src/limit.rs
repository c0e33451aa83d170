use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A limit on the lines of each callsite per second.
pub(crate) struct Limit {
    per_second: NonZeroU32,
    callsites: Box<[Callsite]>,
    /// The number of suppressed lines.
    suppressed: AtomicU64,
}

/// The counts of one callsite.
#[derive(Default)]
struct Callsite {
    /// The address of the metadata; 0 if the entry is free.
    metadata: AtomicUsize,
    /// The second in the upper half, and the number of its lines in the lower half.
    logged: AtomicU64,
    suppressed: AtomicU64,
}

/// The limit of tracked callsites. Few programs have more.
const CALLSITES: usize = 4_096;

/// The number of entries that are tried for a callsite.
const PROBES: usize = 16;

impl Limit {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second,
            callsites: std::iter::repeat_with(Callsite::default)
                .take(CALLSITES)
                .collect(),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Returns the number of suppressed lines.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Admits or suppresses a line of the callsite with this metadata address. Returns the number
    /// of lines that were suppressed since the last admitted one, or `None` if this line is
    /// suppressed.
    pub(crate) fn admit(&self, address: usize, second: u64) -> Option<u64> {
        let Some(callsite) = self.callsite(address) else {
            return Some(0);
        };
        let second = second & u64::from(u32::MAX);
        let admitted =
            callsite
                .logged
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |logged| {
                    let (of, count) = (logged >> 32, logged & u64::from(u32::MAX));
                    // A thread that read the clock just before the second ended counts in the new
                    // one.
                    let is_late = of == second + 1;
                    let (of, count) = if of == second || is_late {
                        (of, count)
                    } else {
                        (second, 0)
                    };
                    (count < u64::from(self.per_second.get())).then_some(of << 32 | (count + 1))
                });
        match admitted {
            Ok(_) => Some(callsite.suppressed.swap(0, Ordering::Relaxed)),
            Err(_) => {
                callsite.suppressed.fetch_add(1, Ordering::Relaxed);
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn callsite(&self, address: usize) -> Option<&Callsite> {
        // Metadata are hundreds of bytes apart.
        let first = address >> 4;
        (first..first.wrapping_add(PROBES)).find_map(|at| {
            let callsite = &self.callsites[at % CALLSITES];
            let taken = callsite.metadata.compare_exchange(
                0,
                address,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            let is_mine = taken.map_or_else(|of| of == address, |_| true);
            is_mine.then_some(callsite)
        })
    }
}

impl std::fmt::Debug for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Limit").field(&self.per_second).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_lines_and_tells_what_was_left_out() {
        let limit = Limit::new(NonZeroU32::new(2).unwrap());
        let admit = |place: usize, second| limit.admit(place << 8, second);
        let four = [admit(1, 7), admit(1, 7), admit(1, 7), admit(1, 7)];
        assert_eq!(four, [Some(0), Some(0), None, None]);
        assert_eq!(admit(2, 7), Some(0));
        let next = [admit(1, 8), admit(1, 8), admit(1, 8)];
        assert_eq!(next, [Some(2), Some(0), None]);
        assert_eq!(admit(1, 9), Some(1));
        // A thread may come late with the second before; the clock may be set back.
        assert_eq!([admit(1, 8), admit(1, 9)], [Some(0), None]);
        assert_eq!(admit(1, 5), Some(1));
        // Those that find no place are not limited.
        for place in 1..20_000 {
            assert!(admit(place, 10).is_some());
        }
    }
}
