use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::objective::{milliseconds, shifted};
use crate::report::{ObjectiveReport, Standing};
use crate::windows::LONGEST;
use crate::{BurnAlert, Urgency};

/// A time in which one of an objective's [alerts](BurnAlert) that page fired. If it has none, the time in which it was violated.
///
/// An objective keeps the ten worst incidents of each day (in UTC), for 93 days: those that last, then those with the most bad events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// When it was noticed.
    pub from: SystemTime,
    /// When it was over; `None` while it lasts.
    pub until: Option<SystemTime>,
    /// The number of bad events while it lasted.
    pub bad: u64,
    /// The highest burn rate over the long window of an alert; `None` without alerts.
    pub burn_rate: Option<f64>,
}

/// The limit of incidents that begin on one day.
const MOST: usize = 10;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// Drops the incidents that are beyond a day's limit, or ended more than 93 days before the newest one began. Returns how many.
///
/// It sorts them from the oldest on. The result does not depend on their order, nor on earlier calls for a part of them.
pub(crate) fn limit(all: &mut Vec<Incident>) -> u64 {
    let before = all.len();
    all.sort_by_key(key);
    let newest = all.last().map_or(0, |incident| milliseconds(incident.from));
    let oldest = newest.saturating_sub(LONGEST);
    all.retain(|one| one.until.is_none_or(|until| milliseconds(until) >= oldest));
    let mut days = BTreeMap::<u64, Vec<Incident>>::new();
    for incident in std::mem::take(all) {
        let day = milliseconds(incident.from) / DAY;
        days.entry(day).or_default().push(incident);
    }
    for mut day in days.into_values() {
        if day.len() > MOST {
            day.sort_by_key(|one| (Reverse((one.until.is_none(), one.bad)), key(one)));
            day.truncate(MOST);
            day.sort_by_key(key);
        }
        all.append(&mut day);
    }
    (before - all.len()) as u64
}

/// Returns the key of the order of incidents.
pub(crate) fn key(incident: &Incident) -> impl Ord + use<> {
    let rate = incident.burn_rate.map(f64::to_bits);
    (incident.from, incident.until, incident.bad, rate)
}

/// The incidents of an objective, from the oldest on.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    all: Vec<Incident>,
    /// The number that was dropped because of the limit, since the process began.
    dropped: u64,
    /// The number of bad events at the last look, since the process began.
    bad: u64,
}

impl Incidents {
    /// Opens, extends or ends an incident by the objective's standing.
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

    /// Returns the number of dropped incidents.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns those that were not over at a time, from the oldest on.
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

    /// Adds those from before.
    pub(crate) fn restore(&mut self, before: Vec<Incident>) {
        self.all.extend(before);
        self.limit();
    }

    fn push(&mut self, incident: Incident) {
        self.all.push(incident);
        self.limit();
    }

    fn limit(&mut self) {
        self.dropped = self.dropped.saturating_add(limit(&mut self.all));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn incident(day: u64, minute: u64, bad: u64) -> Incident {
        let from = SystemTime::UNIX_EPOCH + Duration::from_millis(day * DAY + minute * 60_000);
        Incident {
            from,
            until: Some(from + Duration::from_secs(30)),
            bad,
            burn_rate: None,
        }
    }

    #[test]
    fn a_day_with_many_incidents_leaves_those_of_other_days() {
        let mut incidents = Incidents::default();
        let march = incident(1_000, 0, 5);
        incidents.restore(vec![march.clone()]);
        for minute in 0..500 {
            incidents.push(incident(1_020, minute, minute % 50));
        }
        let lasting = Incident {
            until: None,
            ..incident(1_020, 600, 0)
        };
        incidents.push(lasting.clone());
        let all: Vec<_> = incidents.all().cloned().collect();
        assert_eq!((all.len(), incidents.dropped()), (11, 491));
        assert_eq!((&all[0], all.last()), (&march, Some(&lasting)));
        assert!(all[1..10].iter().all(|one| one.bad == 49), "{all:?}");
        // After 93 days the first one is gone.
        incidents.push(incident(1_094, 0, 1));
        assert_eq!(incidents.all().count(), 11);
        assert!(incidents.all().all(|one| *one != march));
    }

    #[test]
    fn the_limit_does_not_depend_on_the_order() {
        let all = |seed: u64| (0..40).map(move |n| incident(1_000 + n % 2, n, n * seed % 17));
        let of = |mut all: Vec<Incident>| {
            limit(&mut all);
            all
        };
        let (one, other) = (of(all(5).collect()), of(all(7).collect()));
        let whole = of(all(5).chain(all(7)).collect());
        assert_eq!(of([one.clone(), other.clone()].concat()), whole);
        assert_eq!(of([other, one].concat()), whole);
    }
}
