use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use campanile_series::Now;

use crate::UnknownObjective;
use crate::objective::{milliseconds, moment};
use crate::windows::LONGEST;

/// Failures that an objective is not charged with, who decided that, and why; for [`Sla::adjust`](crate::Sla::adjust).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Adjustment {
    /// The time of the failures: windows that contain it are adjusted by all of them. Failures over a longer time take several adjustments.
    pub at: SystemTime,
    /// The number of failures that don't count, in the unit that the objective [counts](crate::ObjectiveReport::samples). It is at most the number of
    /// failures around `at` that no other adjustment excludes: in its bucket, the one before and the one after. Buckets are those of
    /// [windows](crate#windows): 10 s within the last hour, 5 min within a day, then 1 h.
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

/// The limit of adjustments of an objective, and that of times of maintenance.
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
    /// The failures are none.
    #[error("the adjustment's bad is 0: give how many failures don't count")]
    Nothing,
    /// There were fewer failures at that time.
    #[error(
        "the adjustment's bad {bad} is too many: expected at most {there_were}, the failures around that time that are not excluded yet"
    )]
    TooManyBad {
        /// The number as given.
        bad: u64,
        /// The number of failures that can be excluded.
        there_were: u64,
    },
    /// The moment is still to come, or longer ago than any window.
    #[error("the adjustment's at {at:?} is not valid: give a moment of the last 93 days")]
    At {
        /// The moment.
        at: SystemTime,
    },
    /// The same was decided already.
    #[error("the adjustment is there already: give another moment or reason if it is another one")]
    Duplicate,
    /// The maintenance has begun already.
    #[error(
        "the maintenance's from {from:?} is past: give now or later, and adjust what has happened"
    )]
    From {
        /// The beginning.
        from: SystemTime,
    },
    /// The maintenance ends before it begins, or takes too long.
    #[error(
        "the maintenance's until {until:?} is not valid: give a moment up to 31 days after from"
    )]
    Until {
        /// The end.
        until: SystemTime,
    },
    /// There are too many of them.
    #[error("there are 1000 already: an old one goes once no window has its time any more")]
    TooMany,
}

impl Adjustment {
    /// Returns it as it is kept: to the millisecond.
    pub(crate) fn checked(mut self, now: u64) -> Result<Self, AdjustError> {
        check_texts(&self.reason, &self.author)?;
        let at = milliseconds(self.at);
        if self.bad == 0 {
            return Err(AdjustError::Nothing);
        }
        if at > now || at.saturating_add(LONGEST) < now {
            return Err(AdjustError::At { at: self.at });
        }
        self.at = moment(at);
        Ok(self)
    }
}

impl Maintenance {
    /// Returns it as it is kept: to the millisecond, and from now on if it has just begun.
    pub(crate) fn checked(mut self, now: Now) -> Result<Self, AdjustError> {
        check_texts(&self.reason, &self.author)?;
        if now
            .wall
            .duration_since(self.from)
            .is_ok_and(|ago| ago <= JUST_NOW)
        {
            self.from = now.wall;
        }
        let (from, until) = self.bounds();
        if self.from < now.wall {
            return Err(AdjustError::From { from: self.from });
        }
        if until <= from || until - from > MONTH {
            return Err(AdjustError::Until { until: self.until });
        }
        (self.from, self.until) = (moment(from), moment(until));
        Ok(self)
    }

    pub(crate) fn bounds(&self) -> (u64, u64) {
        (milliseconds(self.from), milliseconds(self.until))
    }
}

/// Who plans something from now on has read the clock before we do.
const JUST_NOW: Duration = Duration::from_secs(5);
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
    match all.binary_search(&one) {
        Ok(_) => return Err(AdjustError::Duplicate),
        Err(_) if all.len() >= MOST => return Err(AdjustError::TooMany),
        Err(at) => all.insert(at, one),
    }
    Ok(())
}

/// Returns the last of those that are several lists' together, each once.
pub(crate) fn united<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all.drain(..all.len().saturating_sub(MOST));
    all
}

/// The same of maintenance, of which the one that was ended early is the one that holds.
pub(crate) fn merged(all: Vec<Maintenance>) -> Vec<Maintenance> {
    let mut ends = BTreeMap::new();
    for Maintenance {
        from,
        until,
        reason,
        author,
    } in all
    {
        let end = ends.entry((from, reason, author)).or_insert(until);
        *end = until.min(*end);
    }
    let all = ends
        .into_iter()
        .map(|((from, reason, author), until)| Maintenance {
            from,
            until,
            reason,
            author,
        });
    united(all.collect())
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
