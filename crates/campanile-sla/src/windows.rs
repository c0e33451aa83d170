use crate::counts::SliCounts;
use crate::ring::Ring;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The longest window, in milliseconds: 93 days. A quarter of 92 days and a daylight-saving hour
/// fits into it.
pub(crate) const MAX_WINDOW: u64 = 93 * DAY;
/// The lead of the wall clock from which it was set, or the machine was suspended.
const STEP: u64 = 2 * SECOND;
/// The lead of the wall clock from which it was set forward: no machine is suspended for longer.
const SET_FORWARD: u64 = 7 * DAY;
/// The lag of the wall clock from which it was set back. A shorter lag is ignored.
const SET_BACK: u64 = 5 * MINUTE;
/// The time for which the wall clock must differ before the counts are shifted.
const CONFIRMATION: u64 = MINUTE;
/// The time after a tick that is still observed. If the process stops for longer, the rest of that
/// time is unobserved.
pub(crate) const TICK_TIMEOUT: u64 = 30 * SECOND;

/// The latest supported time: the end of the year 9999.
pub(crate) const MAX_TIME: u64 = 253_402_300_799_999;

/// The widths of the buckets, each with its longest window.
const RINGS: [(u64, u64); 4] = [
    (SECOND, 2 * MINUTE),
    (10 * SECOND, HOUR),
    (5 * MINUTE, DAY),
    (HOUR, MAX_WINDOW),
];

/// Returns the longest window of buckets of a width, in milliseconds.
pub(crate) fn max_window(width: u64) -> u64 {
    let ring = RINGS.iter().find(|(ring_width, _)| *ring_width == width);
    ring.map_or(MAX_WINDOW, |(_, max)| *max)
}

/// The counts by time.
///
/// Times are in milliseconds since 1970. They are those of a private clock, which starts with the
/// wall clock, follows the monotonic clock, and never goes back.
#[derive(Debug)]
pub(crate) struct Windows {
    /// At least one, in ascending order of the bucket width.
    rings: Vec<Ring>,
    /// The current time.
    time: u64,
    /// The start of the process.
    start: u64,
    /// The start of the counts, including restored ones.
    since: u64,
    /// The time since which the wall clock differs too much.
    differs_since: Option<u64>,
    /// The number of steps of the wall clock.
    steps: u64,
    /// The time at the origin of the monotonic times.
    offset: u64,
    /// Whether time itself is good or bad, for an uptime.
    state: Option<bool>,
    /// The end of the observed time; `None` before the first tick, when all time is observed.
    observed_until: Option<u64>,
    /// The state of unobserved time while the process existed.
    unobserved: Option<bool>,
    /// The number of gaps between two ticks.
    stalls: u64,
    /// The maintenance windows, in ascending order.
    maintenance: Vec<(u64, u64)>,
    /// The cumulative counts at the last call of `add_up_to`.
    counted: SliCounts,
    /// The total counts since the process started.
    total: SliCounts,
}

impl Windows {
    /// Creates windows of these lengths, which start at the wall clock time `wall`. That is the
    /// time at the origin of the monotonic times.
    pub(crate) fn new(wall: u64, spans: &[u64]) -> Self {
        let wall = wall.min(MAX_TIME);
        let mut rings = Vec::new();
        let mut shortest = 0;
        for (width, longest) in RINGS {
            let needed = spans
                .iter()
                .filter(|span| (shortest + 1..=longest).contains(*span));
            rings.extend(needed.max().map(|span| Ring::new(width, *span)));
            shortest = longest;
        }
        Self {
            rings,
            time: wall,
            start: wall,
            since: wall,
            differs_since: None,
            steps: 0,
            offset: wall,
            state: None,
            observed_until: None,
            unobserved: None,
            stalls: 0,
            maintenance: Vec::new(),
            counted: SliCounts::default(),
            total: SliCounts::default(),
        }
    }

    /// Adds the counts of the second of a monotonic time.
    ///
    /// `counted` is cumulative; the difference to the last call is added.
    pub(crate) fn add_up_to(&mut self, mono: u64, counted: SliCounts) {
        let new = SliCounts {
            good: counted.good.wrapping_sub(self.counted.good),
            bad: counted.bad.wrapping_sub(self.counted.bad),
            latency: counted.latency.wrapping_sub(self.counted.latency),
            covered: 0,
        };
        self.counted = counted;
        if new != SliCounts::default() {
            self.add_at(self.offset.saturating_add(mono), new);
        }
    }

    /// Adds counts at a time, unless it is in a maintenance window.
    pub(crate) fn add_at(&mut self, time: u64, counts: SliCounts) {
        if self.is_in_maintenance(time) {
            return;
        }
        self.total += counts;
        for ring in &mut self.rings {
            ring.add(time, counts);
        }
    }

