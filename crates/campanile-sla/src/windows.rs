use crate::ring::{Reading, Ring};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The longest window, in milliseconds: a quarter of 92 days whose clocks were set back by an hour fits into it.
pub(crate) const LONGEST: u64 = 93 * DAY;
/// From here on the wall clock was set, or the machine was suspended.
const STEP: u64 = 2 * SECOND;
/// No machine is suspended for longer: from here on the clock was set forward.
const SET_FORWARD: u64 = 7 * DAY;
/// From here on the clock was set back. By less, time waits for it.
const SET_BACK: u64 = 5 * MINUTE;
/// How long the clock has to say so before it is believed.
const BELIEVED: u64 = MINUTE;
/// How long after a look the time is still watched. A process that was stopped for longer says nothing of that time.
pub(crate) const WATCHED: u64 = 30 * SECOND;

/// The end of the year 9999: no time is later.
pub(crate) const LATEST: u64 = 253_402_300_799_999;

/// The widths of buckets, and the longest window that each is for.
const RINGS: [(u64, u64); 4] = [
    (SECOND, 2 * MINUTE),
    (10 * SECOND, HOUR),
    (5 * MINUTE, DAY),
    (HOUR, LONGEST),
];

/// Returns the longest window of buckets of a width, in milliseconds.
pub(crate) fn longest(width: u64) -> u64 {
    let ring = RINGS.iter().find(|(of_ring, _)| *of_ring == width);
    ring.map_or(LONGEST, |(_, longest)| *longest)
}

/// All that is counted, by time. Times are in milliseconds since 1970, by a clock of its own: it starts with the wall clock, is
/// driven by the monotonic one, and never goes back.
#[derive(Debug)]
pub(crate) struct Windows {
    /// From the narrowest buckets to the widest; at least one.
    rings: Vec<Ring>,
    /// How far time is known to have come.
    time: u64,
    /// When it began.
    start: u64,
    /// The beginning of the counts, including restored ones.
    since: u64,
    /// The time, by this clock, since which the wall clock differs by too much.
    doubts: Option<u64>,
    /// The number of steps of the wall clock.
    steps: u64,
    /// What the clock shows at the origin of the monotonic times that it is given.
    offset: u64,
    /// Whether the time itself is good or bad.
    state: Option<bool>,
    /// Until when the time is watched; for good before the first look.
    watched: Option<u64>,
    /// The state of time in the process's life that was not watched.
    unwatched: Option<bool>,
    /// The number of gaps between two looks.
    stalls: u64,
    /// Times in which nothing counts, in their order.
    maintenance: Vec<(u64, u64)>,
    /// All that was counted when it was last asked for.
    counted: Reading,
    /// All that counts since it began.
    total: Reading,
}

