use campanile_series::Now;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::ServiceLevels;
use crate::active_slo::ActiveSlo;
use crate::error::MonthlyReportError;
use crate::monthly_report::MonthlyReport;
use crate::report::{Report, SloReport};
use crate::time::{from_millis, to_millis};
use crate::window::{Window, month_bounds};
use crate::windows::MAX_WINDOW;

impl ServiceLevels {
    /// Returns the report of a calendar month, such as `2026-11`, in a time zone: the current
    /// month, or one of the last 93 days.
    ///
    /// Counts are retained per hour in UTC. In a time zone whose offset is not a whole hour, such
    /// as India's, the hour in which a month starts counts in the reports of both months.
    ///
    /// # Errors
    ///
    /// Returns an error if the month or the time zone is not valid, or if the counts of the month
    /// are not retained.
    pub fn monthly_report(
        &self,
        month: &str,
        zone: &str,
    ) -> Result<MonthlyReport, MonthlyReportError> {
        self.monthly_report_at(month, zone, Now::system())
    }

    /// Returns the report of a month, as [`monthly_report`](Self::monthly_report) does, at a time.
    ///
    /// # Errors
    ///
    /// As [`monthly_report`](Self::monthly_report).
    pub fn monthly_report_at(
        &self,
        month: &str,
        zone: &str,
        now: Now,
    ) -> Result<MonthlyReport, MonthlyReportError> {
        let invalid = || MonthlyReportError::Month {
            month: month.chars().take(64).collect(),
        };
        let first = parse(month).ok_or_else(invalid)?;
        let time_zone = TimeZone::get(zone).map_err(|_| MonthlyReportError::Zone {
            zone: zone.chars().take(64).collect(),
        })?;
        let bounds = month_bounds(&time_zone, first, 1).ok_or_else(invalid)?;
        let wall = to_millis(now.wall);
        if bounds.from > wall || bounds.from + MAX_WINDOW < wall {
            return Err(MonthlyReportError::NotRetained {
                month: month.to_owned(),
            });
        }
        let window = Window::month(zone);
        let report = |slo: &ActiveSlo| -> Option<SloReport> {
            let indicator = &self.0.indicators[slo.indicator];
            let windows = indicator.stream.windows(now.mono);
            slo.monthly_report(indicator, &windows, (&window, bounds))
        };
        let slos = self.0.slos.iter().filter_map(report).collect();
        let (from, until) = (from_millis(bounds.from), from_millis(bounds.until));
        let mut maintenance = self.maintenance().clone();
        maintenance.retain(|window| window.from < until && window.until > from);
        Ok(MonthlyReport {
            month: month.to_owned(),
            zone: zone.to_owned(),
            from,
            until,
            is_final: bounds.until <= wall,
            report: Report::new(slos, maintenance, now.wall),
        })
    }
}

/// Parses a month, and returns its first day.
fn parse(month: &str) -> Option<Date> {
    let (year, number) = month.split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || number.len() != 2 || !is_number(year) || !is_number(number) {
        return None;
    }
    Date::new(year.parse().ok()?, number.parse().ok()?, 1).ok()
}
