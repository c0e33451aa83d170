use crate::adjustment::Adjustment;
use crate::counts::SliCounts;
use crate::time::to_millis;
use crate::windows::Windows;

/// The counts of an SLO without its excluded failures.
#[derive(Clone, Copy)]
pub(crate) struct AdjustedCounts<'a> {
    windows: &'a Windows,
    adjustments: &'a [Adjustment],
}

impl<'a> AdjustedCounts<'a> {
    pub(crate) fn new(windows: &'a Windows, adjustments: &'a [Adjustment]) -> Self {
        Self {
            windows,
            adjustments,
        }
    }

    /// Returns the counts of the last `window` milliseconds.
    pub(crate) fn last(self, window: u64) -> SliCounts {
        let time = self.windows.time();
        self.between(time.saturating_sub(window), time)
    }

    /// Returns the counts between two times, in milliseconds since 1970.
    pub(crate) fn between(self, from: u64, to: u64) -> SliCounts {
        let excluded = self.excluded(from, to);
        self.windows.between(from, to).subtract_bad(excluded)
    }

    /// Returns the counts since each of several start times, which must be in descending order.
    pub(crate) fn since(self, starts: &[u64]) -> Vec<SliCounts> {
        let counted = self.windows.since(starts.iter().copied());
        let counts = starts.iter().zip(counted);
        counts
            .map(|(from, counts)| counts.subtract_bad(self.excluded(*from, self.time())))
            .collect()
    }

    /// Returns the adjustments that apply to a span of time.
    pub(crate) fn adjustments(self, from: u64, to: u64) -> impl Iterator<Item = &'a Adjustment> {
        // The counts include the whole bucket in which the span starts, so its adjustments apply
        // too. The wall clock of an adjustment may be slightly ahead of the clock of the windows.
        let until = if to < self.time() { to } else { u64::MAX };
        let span = self.windows.reach(from)..=until;
        let adjustments = self.adjustments.iter();
        adjustments.filter(move |adjustment| span.contains(&to_millis(adjustment.at)))
    }

    pub(crate) fn time(self) -> u64 {
        self.windows.time()
    }

    fn excluded(self, from: u64, to: u64) -> u64 {
        let bad = self.adjustments(from, to).map(|adjustment| adjustment.bad);
        bad.fold(0, u64::saturating_add)
    }
}
