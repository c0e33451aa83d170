use std::time::SystemTime;

use crate::report::Report;

/// The state of the SLOs over a calendar month, independent of their own windows; from
/// [`ServiceLevels::monthly_report`](crate::ServiceLevels::monthly_report).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MonthlyReport {
    /// The month, such as `2026-11`.
    pub month: String,
    /// The time zone of the month.
    pub zone: String,
    /// The start of the month.
    pub from: SystemTime,
    /// The end of the month.
    pub until: SystemTime,
    /// Whether the month has ended.
    pub is_final: bool,
    /// The SLOs, except percentiles, whose counts are not retained for a month. Budgets have no
    /// burn rates.
    pub report: Report,
}