    /// Advances to a monotonic time. The time until then is observed, up to the timeout of the last
    /// tick.
    pub(crate) fn advance(&mut self, mono: u64) {
        let (from, to) = (self.time, self.offset.saturating_add(mono).max(self.time));
        let end = self.observed_until.unwrap_or(to).clamp(from, to);
        let observed = Elapsed {
            state: self.state,
            is_observed: true,
            of_process: true,
        };
        self.pass(from, end, observed);
        let unobserved = Elapsed {
            state: self.unobserved,
            is_observed: false,
            of_process: true,
        };
        self.pass(end, to, unobserved);
        self.time = to;
    }

    /// Extends the observed time by the tick timeout, and counts a stall if the last tick was too
    /// long ago.
    pub(crate) fn observe(&mut self) {
        if self.observed_until.is_some_and(|until| until < self.time) {
            self.stalls += 1;
        }
        self.observed_until = Some(self.time.saturating_add(TICK_TIMEOUT));
    }

    /// Returns the number of gaps between two ticks.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Sets the state of unobserved time.
    pub(crate) fn set_unobserved(&mut self, state: Option<bool>) {
        self.unobserved = state;
    }

    /// Sets whether the time from now on is good or bad, for an uptime.
    pub(crate) fn set_state(&mut self, state: Option<bool>) {
        self.state = state;
    }

    /// Compares the time with the wall clock, after `advance` to the same time.
    ///
    /// If the wall clock is ahead, the difference is unobserved time. If it stays more than a week
    /// ahead or 5 minutes behind for a minute, it was set, and all counts are shifted with it.
    /// Returns the milliseconds by which they were shifted.
    ///
    pub(crate) fn compare(&mut self, wall: u64) -> Option<i64> {
        // A machine without a hardware clock boots at 1970, before which counts can't be shifted.
        if wall < MAX_WINDOW {
            self.differs_since = None;
            return None;
        }
        let ahead = wall.saturating_sub(self.time);
        if ahead > SET_FORWARD || self.time.saturating_sub(wall) > SET_BACK {
            let since = *self.differs_since.get_or_insert(self.time);
            if self.time.saturating_sub(since) < CONFIRMATION {
                return None;
            }
            let before = self.time;
            self.differs_since = None;
            self.steps += 1;
            self.shift(wall.min(MAX_TIME));
            // Both times are below the year 10000.
            return Some(self.time as i64 - before as i64);
        }
        self.differs_since = None;
        if ahead > STEP {
            self.steps += 1;
            self.jump(wall);
        }
        None
    }

    /// Returns the number of detected steps of the wall clock, and suspends of the machine.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves to another time, with all counts.
    fn shift(&mut self, time: u64) {
        let moved = |at: u64, by: &Self| match time >= by.time {
            true => at.saturating_add(time - by.time),
            false => at.saturating_sub(by.time - time),
        };
        for number in 0..self.rings.len() {
            let ring = self.rings[number].moved(|at| moved(at, self));
            self.rings[number] = ring;
        }
        self.start = moved(self.start, self);
        self.since = moved(self.since, self);
        self.offset = moved(self.offset, self);
        self.observed_until = self.observed_until.map(|until| moved(until, self));
        self.time = time;
    }

    /// Returns the counts of a window up to now.
    pub(crate) fn last(&self, window: u64) -> SliCounts {
        self.between(self.time.saturating_sub(window), self.time)
    }

    /// Returns the counts between two times. The first is at most the longest window ago.
    pub(crate) fn between(&self, from: u64, to: u64) -> SliCounts {
        let ring = self.ring(from);
        ring.map(|ring| ring.sum(from, to)).unwrap_or_default()
    }

    /// Returns the counts since each of several start times, which must be in descending order.
    pub(crate) fn since(&self, starts: impl Iterator<Item = u64>) -> Vec<SliCounts> {
        let mut last = None;
        let since = starts.map(|from| {
            let Some(ring) = self.ring(from) else {
                return SliCounts::default();
            };
            let counts = match last {
                // A longer window over the same buckets extends the shorter one.
                Some((width, later, known)) if width == ring.width() && from <= later => {
                    ring.sum_more(from, (later, known))
                }
                _ => ring.sum(from, self.time),
            };
            last = Some((ring.width(), from, counts));
            counts
        });
        since.collect()
    }

    /// Returns the start of the bucket that contains the start of a window.
    pub(crate) fn reach(&self, from: u64) -> u64 {
        self.ring(from)
            .map_or(from, |ring| from / ring.width() * ring.width())
    }

    /// Returns the bounds of the bucket of a time and of the two adjacent ones, up to now.
    pub(crate) fn around(&self, at: u64) -> (u64, u64) {
        let width = self.ring(at).map_or(1, Ring::width);
        let first = at / width * width;
        let from = first.saturating_sub(width);
        (from, first.saturating_add(width * 2 - 1).min(self.time))
    }

