use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Importance, Status};

/// A change of a check's status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The check's name.
    pub check: Arc<str>,
    /// The check's importance.
    pub importance: Importance,
    /// The old status.
    pub from: Status,
    /// The new status.
    pub to: Status,
    /// The message of the check's last outcome, if there is one.
    pub reason: Option<Arc<str>>,
    /// The time of the change, by the wall clock.
    pub at: SystemTime,
}

/// A stream of the [transitions](Transition) of all checks, from
/// [`Health::transitions`](crate::Health::transitions).
#[derive(Debug)]
pub struct Transitions {
    receiver: broadcast::Receiver<Transition>,
    missed: u64,
}

/// The limit of transitions that are queued for a slow receiver.
pub(crate) const QUEUE_LENGTH: usize = 1_024;

impl Transitions {
    pub(crate) fn new(receiver: broadcast::Receiver<Transition>) -> Self {
        Self {
            receiver,
            missed: 0,
        }
    }

    /// Waits for the next transition. Returns `None` when every clone of the health is dropped.
    ///
    /// The queue holds 1,024 transitions. If it is full, the oldest one is dropped and counted.
    pub async fn next(&mut self) -> Option<Transition> {
        loop {
            match self.receiver.recv().await {
                Ok(transition) => return Some(transition),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns the number of transitions that were dropped because the queue was full.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
