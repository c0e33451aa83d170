use std::time::Duration;

use crate::adjustment::Adjustment;
use crate::incident::Incidents;
use crate::time::shifted;

/// The adjustments, incidents and firing alerts of an SLO.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In ascending order.
    pub(crate) adjustments: Vec<Adjustment>,
    pub(crate) incidents: Incidents,
    /// The long windows of the firing alerts.
    pub(crate) firing: Vec<Duration>,
}

impl History {
    /// Moves all adjustments and incidents by a number of milliseconds.
    pub(crate) fn shift(&mut self, by: i64) {
        for adjustment in &mut self.adjustments {
            adjustment.at = shifted(adjustment.at, by);
        }
        self.incidents.shift(by);
    }
}
