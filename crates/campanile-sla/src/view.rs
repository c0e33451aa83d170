use super::milliseconds;
use crate::adjustment::Adjustment;
use crate::ring::Reading;
use crate::windows::Windows;

/// What an objective is judged by: what was counted, without what was forgiven.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) windows: &'a Windows,
    pub(super) adjustments: &'a [Adjustment],
}

impl<'a> View<'a> {
    #[cfg(test)]
    pub(crate) fn new(windows: &'a Windows) -> Self {
        Self {
            windows,
            adjustments: &[],
        }
    }

    /// Returns the counts of the last milliseconds.
    pub(crate) fn last(self, window: u64) -> Reading {
        let time = self.windows.time();
        self.between(time.saturating_sub(window), time)
    }

    /// Returns what was counted from one moment to another.
    pub(crate) fn between(self, from: u64, to: u64) -> Reading {
        let forgiven = self.adjustments(from, to).map(|adjustment| adjustment.bad);
        let forgiven = forgiven.fold(0, u64::saturating_add);
        self.windows.between(from, to).forgive(forgiven)
    }

    /// Returns what was counted up to now since each of some moments, which are the later the earlier they come.
    pub(crate) fn since(self, moments: &[u64]) -> Vec<Reading> {
        let counted = self.windows.since(moments.iter().copied());
        let forgiven = |from: u64| {
            let bad = self.adjustments(from, self.time()).map(|one| one.bad);
            bad.fold(0, u64::saturating_add)
        };
        let readings = moments.iter().zip(counted);
        readings
            .map(|(from, reading)| reading.forgive(forgiven(*from)))
            .collect()
    }

    /// Returns what was forgiven of that.
    pub(super) fn adjustments(self, from: u64, to: u64) -> impl Iterator<Item = &'a Adjustment> {
        // What is in the bucket that the window begins in is counted, and so forgiven; and the wall clock may be a little ahead of ours.
        let until = if to < self.time() { to } else { u64::MAX };
        let window = self.windows.reach(from)..=until;
        let all = self.adjustments.iter();
        all.filter(move |adjustment| window.contains(&milliseconds(adjustment.at)))
    }

    pub(crate) fn time(self) -> u64 {
        self.windows.time()
    }
}
