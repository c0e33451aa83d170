use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::budget::{BurnAlert, Urgency};
use crate::status::SloStatus;
use crate::time::{shifted, to_millis};
use crate::windows::MAX_WINDOW;

/// A period in which an SLO's [page](BurnAlert) was firing.
///
/// For an SLO without a page it is a period in which the SLO was violated.
///
/// The ten worst incidents of each day (in UTC) are retained, for 93 days: ongoing ones first, then
/// those with the most bad events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// The start: the time of the first evaluation that detected it.
    pub from: SystemTime,
    /// The end; `None` for an ongoing incident.
    pub until: Option<SystemTime>,
    /// The number of bad events during the incident.
    pub bad: u64,
    /// The highest burn rate over the long window of a page; `None` without a page.
    pub burn_rate: Option<f64>,
}

/// The limit of incidents that start on one day.
const MAX_PER_DAY: usize = 10;

const DAY: u64 = 24 * 60 * 60 * 1_000;

/// Sorts the incidents, and drops those beyond a day's limit and those that ended more than 93 days
/// before the newest one started. Returns the number of dropped incidents.
///
/// The result does not depend on the order of the incidents, nor on earlier calls for some of them.
pub(crate) fn limit(incidents: &mut Vec<Incident>) -> u64 {
    let before = incidents.len();
    incidents.sort_by_key(key);
    let newest = incidents
        .last()
        .map_or(0, |incident| to_millis(incident.from));
    let oldest = newest.saturating_sub(MAX_WINDOW);
    let ended = |incident: &Incident| incident.until.map(to_millis);
    incidents.retain(|incident| ended(incident).is_none_or(|until| until >= oldest));
    let mut days = BTreeMap::<u64, Vec<Incident>>::new();
    for incident in std::mem::take(incidents) {
        let day = to_millis(incident.from) / DAY;
        days.entry(day).or_default().push(incident);
    }
    for mut day in days.into_values() {
        if day.len() > MAX_PER_DAY {
            let severity = |incident: &Incident| (incident.until.is_none(), incident.bad);
            day.sort_by_key(|incident| (Reverse(severity(incident)), key(incident)));
            day.truncate(MAX_PER_DAY);
            day.sort_by_key(key);
        }
        incidents.append(&mut day);
    }
    (before - incidents.len()) as u64
}

/// Returns the sort key of an incident.
pub(crate) fn key(incident: &Incident) -> impl Ord + use<> {
    let rate = incident.burn_rate.map(f64::to_bits);
    (incident.from, incident.until, incident.bad, rate)
}

/// The incidents of an SLO, in ascending order of their start.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    all: Vec<Incident>,
    /// The number of incidents dropped because of the limit, since the process started.
    dropped: u64,
    /// The number of bad events at the last update, since the process started.
    bad: u64,
}

impl Incidents {
    /// Opens, extends or ends an incident.
    ///
    /// `bad` is the number of bad events since the process started.
    pub(crate) fn update(
        &mut self,
        status: SloStatus,
        alerts: &[BurnAlert],
        at: SystemTime,
        bad: u64,
    ) {
        let new = bad.saturating_sub(self.bad);
        self.bad = bad;
        let pages = alerts.iter().filter(|alert| alert.urgency == Urgency::Page);
        let is_bad = match pages.clone().next() {
            None => status == SloStatus::Violated,
            Some(_) => pages.clone().any(|alert| alert.is_firing),
        };
        let rate = pages.filter_map(|alert| alert.rate).reduce(f64::max);
        if !is_bad {
            // A merge of several replicas may have left several open ones.
            for open in self
                .all
                .iter_mut()
                .filter(|incident| incident.until.is_none())
            {
                open.until = Some(at);
            }
        }
        let open = self
            .all
            .iter_mut()
            .rfind(|incident| incident.until.is_none());
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

    /// Returns the incidents that had not ended at a time.
    pub(crate) fn since(&self, time: SystemTime) -> Vec<Incident> {
        let is_later = |incident: &&Incident| incident.until.is_none_or(|until| until >= time);
        self.all.iter().filter(is_later).cloned().collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Incident> {
        self.all.iter()
    }

    /// Moves all incidents by a number of milliseconds.
    pub(crate) fn shift(&mut self, by: i64) {
        for incident in &mut self.all {
            incident.from = shifted(incident.from, by);
            incident.until = incident.until.map(|until| shifted(until, by));
        }
    }

    /// Adds restored incidents.
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
        let ongoing = Incident {
            until: None,
            ..incident(1_020, 600, 0)
        };
        incidents.push(ongoing.clone());
        let all: Vec<_> = incidents.all().cloned().collect();
        assert_eq!((all.len(), incidents.dropped()), (11, 491));
        assert_eq!((&all[0], all.last()), (&march, Some(&ongoing)));
        assert!(
            all[1..10].iter().all(|incident| incident.bad == 49),
            "{all:?}"
        );
        // After 93 days the first incident is dropped.
        incidents.push(incident(1_094, 0, 1));
        assert_eq!(incidents.all().count(), 11);
        assert!(incidents.all().all(|incident| *incident != march));
    }

    #[test]
    fn the_limit_does_not_depend_on_the_order() {
        let all = |seed: u64| (0..40).map(move |n| incident(1_000 + n % 2, n, n * seed % 17));
        let limited = |mut all: Vec<Incident>| {
            limit(&mut all);
            all
        };
        let (one, other) = (limited(all(5).collect()), limited(all(7).collect()));
        let whole = limited(all(5).chain(all(7)).collect());
        assert_eq!(limited([one.clone(), other.clone()].concat()), whole);
        assert_eq!(limited([other, one].concat()), whole);
    }
}
