use tokio::time::Instant;

/// The good and failed requests of each recent second.
#[derive(Debug)]
pub(super) struct Window {
    start: Instant,
    /// A ring buffer: the index of a second is the second modulo the length.
    seconds: Vec<Second>,
}

#[derive(Clone, Debug)]
struct Second {
    /// The second since the start; `None` if unused.
    number: Option<u64>,
    good: u32,
    failed: u32,
}

impl Second {
    fn new(number: Option<u64>) -> Self {
        Self {
            number,
            good: 0,
            failed: 0,
        }
    }
}

impl Window {
    pub(super) fn new(seconds: usize, now: Instant) -> Self {
        Self {
            start: now,
            seconds: vec![Second::new(None); seconds.max(1)],
        }
    }

    pub(super) fn record(&mut self, is_good: bool, now: Instant) {
        let number = self.second(now);
        let length = self.seconds.len();
        let second = &mut self.seconds[(number % length as u64) as usize];
        if second.number != Some(number) {
            *second = Second::new(Some(number));
        }
        let count = match is_good {
            true => &mut second.good,
            false => &mut second.failed,
        };
        *count = count.saturating_add(1);
    }

    /// Returns the good and failed requests of the last seconds, including the current one.
    pub(super) fn counts(&self, seconds: u64, now: Instant) -> (u32, u32) {
        let first = self.second(now).saturating_sub(seconds - 1);
        let recent = self.seconds.iter();
        let recent = recent.filter(|second| second.number.is_some_and(|number| number >= first));
        recent.fold((0, 0), |(good, failed): (u32, u32), second| {
            (
                good.saturating_add(second.good),
                failed.saturating_add(second.failed),
            )
        })
    }

    /// Returns the length in seconds.
    pub(super) fn length(&self) -> u64 {
        self.seconds.len() as u64
    }

    /// Removes the requests before a second.
    pub(super) fn forget_before(&mut self, first: u64) {
        for second in &mut self.seconds {
            if second.number.is_some_and(|number| number < first) {
                *second = Second::new(None);
            }
        }
    }

    /// Returns the number of the current second.
    pub(super) fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }
}
