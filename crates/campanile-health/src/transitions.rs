use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Importance, Status};

/// A check is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The check.
    pub check: Arc<str>,
    /// What it means for the service.
    pub importance: Importance,
    /// How it was.
    pub from: Status,
    /// How it is.
    pub to: Status,
    /// What the check said, if it said anything.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock.
    pub at: SystemTime,
}

/// What becomes of the checks, one after the other; from [`Health::transitions`](crate::Health::transitions).
#[derive(Debug)]
pub struct Transitions {
    receiver: broadcast::Receiver<Transition>,
    missed: u64,
}

/// How many wait for who doesn't take them.
pub(crate) const WAITING: usize = 1_024;

impl Transitions {
    pub(crate) fn new(receiver: broadcast::Receiver<Transition>) -> Self {
        Self {
            receiver,
            missed: 0,
        }
    }

    /// Waits for the next one; `None` once the health is gone. At most 1,024 are queued; the oldest are dropped and counted.
    pub async fn next(&mut self) -> Option<Transition> {
        loop {
            match self.receiver.recv().await {
                Ok(transition) => return Some(transition),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns how many went by before they were taken.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
