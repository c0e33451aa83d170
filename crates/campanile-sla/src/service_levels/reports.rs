//! Reports, counts and alerts.

use std::time::Duration;

use campanile_series::Now;

use super::ServiceLevels;
use crate::active_slo::ActiveSlo;
use crate::budget::BurnAlert;
use crate::counts::SliCounts;
use crate::error::UnknownSlo;
use crate::report::{Report, SloReport};

impl ServiceLevels {
    /// Returns the state of all SLOs.
    pub fn report(&self) -> Report {
        self.report_at(Now::system())
    }

    /// Returns the state of all SLOs at a time.
    pub fn report_at(&self, now: Now) -> Report {
        let slos = self.0.slos.iter();
        Report::new(
            slos.map(|slo| self.report_of(slo, now)).collect(),
            self.maintenance().clone(),
            now.wall,
        )
    }

    /// Returns the state of one SLO.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not known.
    pub fn slo_report(&self, name: &str) -> Result<SloReport, UnknownSlo> {
        self.slo_report_at(name, Now::system())
    }

    /// Returns the state of one SLO at a time.
    ///
    /// # Errors
    ///
    /// As [`slo_report`](Self::slo_report).
    pub fn slo_report_at(&self, name: &str, now: Now) -> Result<SloReport, UnknownSlo> {
        Ok(self.report_of(self.find(name)?, now))
    }

    fn report_of(&self, slo: &ActiveSlo, now: Now) -> SloReport {
        let indicator = &self.0.indicators[slo.indicator];
        let report = slo.report(indicator, &indicator.stream.windows(now.mono));
        SloReport {
            routes: slo.worst_routes(indicator, now.mono),
            unmatched_routes: match self.unmatched(slo) {
                Some(_) => slo.definition.filters.routes.clone(),
                None => Vec::new(),
            },
            ..report
        }
    }

    /// Returns the counts of all HTTP requests in the last `window`, which is at most 93 days.
    pub fn counts(&self, window: Duration) -> SliCounts {
        self.counts_at(window, Now::system())
    }

    /// Returns the counts of all HTTP requests in a window that ends at a time.
    pub fn counts_at(&self, window: Duration, now: Now) -> SliCounts {
        let windows = self.0.indicators[0].stream.windows(now.mono);
        windows.last(u64::try_from(window.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the name and the total counts of each SLO with an error budget, since the process
    /// started.
    ///
    /// Totals only grow. They do not include restored counts, and excluded failures remain in them.
    pub fn totals(&self) -> Vec<(&str, SliCounts)> {
        self.totals_at(Now::system())
    }

    /// Returns the total counts, as [`totals`](Self::totals) does, at a time.
    pub fn totals_at(&self, now: Now) -> Vec<(&str, SliCounts)> {
        let slos = self.0.slos.iter();
        let slos = slos.filter(|slo| slo.target.allowed().is_some());
        slos.map(|slo| {
            let stream = &self.0.indicators[slo.indicator].stream;
            (&*slo.name, stream.windows(now.mono).total())
        })
        .collect()
    }

    /// Returns the burn rate alerts of all SLOs, firing or not.
    pub fn burn_alerts(&self) -> Vec<BurnAlert> {
        self.burn_alerts_at(Now::system())
    }

    /// Returns the burn rate alerts of all SLOs at a time.
    pub fn burn_alerts_at(&self, now: Now) -> Vec<BurnAlert> {
        let slos = self.0.slos.iter();
        let alerts = slos.flat_map(|slo| {
            let stream = &self.0.indicators[slo.indicator].stream;
            slo.burn_alerts(&stream.windows(now.mono))
        });
        alerts.collect()
    }
}