impl Windows {
    /// Starts at a time of the wall clock, at the origin of the monotonic times, and keeps what windows of these lengths need.
    pub(crate) fn new(wall: u64, spans: &[u64]) -> Self {
        let wall = wall.min(LATEST);
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
            doubts: None,
            steps: 0,
            offset: wall,
            state: None,
            watched: None,
            unwatched: None,
            stalls: 0,
            maintenance: Vec::new(),
            counted: Reading::default(),
            total: Reading::default(),
        }
    }

    /// Adds what was counted in the second of a monotonic time: all that was counted so far, without what was when this was last asked for.
    pub(crate) fn add_up_to(&mut self, mono: u64, counted: Reading) {
        let new = Reading {
            good: counted.good.wrapping_sub(self.counted.good),
            bad: counted.bad.wrapping_sub(self.counted.bad),
            latency: counted.latency.wrapping_sub(self.counted.latency),
            covered: 0,
        };
        self.counted = counted;
        if new != Reading::default() {
            self.add_at(self.offset.saturating_add(mono), new);
        }
    }

    /// Adds what was counted at a time.
    pub(crate) fn add_at(&mut self, time: u64, reading: Reading) {
        if self.is_maintained(time) {
            return;
        }
        self.total += reading;
        for ring in &mut self.rings {
            ring.add(time, reading);
        }
    }

    /// Comes to a monotonic time. The time up to it was watched, as far as the last look reaches.
    pub(crate) fn advance(&mut self, mono: u64) {
        let (from, to) = (self.time, self.offset.saturating_add(mono).max(self.time));
        let end = self.watched.unwrap_or(to).clamp(from, to);
        let watched = Watched {
            state: self.state,
            covered: true,
            of_process: true,
        };
        self.pass(from, end, watched);
        let unwatched = Watched {
            state: self.unwatched,
            covered: false,
            of_process: true,
        };
        self.pass(end, to, unwatched);
        self.time = to;
    }

    /// Watches the time for a while from now on, and counts a stall if the last look was too long ago.
    pub(crate) fn look(&mut self) {
        if self.watched.is_some_and(|watched| watched < self.time) {
            self.stalls += 1;
        }
        self.watched = Some(self.time.saturating_add(WATCHED));
    }

    /// Returns the number of gaps between two looks.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Sets the state of time that was not watched.
    pub(crate) fn set_unwatched(&mut self, state: Option<bool>) {
        self.unwatched = state;
    }

    /// Says whether the time from now on counts itself, as good or as bad.
    pub(crate) fn set_state(&mut self, state: Option<bool>) {
        self.state = state;
    }

    /// Compares with the wall clock, after `advance` to the same time. If the clock is ahead, that time was not watched. If it is more than a week
    /// ahead or 5 minutes behind for a minute, it was set: all counts move with it, and keep their ages.
    ///
    /// Returns by how much they went, if they did.
    pub(crate) fn compare(&mut self, wall: u64) -> Option<i64> {
        // A machine without a clock boots at 1970, where there is no room for the ages of the counts.
        if wall < LONGEST {
            self.doubts = None;
            return None;
        }
        let ahead = wall.saturating_sub(self.time);
        if ahead > SET_FORWARD || self.time.saturating_sub(wall) > SET_BACK {
            let since = *self.doubts.get_or_insert(self.time);
            if self.time.saturating_sub(since) < BELIEVED {
                return None;
            }
            let before = self.time;
            self.doubts = None;
            self.steps += 1;
            self.shift(wall.min(LATEST));
            // Both are below the year 10000.
            return Some(self.time as i64 - before as i64);
        }
        self.doubts = None;
        if ahead > STEP {
            self.steps += 1;
            self.jump(wall);
        }
        None
    }

    /// Returns how often the wall clock was found to have been set, or the machine to have been suspended.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes to another time with all that was counted.
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
        self.watched = self.watched.map(|watched| moved(watched, self));
        self.time = time;
    }

    /// Returns the counts of a window up to now.
    pub(crate) fn last(&self, window: u64) -> Reading {
        self.between(self.time.saturating_sub(window), self.time)
    }

    /// Returns what was counted from one moment to another, of which the first is not more than the longest window ago.
    pub(crate) fn between(&self, from: u64, to: u64) -> Reading {
        let ring = self.ring(from);
        ring.map(|ring| ring.sum(from, to)).unwrap_or_default()
    }

    /// Returns what was counted up to now since each of some moments, which are the later the earlier they come.
    pub(crate) fn since(&self, moments: impl Iterator<Item = u64>) -> Vec<Reading> {
        let mut last = None;
        let since = moments.map(|from| {
            let Some(ring) = self.ring(from) else {
                return Reading::default();
            };
            let reading = match last {
                // The longer window of the same buckets is the shorter one and some more.
                Some((width, later, known)) if width == ring.width() && from <= later => {
                    ring.sum_more(from, (later, known))
                }
                _ => ring.sum(from, self.time),
            };
            last = Some((ring.width(), from, reading));
            reading
        });
        since.collect()
    }

    /// Returns where the bucket begins that a moment falls into, if what was counted since then is asked for.
    pub(crate) fn reach(&self, from: u64) -> u64 {
        self.ring(from)
            .map_or(from, |ring| from / ring.width() * ring.width())
    }

    /// Returns the time from one bucket before a moment to one after it, in the narrowest buckets that there are for it; nothing of the future.
    pub(crate) fn around(&self, at: u64) -> (u64, u64) {
        let width = self.ring(at).map_or(1, Ring::width);
        let first = at / width * width;
        let from = first.saturating_sub(width);
        (from, first.saturating_add(width * 2 - 1).min(self.time))
    }

    /// Returns the ring with the narrowest buckets that goes back to a moment.
    fn ring(&self, from: u64) -> Option<&Ring> {
        let age = self.time.saturating_sub(from);
        let ring = self.rings.iter().find(|ring| age <= ring.span());
        ring.or(self.rings.last())
    }

    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Returns all that was counted since it began, of which nothing is ever taken back.
    pub(crate) fn total(&self) -> Reading {
        self.total
    }

    /// Returns what the clock showed at the origin of the monotonic times.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    pub(crate) fn maintenance(&self) -> &[(u64, u64)] {
        &self.maintenance
    }

    /// Sets the times in which nothing counts.
    pub(crate) fn maintain(&mut self, times: &[(u64, u64)]) {
        self.maintenance = times.to_vec();
    }

    pub(crate) fn is_maintained(&self, time: u64) -> bool {
        let mut times = self.maintenance.iter();
        times.any(|(from, to)| (*from..*to).contains(&time))
    }

    /// Goes on from the time of what was counted before, if it is later. The time between was not watched, but may be known to have been bad.
    pub(crate) fn resume(&mut self, before: u64, state: Option<bool>) {
        let from = before.max(self.start.saturating_sub(LONGEST));
        let watched = Watched {
            state,
            covered: false,
            of_process: false,
        };
        self.pass(from, self.start, watched);
        if before > self.time {
            self.jump(before);
        }
    }

    /// Returns the beginning of the counts, including restored ones.
    pub(crate) fn since_when(&self) -> u64 {
        self.since
    }

    /// Sets the beginning of the counts to a time, unless it is earlier already.
    pub(crate) fn began(&mut self, time: u64) {
        self.since = self.since.min(time);
    }

    /// Takes in what was counted before in buckets of a width.
    pub(crate) fn merge(&mut self, width: u64, buckets: impl Iterator<Item = (u64, Reading)>) {
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.width() == width) else {
            return;
        };
        for (number, reading) in buckets {
            ring.add(number.saturating_mul(width), reading);
        }
    }

    fn jump(&mut self, time: u64) {
        let time = time.min(LATEST);
        let by = time.saturating_sub(self.time);
        self.offset = self.offset.saturating_add(by);
        self.watched = self.watched.map(|watched| watched.saturating_add(by));
        self.time = self.time.max(time);
    }

    /// Lets time pass, without that in which nothing counts.
    fn pass(&mut self, mut from: u64, to: u64, watched: Watched) {
        if from >= to {
            return;
        }
        for at in 0..self.maintenance.len() {
            let (start, end) = self.maintenance[at];
            if start < to && end > from {
                self.stretch(from, start.max(from), watched);
                from = end.min(to);
            }
        }
        self.stretch(from, to, watched);
    }

    fn stretch(&mut self, from: u64, to: u64, watched: Watched) {
        let count = |bucket: &mut Reading, time: u64| {
            let part = if watched.covered { time } else { 0 };
            *bucket += Reading {
                good: if watched.state == Some(true) { time } else { 0 },
                bad: if watched.state == Some(false) {
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
        // What was before the process is not of it.
        if watched.of_process {
            count(&mut self.total, to.saturating_sub(from));
        }
    }
}

/// What is known of a time that has passed.
#[derive(Clone, Copy)]
struct Watched {
    /// Whether it was good, if the time itself counts.
    state: Option<bool>,
    covered: bool,
    /// Whether it passed while the process ran.
    of_process: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows that are summed up from shorter ones are the same as those that are summed up on their own.
    #[test]
    fn longer_windows_are_shorter_ones_and_more() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut windows =
                Windows::new(random.u64(..LONGEST * 2), &[120_000, HOUR, DAY, LONGEST]);
            let (mut mono, mut counted) = (0, Reading::default());
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
                    let most = [MINUTE, HOUR, DAY, LONGEST + DAY][random.usize(..4)];
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
