use crate::ring::{Reading, Ring};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The longest window, in milliseconds: a quarter of 92 days whose clocks were set back by an hour fits into it.
pub(crate) const LONGEST: u64 = 93 * DAY;
/// From here on the wall clock was set, or the machine was suspended.
const STEP: u64 = 2 * SECOND;

/// The widths of buckets, and the longest window that each is for.
const RINGS: [(u64, u64); 4] = [
    (SECOND, 2 * MINUTE),
    (10 * SECOND, HOUR),
    (5 * MINUTE, DAY),
    (HOUR, LONGEST),
];

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
    /// What the clock shows at the origin of the monotonic times that it is given.
    offset: u64,
    /// Whether the time itself is good or bad.
    state: Option<bool>,
    /// Times in which nothing counts, in their order.
    maintenance: Vec<(u64, u64)>,
    /// All that was counted since it began.
    total: Reading,
}

impl Windows {
    /// Starts at a time of the wall clock, at the origin of the monotonic times, and keeps what windows of these lengths need.
    pub(crate) fn new(wall: u64, spans: &[u64]) -> Self {
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
            offset: wall,
            state: None,
            maintenance: Vec::new(),
            total: Reading::default(),
        }
    }

    /// Adds what was counted in the second of a monotonic time.
    pub(crate) fn add(&mut self, mono: u64, reading: Reading) {
        self.add_at(self.offset.saturating_add(mono), reading);
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

    /// Comes to a monotonic time. The time up to it was watched.
    pub(crate) fn advance(&mut self, mono: u64) {
        let (from, to) = (self.time, self.offset.saturating_add(mono).max(self.time));
        let state = self.state;
        self.pass(
            from,
            to,
            Watched {
                state,
                covered: true,
            },
        );
        self.time = to;
    }

    /// Says whether the time from now on counts itself, as good or as bad.
    pub(crate) fn set_state(&mut self, state: Option<bool>) {
        self.state = state;
    }

    /// Compares with the wall clock, having come to the same moment: what it is ahead was not watched.
    pub(crate) fn compare(&mut self, wall: u64) {
        if wall > self.time.saturating_add(STEP) {
            self.jump(wall);
        }
    }

    /// Returns what was counted in the last so much time.
    pub(crate) fn last(&self, window: u64) -> Reading {
        self.between(self.time.saturating_sub(window), self.time)
    }

    /// Returns what was counted from one moment to another, of which the first is not more than the longest window ago.
    pub(crate) fn between(&self, from: u64, to: u64) -> Reading {
        let age = self.time.saturating_sub(from);
        let ring = self.rings.iter().find(|ring| age <= ring.span());
        let ring = ring.or(self.rings.last());
        ring.map(|ring| ring.sum(from, to)).unwrap_or_default()
    }

    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Returns all that was counted since it began, of which nothing is ever taken back.
    pub(crate) fn total(&self) -> Reading {
        self.total
    }

    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Sets the times in which nothing counts.
    pub(crate) fn maintain(&mut self, times: &[(u64, u64)]) {
        self.maintenance = times.to_vec();
    }

    fn is_maintained(&self, time: u64) -> bool {
        let mut times = self.maintenance.iter();
        times.any(|(from, to)| (*from..*to).contains(&time))
    }

    /// Goes on from the time of what was counted before, if it is later. The time between was not watched, but may be known to have been bad.
    pub(crate) fn resume(&mut self, before: u64, state: Option<bool>) {
        let covered = false;
        self.pass(before, self.start, Watched { state, covered });
        if before > self.time {
            self.jump(before);
        }
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
        self.offset = self.offset.saturating_add(time - self.time);
        self.time = time;
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
            if watched.covered {
                bucket.covered += time;
            }
            match watched.state {
                Some(true) => bucket.good += time,
                Some(false) => bucket.bad += time,
                None => {}
            }
        };
        for ring in &mut self.rings {
            ring.cover(from, to, count);
        }
        count(&mut self.total, to.saturating_sub(from));
    }
}

/// What is known of a time that has passed.
#[derive(Clone, Copy)]
struct Watched {
    /// Whether it was good, if the time itself counts.
    state: Option<bool>,
    covered: bool,
}
