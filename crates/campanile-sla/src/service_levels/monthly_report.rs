//! What a month was like.

use std::time::SystemTime;

use campanile_series::Now;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Sla;
use crate::objective::{milliseconds, moment};
use crate::report::ObjectiveReport;
use crate::window::month_bounds;
use crate::windows::LONGEST;
use crate::{Report, Window};

/// How the objectives stood in a month of the calendar, whatever their own windows are; from [`Sla::statement`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statement {
    /// The month, such as `2026-11`.
    pub month: String,
    /// The time zone whose month it is.
    pub zone: String,
    /// When it began.
    pub from: SystemTime,
    /// When it ended, or will end.
    pub until: SystemTime,
    /// Whether it is over.
    pub is_final: bool,
    /// The objectives, without percentiles, of which no month is kept. Of their budgets it says what was used.
    pub report: Report,
}

/// There can be no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The month is none.
    #[error("the month {month:?} is not valid: give a year and a month, such as 2026-11")]
    Month {
        /// The month as given.
        month: String,
    },
    /// The time zone is not known.
    #[error("the time zone {zone:?} is not known: give UTC, or a name such as Europe/Berlin")]
    Zone {
        /// The zone as given.
        zone: String,
    },
    /// The month has not begun, or is longer ago than what is kept.
    #[error("nothing is kept of the month {month:?}: give this one or one of the two before")]
    Gone {
        /// The month.
        month: String,
    },
}

impl Sla {
    /// Returns how the objectives stood in a month, such as `2026-11`, in a time zone: this month's, and those before it as far as 93 days
    /// have them.
    ///
    /// Counts are kept by the hour in UTC. In a zone whose offset has half or quarter hours, such as India's, the hour in which a month begins is
    /// in the statements of both months.
    ///
    /// # Errors
    ///
    /// If it is no month or no zone, or nothing is kept of the month.
    pub fn statement(
        &self,
        month: &str,
        zone: &str,
        now: Now,
    ) -> Result<Statement, StatementError> {
        let invalid = || StatementError::Month {
            month: month.chars().take(64).collect(),
        };
        let first = parse(month).ok_or_else(invalid)?;
        let zone_of = TimeZone::get(zone).map_err(|_| StatementError::Zone {
            zone: zone.chars().take(64).collect(),
        })?;
        let bounds = month_bounds(&zone_of, first, 1).ok_or_else(invalid)?;
        let wall = milliseconds(now.wall);
        if bounds.from > wall || bounds.from + LONGEST < wall {
            return Err(StatementError::Gone {
                month: month.to_owned(),
            });
        }
        let window = Window::month(zone);
        let statement = |objective: &crate::objective::Objective| -> Option<ObjectiveReport> {
            let source = &self.0.sources[objective.source];
            objective.statement(source, &source.stream.windows(now.mono), (&window, bounds))
        };
        let objectives = self.0.objectives.iter().filter_map(statement).collect();
        let (from, until) = (moment(bounds.from), moment(bounds.until));
        let mut maintenance = self.maintenance().clone();
        maintenance.retain(|one| one.from < until && one.until > from);
        Ok(Statement {
            month: month.to_owned(),
            zone: zone.to_owned(),
            from,
            until,
            is_final: bounds.until <= wall,
            report: Report::new(objectives, maintenance, now.wall),
        })
    }
}

/// Reads a month, and returns its first day.
fn parse(month: &str) -> Option<Date> {
    let (year, number) = month.split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || number.len() != 2 || !is_number(year) || !is_number(number) {
        return None;
    }
    Date::new(year.parse().ok()?, number.parse().ok()?, 1).ok()
}
