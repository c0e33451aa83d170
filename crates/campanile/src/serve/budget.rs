use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::clock::{later, now};
use crate::last_work::LastWork;

/// The time of a stop, from the signal on.
///
/// The last part of it is for what follows the requests: cutting those in progress, the last
/// notifications and writes, the last exports, and the end of the log.
#[derive(Debug)]
pub(super) struct Budget {
    total: Duration,
    begun: Option<Instant>,
}

/// The time for what follows the requests, if a third of the total is not less.
const AFTER_REQUESTS: Duration = Duration::from_secs(8);

fn after_requests(total: Duration) -> Duration {
    AFTER_REQUESTS.min(total / 3)
}

/// Returns the limits of the work after the requests.
///
/// Of the 8 s, the cut has 1 s, the last notifications and writes 3 s, the last exports 1 s, and the
/// end of the log, when its guard is dropped, 3 s.
pub(super) fn last_work(total: Duration) -> LastWork {
    let after = after_requests(total);
    LastWork {
        work: after / 8 * 3,
        export: after / 8,
    }
}

impl Budget {
    pub(super) fn new(total: Duration) -> Self {
        Self { total, begun: None }
    }

    /// Begins with the first signal.
    pub(super) fn begin(&mut self) {
        self.begun.get_or_insert_with(now);
    }

    /// Returns the time for the drain delay and the requests in progress.
    pub(super) fn of_requests(&self) -> Duration {
        self.total - after_requests(self.total)
    }

    /// Waits until the time for the requests is over.
    pub(super) async fn end_of_requests(&self) {
        match self.begun {
            Some(begun) => sleep_until(later(begun, self.of_requests())).await,
            None => pending().await,
        }
    }

    /// Returns the time for cutting what is in progress.
    pub(super) fn of_cut(&self) -> Duration {
        after_requests(self.total) / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_stop_are_its_whole() {
        for total in [0, 1, 9, 25, 300].map(Duration::from_secs) {
            let (budget, last) = (Budget::new(total), last_work(total));
            let end_of_log = after_requests(total) / 8 * 3;
            let work = last.work + last.export + end_of_log;
            let parts = budget.of_requests() + budget.of_cut() + work;
            assert!(parts <= total, "{parts:?} of {total:?}");
        }
        let budget = Budget::new(Duration::from_secs(25));
        assert_eq!(budget.of_requests(), Duration::from_secs(17));
        // A limit that never ends does not overflow.
        assert!(Budget::new(Duration::MAX).of_requests() > Duration::from_secs(1 << 40));
    }
}
