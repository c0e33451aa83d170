use crate::counts::SliCounts;

/// The latest buckets of one width.
///
/// A bucket's number is its start, in widths since 1970.
#[derive(Debug)]
pub(crate) struct Ring {
    /// In milliseconds.
    width: u64,
    buckets: Box<[SliCounts]>,
    /// The number of the newest bucket.
    newest: u64,
}

impl Ring {
    /// Creates a ring for windows of up to `span` milliseconds. An additional bucket contains the
    /// start of the longest window.
    pub(crate) fn new(width: u64, span: u64) -> Self {
        let buckets = usize::try_from(span.div_ceil(width)).unwrap_or(usize::MAX) + 1;
        Self {
            width,
            buckets: vec![SliCounts::default(); buckets].into(),
            newest: 0,
        }
    }

    /// Adds counts to the bucket of a time, in milliseconds since 1970. Counts older than the ring
    /// are dropped.
    pub(crate) fn add(&mut self, time: u64, counts: SliCounts) {
        let number = time / self.width;
        self.advance(number);
        let width = self.width;
        if let Some(bucket) = self.bucket(number) {
            *bucket += counts;
            // Two processes may have observed the same time, and a snapshot with an impossible
            // cover is rejected.
            bucket.covered = bucket.covered.min(width);
        }
    }

    /// Advances to a time, and calls `passed` with the time that has passed in each bucket.
    pub(crate) fn cover(&mut self, from: u64, to: u64, passed: impl Fn(&mut SliCounts, u64)) {
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

    /// Returns the counts of the buckets that contain the times `from` and `to`, and of those
    /// between.
    pub(crate) fn sum(&self, from: u64, to: u64) -> SliCounts {
        let oldest = (self.newest + 1).saturating_sub(self.len());
        let (first, last) = ((from / self.width).max(oldest), to / self.width);
        self.run(first, last.min(self.newest))
    }

    /// Returns the counts of the buckets from `first` to `last`, which is at most the newest.
    fn run(&self, first: u64, last: u64) -> SliCounts {
        let mut sum = SliCounts::default();
        if first > last {
            return sum;
        }
        // The ring wraps around after its last place.
        let (first, last) = (self.place(first), self.place(last));
        let (before, after) = match first <= last {
            true => (&self.buckets[first..=last], &[][..]),
            false => (&self.buckets[first..], &self.buckets[..=last]),
        };
        for counts in before.iter().chain(after) {
            sum += *counts;
        }
        sum
    }

    /// Returns the counts since a time, given those since a later time.
    pub(crate) fn sum_more(&self, from: u64, (later, known): (u64, SliCounts)) -> SliCounts {
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

    /// Returns a ring with the same counts at mapped times.
    pub(crate) fn moved(&self, to: impl Fn(u64) -> u64) -> Self {
        let mut ring = Self::new(self.width, self.span());
        for (number, counts) in self.filled() {
            ring.add(to(number * self.width), *counts);
        }
        ring
    }

    /// Returns the number and the counts of each bucket that is not empty.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u64, &SliCounts)> {
        let oldest = (self.newest + 1).saturating_sub(self.len());
        let buckets =
            (oldest..=self.newest).map(|number| (number, &self.buckets[self.place(number)]));
        buckets.filter(|(_, counts)| **counts != SliCounts::default())
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
            self.buckets[place] = SliCounts::default();
        }
        self.newest = number;
    }

    fn bucket(&mut self, number: u64) -> Option<&mut SliCounts> {
        let is_kept = number <= self.newest && number + self.len() > self.newest;
        let place = self.place(number);
        is_kept.then(|| &mut self.buckets[place])
    }

    fn place(&self, number: u64) -> usize {
        // The remainder is below the number of buckets.
        (number % self.len()) as usize
    }

    fn len(&self) -> u64 {
        self.buckets.len() as u64
    }
}