    /// Returns the ring with the narrowest buckets that reaches back to a time.
    fn ring(&self, from: u64) -> Option<&Ring> {
        let age = self.time.saturating_sub(from);
        let ring = self.rings.iter().find(|ring| age <= ring.span());
        ring.or(self.rings.last())
    }

    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Returns the total counts since the process started, which only grow.
    pub(crate) fn total(&self) -> SliCounts {
        self.total
    }

    /// Returns the time at the origin of the monotonic times.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    pub(crate) fn maintenance(&self) -> &[(u64, u64)] {
        &self.maintenance
    }

    /// Sets the maintenance windows.
    pub(crate) fn set_maintenance(&mut self, times: &[(u64, u64)]) {
        self.maintenance = times.to_vec();
    }

    pub(crate) fn is_in_maintenance(&self, time: u64) -> bool {
        let mut times = self.maintenance.iter();
        times.any(|(from, to)| (*from..*to).contains(&time))
    }

    /// Continues after the last time of restored counts.
    ///
    /// The time since then is unobserved, but its state may be known to be bad.
    pub(crate) fn resume(&mut self, before: u64, state: Option<bool>) {
        let from = before.max(self.start.saturating_sub(MAX_WINDOW));
        let elapsed = Elapsed {
            state,
            is_observed: false,
            of_process: false,
        };
        self.pass(from, self.start, elapsed);
        if before > self.time {
            self.jump(before);
        }
    }

    /// Returns the start of the counts, including restored ones.
    pub(crate) fn since_when(&self) -> u64 {
        self.since
    }

    /// Moves the start of the counts to an earlier time.
    pub(crate) fn began(&mut self, time: u64) {
        self.since = self.since.min(time);
    }

    /// Adds restored buckets of a width.
    pub(crate) fn merge(&mut self, width: u64, buckets: impl Iterator<Item = (u64, SliCounts)>) {
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.width() == width) else {
            return;
        };
        for (number, counts) in buckets {
            ring.add(number.saturating_mul(width), counts);
        }
    }

    fn jump(&mut self, time: u64) {
        let time = time.min(MAX_TIME);
        let by = time.saturating_sub(self.time);
        self.offset = self.offset.saturating_add(by);
        self.observed_until = self.observed_until.map(|until| until.saturating_add(by));
        self.time = self.time.max(time);
    }

    /// Counts elapsed time, except maintenance.
    fn pass(&mut self, mut from: u64, to: u64, elapsed: Elapsed) {
        if from >= to {
            return;
        }
        for at in 0..self.maintenance.len() {
            let (start, end) = self.maintenance[at];
            if start < to && end > from {
                self.count_time(from, start.max(from), elapsed);
                from = end.min(to);
            }
        }
        self.count_time(from, to, elapsed);
    }

    fn count_time(&mut self, from: u64, to: u64, elapsed: Elapsed) {
        let count = |bucket: &mut SliCounts, time: u64| {
            let part = if elapsed.is_observed { time } else { 0 };
            *bucket += SliCounts {
                good: if elapsed.state == Some(true) { time } else { 0 },
                bad: if elapsed.state == Some(false) {
                    time
                } else {
                    0
                },
                covered: part,
                latency: 0,
            };
        };
        for ring in &mut self.rings {
            ring.cover(from, to, count);
        }
        // The total does not include the time before the process.
        if elapsed.of_process {
            count(&mut self.total, to.saturating_sub(from));
        }
    }
}

/// The state of elapsed time.
#[derive(Clone, Copy)]
struct Elapsed {
    /// Whether it was good, for an uptime.
    state: Option<bool>,
    is_observed: bool,
    /// Whether it elapsed while the process existed.
    of_process: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer windows that extend shorter ones have the same counts as those that are summed alone.
    #[test]
    fn longer_windows_extend_shorter_ones() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut windows = Windows::new(
                random.u64(..MAX_WINDOW * 2),
                &[120_000, HOUR, DAY, MAX_WINDOW],
            );
            let (mut mono, mut counted) = (0, SliCounts::default());
            for _ in 0..random.usize(..100) {
                let most = [SECOND, MINUTE, HOUR, DAY * 3][random.usize(..4)];
                mono += random.u64(..most);
                counted.good += random.u64(..5);
                counted.bad += random.u64(..5);
                windows.add_up_to(mono, counted);
                windows.advance(mono);
            }
            let mut spans: Vec<_> = (0..random.usize(1..12))
                .map(|_| {
                    let most = [MINUTE, HOUR, DAY, MAX_WINDOW + DAY][random.usize(..4)];
                    random.u64(1..most)
                })
                .collect();
            if random.bool() {
                spans.sort_unstable();
            }
            let starts = spans
                .iter()
                .map(|span| windows.time().saturating_sub(*span));
            let alone: Vec<_> = spans.iter().map(|span| windows.last(*span)).collect();
            assert_eq!(windows.since(starts), alone, "{seed}");
        }
    }
}
