use std::ops::AddAssign;
use std::time::Duration;

/// What was counted in a time: exchanges, or what else an objective [counts](crate::Slo).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    /// The sum of latencies, in nanoseconds.
    pub(crate) latency: u64,
    /// In milliseconds.
    pub(crate) covered: u64,
}

impl Reading {
    /// Returns how many valid ones were good.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Returns how many valid ones were bad.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// Returns how many were valid.
    pub fn valid(&self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// Returns how much of the time was watched.
    pub fn covered(&self) -> Duration {
        Duration::from_millis(self.covered)
    }

    /// Returns the share of the valid ones that were bad, from 0 to 1; `None` if there were none.
    pub fn error_rate(&self) -> Option<f64> {
        (self.valid() > 0).then(|| self.bad as f64 / self.valid() as f64)
    }

    /// Returns the mean latency of the valid ones; `None` if there were none.
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latency
            .checked_div(self.valid())
            .map(Duration::from_nanos)
    }

    /// Returns the valid ones for each second that was watched; `None` if no time was.
    pub fn throughput(&self) -> Option<f64> {
        (self.covered > 0).then(|| self.valid() as f64 / self.covered().as_secs_f64())
    }
}

impl Reading {
    /// Returns the reading of one valid thing.
    pub(crate) fn one(good: bool, latency: Duration) -> Self {
        Self {
            good: good.into(),
            bad: (!good).into(),
            latency: u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX),
            covered: 0,
        }
    }

    /// Removes a number of bad events.
    pub(crate) fn forgive(mut self, bad: u64) -> Self {
        self.bad = self.bad.saturating_sub(bad);
        self
    }
}

impl AddAssign for Reading {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
        self.latency = self.latency.saturating_add(other.latency);
        self.covered = self.covered.saturating_add(other.covered);
    }
}

/// The latest buckets of one width. A bucket's number is its time since 1970 in widths.
#[derive(Debug)]
pub(crate) struct Ring {
    /// In milliseconds.
    width: u64,
    buckets: Box<[Reading]>,
    /// The number of the newest bucket.
    newest: u64,
}

impl Ring {
    /// Returns a ring for windows up to a span, in milliseconds; one more bucket is for the one that the window's start falls into.
    pub(crate) fn new(width: u64, span: u64) -> Self {
        let buckets = usize::try_from(span.div_ceil(width)).unwrap_or(usize::MAX) + 1;
        Self {
            width,
            buckets: vec![Reading::default(); buckets].into(),
            newest: 0,
        }
    }

    /// Adds to the bucket of a time, in milliseconds since 1970, unless it is older than all that are kept.
    pub(crate) fn add(&mut self, time: u64, reading: Reading) {
        let number = time / self.width;
        self.advance(number);
        let width = self.width;
        if let Some(bucket) = self.bucket(number) {
            *bucket += reading;
            // Two processes may have watched the same time, and a snapshot with more than there is can't be read.
            bucket.covered = bucket.covered.min(width);
        }
    }

    /// Comes to a time; what has passed since another one is told to a closure, bucket by bucket.
    pub(crate) fn cover(&mut self, from: u64, to: u64, passed: impl Fn(&mut Reading, u64)) {
        self.advance(to / self.width);
        let oldest = (self.newest + 1).saturating_sub(self.len()) * self.width;
        let mut from = from.max(oldest);
        while from < to {
            let end = (from / self.width + 1) * self.width;
            let time = end.min(to) - from;
            if let Some(bucket) = self.bucket(from / self.width) {
                passed(bucket, time);
            }
            from = end;
        }
    }

    /// Returns what was counted in the buckets from that of one moment on to that of another.
    pub(crate) fn sum(&self, from: u64, to: u64) -> Reading {
        let oldest = (self.newest + 1).saturating_sub(self.len());
        let (first, last) = ((from / self.width).max(oldest), to / self.width);
        self.run(first, last.min(self.newest))
    }

    /// Returns what was counted from one bucket to another that comes no later than the newest.
    fn run(&self, first: u64, last: u64) -> Reading {
        let mut sum = Reading::default();
        if first > last {
            return sum;
        }
        // In two runs, since what follows the last place is at the first.
        let (first, last) = (self.place(first), self.place(last));
        let (before, after) = match first <= last {
            true => (&self.buckets[first..=last], &[][..]),
            false => (&self.buckets[first..], &self.buckets[..=last]),
        };
        for reading in before.iter().chain(after) {
            sum += *reading;
        }
        sum
    }

    /// Returns what was counted up to the newest bucket since a moment, where it is known what was counted since a later one.
    pub(crate) fn sum_more(&self, from: u64, (later, known): (u64, Reading)) -> Reading {
        let oldest = (self.newest + 1).saturating_sub(self.len());
        let (first, later) = (
            (from / self.width).max(oldest),
            (later / self.width).max(oldest),
        );
        if later == 0 || later > self.newest {
            return self.run(first, self.newest);
        }
        let mut sum = self.run(first, later - 1);
        sum += known;
        sum
    }

    /// Returns a ring with the same counts at other times.
    pub(crate) fn moved(&self, to: impl Fn(u64) -> u64) -> Self {
        let mut ring = Self::new(self.width, self.span());
        for (number, reading) in self.filled() {
            ring.add(to(number * self.width), *reading);
        }
        ring
    }

    /// Returns the number and the contents of each bucket that has some.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u64, &Reading)> {
        let oldest = (self.newest + 1).saturating_sub(self.len());
        let buckets =
            (oldest..=self.newest).map(|number| (number, &self.buckets[self.place(number)]));
        buckets.filter(|(_, reading)| **reading != Reading::default())
    }

    /// Returns the longest window, in milliseconds.
    pub(crate) fn span(&self) -> u64 {
        (self.len() - 1) * self.width
    }

    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    fn advance(&mut self, number: u64) {
        if number <= self.newest {
            return;
        }
        let first = (self.newest + 1).max((number + 1).saturating_sub(self.len()));
        for number in first..=number {
            let place = self.place(number);
            self.buckets[place] = Reading::default();
        }
        self.newest = number;
    }

    fn bucket(&mut self, number: u64) -> Option<&mut Reading> {
        let is_kept = number <= self.newest && number + self.len() > self.newest;
        let place = self.place(number);
        is_kept.then(|| &mut self.buckets[place])
    }

    fn place(&self, number: u64) -> usize {
        // Less than the number of buckets.
        (number % self.len()) as usize
    }

    fn len(&self) -> u64 {
        self.buckets.len() as u64
    }
}
