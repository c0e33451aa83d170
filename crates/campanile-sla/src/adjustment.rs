use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use campanile_series::Now;

use crate::error::AdjustError;
use crate::time::{from_millis, to_millis};
use crate::windows::MAX_WINDOW;

/// Failures to exclude from an SLO; for
/// [`ServiceLevels::exclude_failures`](crate::ServiceLevels::exclude_failures).
///
/// A reason and an author are required.
///
/// ```
/// use std::time::SystemTime;
///
/// use campanile_sla::Adjustment;
///
/// let adjustment = Adjustment::new(SystemTime::now(), 120)
///     .reason("load test")
///     .author("ada");
/// assert_eq!(adjustment.bad, 120);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Adjustment {
    /// The time of the failures. They are excluded from each window that contains this time.
    pub at: SystemTime,
    /// The number of excluded failures, in the unit of [`SloReport::bad`](crate::SloReport::bad).
    pub bad: u64,
    /// The reason.
    pub reason: String,
    /// The author of the decision.
    pub author: String,
}

impl Adjustment {
    /// Creates an adjustment that excludes `bad` failures around the time `at`.
    ///
    /// The number is limited to the failures around `at` that no other adjustment excludes: the
    /// failures in its bucket and in the two adjacent ones. A [bucket](crate#windows) has 10 s
    /// within the last hour, 5 min within the last day, and 1 h before. Failures over a longer time
    /// require several adjustments.
    #[must_use]
    pub fn new(at: SystemTime, bad: u64) -> Self {
        Self {
            at,
            bad,
            reason: String::new(),
            author: String::new(),
        }
    }

    /// Sets the reason: 1 to 1,024 characters.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets the author of the decision: 1 to 128 characters.
    #[must_use]
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = author.into();
        self
    }

    /// Returns the adjustment with its time in whole milliseconds, if it is valid.
    pub(crate) fn checked(mut self, now: u64) -> Result<Self, AdjustError> {
        check_texts(&self.reason, &self.author)?;
        let at = to_millis(self.at);
        if self.bad == 0 {
            return Err(AdjustError::Nothing);
        }
        if at > now || at.saturating_add(MAX_WINDOW) < now {
            return Err(AdjustError::At { at: self.at });
        }
        self.at = from_millis(at);
        Ok(self)
    }
}

/// A period in which no SLO counts events or time; for
/// [`ServiceLevels::schedule_maintenance`](crate::ServiceLevels::schedule_maintenance).
///
/// A reason and an author are required.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MaintenanceWindow {
    /// The start.
    pub from: SystemTime,
    /// The end.
    pub until: SystemTime,
    /// The reason.
    pub reason: String,
    /// The author of the decision.
    pub author: String,
}

impl MaintenanceWindow {
    /// Creates a maintenance window: at most 31 days, starting now or later.
    ///
    /// Both times are exact to the second. A start of up to five seconds ago is treated as now.
    #[must_use]
    pub fn new(from: SystemTime, until: SystemTime) -> Self {
        Self {
            from,
            until,
            reason: String::new(),
            author: String::new(),
        }
    }

    /// Sets the reason: 1 to 1,024 characters.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets the author of the decision: 1 to 128 characters.
    #[must_use]
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = author.into();
        self
    }

    /// Returns the window with its times in whole milliseconds, if it is valid.
    pub(crate) fn checked(mut self, now: Now) -> Result<Self, AdjustError> {
        check_texts(&self.reason, &self.author)?;
        let since = now.wall.duration_since(self.from);
        if since.is_ok_and(|ago| ago <= START_TOLERANCE) {
            self.from = now.wall;
        }
        let (from, until) = self.bounds();
        if self.from < now.wall {
            return Err(AdjustError::From { from: self.from });
        }
        if until <= from || until - from > MAX_MAINTENANCE {
            return Err(AdjustError::Until { until: self.until });
        }
        (self.from, self.until) = (from_millis(from), from_millis(until));
        Ok(self)
    }

    pub(crate) fn bounds(&self) -> (u64, u64) {
        (to_millis(self.from), to_millis(self.until))
    }
}

/// The limit of adjustments of an SLO, and of maintenance windows.
const MAX_ENTRIES: usize = 1_000;
/// A caller that schedules maintenance from now on has read the clock before this crate does.
const START_TOLERANCE: Duration = Duration::from_secs(5);
/// The longest maintenance, in milliseconds: 31 days.
const MAX_MAINTENANCE: u64 = 31 * 24 * 60 * 60 * 1_000;

/// Inserts an entry into a sorted list, and drops the entries that are older than any window.
pub(crate) fn add<T: Ord>(
    entries: &mut Vec<T>,
    entry: T,
    now: u64,
    end: impl Fn(&T) -> SystemTime,
) -> Result<(), AdjustError> {
    let oldest = from_millis(now.saturating_sub(MAX_WINDOW));
    entries.retain(|entry| end(entry) >= oldest);
    match entries.binary_search(&entry) {
        Ok(_) => return Err(AdjustError::Duplicate),
        Err(_) if entries.len() >= MAX_ENTRIES => return Err(AdjustError::TooMany),
        Err(at) => entries.insert(at, entry),
    }
    Ok(())
}

/// Returns the latest entries without duplicates, at most [`MAX_ENTRIES`], in ascending order.
pub(crate) fn united<T: Ord>(mut entries: Vec<T>) -> Vec<T> {
    entries.sort_unstable();
    entries.dedup();
    entries.drain(..entries.len().saturating_sub(MAX_ENTRIES));
    entries
}

/// Returns the maintenance windows without duplicates. Of two that differ in their end only, the
/// one that ends first is kept, because it was ended early.
pub(crate) fn merged(windows: Vec<MaintenanceWindow>) -> Vec<MaintenanceWindow> {
    let mut ends = BTreeMap::new();
    for MaintenanceWindow {
        from,
        until,
        reason,
        author,
    } in windows
    {
        let end = ends.entry((from, reason, author)).or_insert(until);
        *end = until.min(*end);
    }
    let windows = ends
        .into_iter()
        .map(|((from, reason, author), until)| MaintenanceWindow {
            from,
            until,
            reason,
            author,
        });
    united(windows.collect())
}

fn check_texts(reason: &str, author: &str) -> Result<(), AdjustError> {
    for (field, value, limit) in [("reason", reason, 1_024), ("author", author, 128)] {
        if value.trim().is_empty() || value.chars().count() > limit {
            return Err(AdjustError::Text {
                field,
                value: value.chars().take(64).collect(),
                limit,
            });
        }
    }
    Ok(())
}
