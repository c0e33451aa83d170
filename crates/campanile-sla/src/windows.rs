use std::time::Duration;

use crate::ring::{Reading, Ring};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The longest window.
pub(crate) const LONGEST: Duration = Duration::from_millis(30 * 24 * HOUR);
/// From here on the wall clock was set, or the machine was suspended.
const STEP: u64 = 2 * SECOND;

/// All that is counted, by time. Times are in milliseconds since 1970, by a clock of its own: it starts with the wall clock, is
/// driven by the monotonic one, and never goes back.
#[derive(Debug)]
pub(crate) struct Windows {
    rings: [Ring; 4],
    /// How far time is known to have come.
    time: u64,
    /// What the clock shows at the origin of the monotonic times that it is given.
    offset: u64,
}

impl Windows {
    /// Starts at a time of the wall clock, at the origin of the monotonic times.
    pub(crate) fn new(wall: u64) -> Self {
        Self {
            rings: [
                Ring::new(SECOND, 2 * MINUTE),
                Ring::new(10 * SECOND, HOUR),
                Ring::new(5 * MINUTE, 24 * HOUR),
                Ring::new(HOUR, 30 * 24 * HOUR),
            ],
            time: wall,
            offset: wall,
        }
    }

    /// Adds what was counted in the second of a monotonic time.
    pub(crate) fn add(&mut self, mono: u64, reading: Reading) {
        let time = self.offset.saturating_add(mono);
        for ring in &mut self.rings {
            ring.add(time, reading);
        }
    }

    /// Comes to a monotonic time; the time up to it was watched.
    pub(crate) fn advance(&mut self, mono: u64) {
        let time = self.offset.saturating_add(mono).max(self.time);
        for ring in &mut self.rings {
            ring.cover(self.time, time);
        }
        self.time = time;
    }

    /// Compares with the wall clock, having come to the same moment: what it is ahead was not watched.
    pub(crate) fn compare(&mut self, wall: u64) {
        if wall > self.time.saturating_add(STEP) {
            self.jump(wall);
        }
    }

    /// Returns what was counted in the last so much time.
    pub(crate) fn last(&self, window: Duration) -> Reading {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let ring = self.rings.iter().find(|ring| window <= ring.span());
        let ring = ring.unwrap_or(&self.rings[self.rings.len() - 1]);
        ring.sum(self.time.saturating_sub(window), self.time)
    }

    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Takes in what was counted before, up to a time; if that has not come yet, the clock goes on from there.
    pub(crate) fn merge(
        &mut self,
        time: u64,
        readings: impl IntoIterator<Item = (usize, u64, Reading)>,
    ) {
        if time > self.time {
            self.jump(time);
        }
        for (ring, number, reading) in readings {
            let ring = &mut self.rings[ring];
            ring.add(number.saturating_mul(ring.width()), reading);
        }
    }

    fn jump(&mut self, time: u64) {
        self.offset = self.offset.saturating_add(time - self.time);
        self.time = time;
    }
}
