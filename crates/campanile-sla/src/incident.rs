use std::collections::VecDeque;
use std::time::SystemTime;

use crate::objective::shifted;
use crate::report::{ObjectiveReport, Standing};
use crate::{BurnAlert, Urgency};

/// A time in which an objective was in trouble: one of its [alerts](BurnAlert) that page rang; or, of an objective that has none, it was
/// violated.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// When it was noticed.
    pub from: SystemTime,
    /// When it was over; `None` while it lasts.
    pub until: Option<SystemTime>,
    /// How many were bad while it lasted.
    pub bad: u64,
    /// The highest burn rate over the long window of an alert; `None` without alerts.
    pub burn_rate: Option<f64>,
}

/// How many are kept.
pub(crate) const MOST: usize = 100;

/// The last incidents, from the oldest on.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    all: VecDeque<Incident>,
    /// How many were bad at the last look, since the process began.
    bad: u64,
}

impl Incidents {
    /// Takes note of how the objective stands.
    pub(crate) fn look(
        &mut self,
        report: &ObjectiveReport,
        alerts: &[BurnAlert],
        at: SystemTime,
        bad: u64,
    ) {
        let new = bad.saturating_sub(self.bad);
        self.bad = bad;
        let pages = alerts.iter().filter(|alert| alert.urgency == Urgency::Page);
        let is_bad = match pages.clone().next() {
            None => report.standing == Standing::Violated,
            Some(_) => pages.clone().any(|alert| alert.is_firing),
        };
        let rate = pages.filter_map(|alert| alert.rate).reduce(f64::max);
        if !is_bad {
            // Of several replicas there may be several.
            for open in self.all.iter_mut().filter(|one| one.until.is_none()) {
                open.until = Some(at);
            }
        }
        let open = self.all.iter_mut().rfind(|one| one.until.is_none());
        match (open, is_bad) {
            (Some(incident), true) => {
                incident.bad = incident.bad.saturating_add(new);
                incident.burn_rate = [incident.burn_rate, rate]
                    .into_iter()
                    .flatten()
                    .reduce(f64::max);
            }
            (None, true) => {
                self.push(Incident {
                    from: at,
                    until: None,
                    bad: new,
                    burn_rate: rate,
                });
            }
            (_, false) => {}
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.all.iter().any(|incident| incident.until.is_none())
    }

    /// Returns those that were not over at a moment, from the oldest on.
    pub(crate) fn since(&self, moment: SystemTime) -> Vec<Incident> {
        let is_later = |incident: &&Incident| incident.until.is_none_or(|until| until >= moment);
        self.all.iter().filter(is_later).cloned().collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Incident> {
        self.all.iter()
    }

    /// Moves all of them in time, by milliseconds.
    pub(crate) fn shift(&mut self, by: i64) {
        for incident in &mut self.all {
            incident.from = shifted(incident.from, by);
            incident.until = incident.until.map(|until| shifted(until, by));
        }
    }

    /// Takes in those from before.
    pub(crate) fn restore(&mut self, before: Vec<Incident>) {
        let after = std::mem::take(&mut self.all);
        for incident in before.into_iter().chain(after) {
            self.push(incident);
        }
    }

    fn push(&mut self, incident: Incident) {
        if self.all.len() == MOST {
            self.all.pop_front();
        }
        self.all.push_back(incident);
    }
}
