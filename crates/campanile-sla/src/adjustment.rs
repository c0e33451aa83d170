use std::time::SystemTime;

use campanile_series::Now;

use crate::UnknownObjective;
use crate::objective::{milliseconds, moment};
use crate::windows::LONGEST;

/// Failures that an objective is not charged with, who decided that, and why; for [`Sla::adjust`](crate::Sla::adjust).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Adjustment {
    /// The moment of the failures: windows that have it are adjusted.
    pub at: SystemTime,
    /// How many bad ones don't count, in the unit that the objective [counts](crate::ObjectiveReport::samples).
    pub bad: u64,
    /// Why: 1 to 1,024 characters.
    pub reason: String,
    /// Who decided it: 1 to 128 characters.
    pub author: String,
}

/// A time in which nothing counts, neither as good nor as bad nor as watched; for [`Sla::maintain`](crate::Sla::maintain).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maintenance {
    /// When it begins, to the second.
    pub from: SystemTime,
    /// When it is over, to the second.
    pub until: SystemTime,
    /// Why: 1 to 1,024 characters.
    pub reason: String,
    /// Who decided it: 1 to 128 characters.
    pub author: String,
}

/// The most adjustments of an objective, and the most times of maintenance, that are kept.
const MOST: usize = 1_000;

/// An adjustment or a time of maintenance was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdjustError {
    /// There is no objective of the name.
    #[error(transparent)]
    Unknown(#[from] UnknownObjective),
    /// The objective has no budget.
    #[error(
        "the objective {name:?} has no error budget: adjust one that allows a share of failures"
    )]
    NoBudget {
        /// The objective.
        name: String,
    },
    /// The reason or the author is empty or too long.
    #[error("the {field} {value:?} is not valid: give 1 to {most} characters")]
    Text {
        /// Which of them.
        field: &'static str,
        /// Its beginning.
        value: String,
        /// How many characters it may have.
        most: usize,
    },
    /// The failures are none, have not happened yet, or are longer ago than any window.
    #[error("the adjustment is not valid: give at least one failure of the last 93 days")]
    Adjustment,
    /// The maintenance has begun, ends before it begins, or takes more than 31 days.
    #[error(
        "the maintenance is not valid: give a beginning that is still to come, and an end at most 31 days after it; what has happened is adjusted"
    )]
    Maintenance,
    /// There are too many of them.
    #[error("there are 1000 already: an old one goes once no window has its time any more")]
    TooMany,
}

impl Adjustment {
    pub(crate) fn check(&self, now: u64) -> Result<(), AdjustError> {
        check_texts(&self.reason, &self.author)?;
        let at = milliseconds(self.at);
        if self.bad == 0 || at > now || at + LONGEST < now {
            return Err(AdjustError::Adjustment);
        }
        Ok(())
    }
}

impl Maintenance {
    pub(crate) fn check(&self, now: Now) -> Result<(), AdjustError> {
        check_texts(&self.reason, &self.author)?;
        let (from, until) = self.bounds();
        if self.from < now.wall || until <= from || until - from > MONTH {
            return Err(AdjustError::Maintenance);
        }
        Ok(())
    }

    pub(crate) fn bounds(&self) -> (u64, u64) {
        (milliseconds(self.from), milliseconds(self.until))
    }
}

const MONTH: u64 = 31 * 24 * 60 * 60 * 1_000;

/// Adds one to those that there are, in their order, without the ones that no window has any more.
pub(crate) fn add<T: Ord>(
    all: &mut Vec<T>,
    one: T,
    now: u64,
    until: impl Fn(&T) -> SystemTime,
) -> Result<(), AdjustError> {
    let oldest = moment(now.saturating_sub(LONGEST));
    all.retain(|one| until(one) >= oldest);
    if all.len() >= MOST {
        return Err(AdjustError::TooMany);
    }
    let at = all.partition_point(|other| *other <= one);
    all.insert(at, one);
    Ok(())
}

fn check_texts(reason: &str, author: &str) -> Result<(), AdjustError> {
    for (field, value, most) in [("reason", reason, 1_024), ("author", author, 128)] {
        if value.trim().is_empty() || value.chars().count() > most {
            return Err(AdjustError::Text {
                field,
                value: value.chars().take(64).collect(),
                most,
            });
        }
    }
    Ok(())
}
