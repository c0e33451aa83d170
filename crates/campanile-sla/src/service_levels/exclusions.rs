//! Excluded failures and maintenance.

use campanile_series::Now;

use super::ServiceLevels;
use crate::adjustment::{self, Adjustment, MaintenanceWindow};
use crate::error::AdjustError;
use crate::time::{from_millis, to_millis};

impl ServiceLevels {
    /// Excludes past failures of an SLO, for example those of a load test.
    ///
    /// The adjustment is part of the report, with its author and reason. Future failures can't be
    /// excluded: at least as many failures must have been counted.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known, if the SLO has no error budget, or if the
    /// adjustment is not valid. If there were fewer failures, [`AdjustError::TooManyBad`] has their
    /// number. Nothing changes on an error.
    pub fn exclude_failures(&self, name: &str, adjustment: Adjustment) -> Result<(), AdjustError> {
        self.exclude_failures_at(name, adjustment, Now::system())
    }

    /// Excludes past failures, as [`exclude_failures`](Self::exclude_failures) does, at a time.
    ///
    /// # Errors
    ///
    /// As [`exclude_failures`](Self::exclude_failures).
    pub fn exclude_failures_at(
        &self,
        name: &str,
        adjustment: Adjustment,
        now: Now,
    ) -> Result<(), AdjustError> {
        let slo = self.find(name)?;
        if slo.target.allowed().is_none() {
            return Err(AdjustError::NoBudget {
                name: name.to_owned(),
            });
        }
        let wall = to_millis(now.wall);
        let adjustment = adjustment.checked(wall)?;
        let stream = &self.0.indicators[slo.indicator].stream;
        slo.exclude_failures(&stream.windows(now.mono), adjustment, wall)
    }

    /// Schedules a maintenance window, in which no SLO counts events or time.
    ///
    /// # Errors
    ///
    /// Returns an error if the window is not valid. Nothing changes then.
    pub fn schedule_maintenance(&self, window: MaintenanceWindow) -> Result<(), AdjustError> {
        self.schedule_maintenance_at(window, Now::system())
    }

    /// Schedules a maintenance window, as [`schedule_maintenance`](Self::schedule_maintenance)
    /// does, at a time.
    ///
    /// # Errors
    ///
    /// As [`schedule_maintenance`](Self::schedule_maintenance).
    pub fn schedule_maintenance_at(
        &self,
        window: MaintenanceWindow,
        now: Now,
    ) -> Result<(), AdjustError> {
        let window = window.checked(now)?;
        let wall = to_millis(now.wall);
        adjustment::add(&mut self.maintenance(), window, wall, |window| window.until)?;
        self.update(now, false);
        Ok(())
    }

    /// Ends the current maintenance. Returns whether there was one.
    pub fn end_maintenance(&self) -> bool {
        self.end_maintenance_at(Now::system())
    }

    /// Ends the maintenance of a time. Returns whether there was one.
    pub fn end_maintenance_at(&self, now: Now) -> bool {
        let mut has_ended = false;
        for window in self.maintenance().iter_mut() {
            if (window.from..window.until).contains(&now.wall) {
                window.until = from_millis(to_millis(now.wall));
                has_ended = true;
            }
        }
        self.update(now, false);
        has_ended
    }
}
