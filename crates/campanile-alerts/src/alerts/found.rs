use std::collections::BTreeMap;

use campanile_series::{Labels, Sample};

use crate::EvalError;
use crate::rule::CheckedRule;
use crate::step::{self, Phase};

/// What a rule found.
#[derive(Debug)]
pub(super) struct Found {
    /// The values by the alerts' labels, the overflow alert's among them.
    pub(super) alerts: BTreeMap<Labels, f64>,
    /// How many series have no alert of their own.
    pub(super) overflow: usize,
}

/// The most alerts of a rule, besides the overflow alert.
pub(super) const MAX_ALERTS: usize = 1_000;

/// Returns what a rule found, by the alerts' labels: those of the samples, and the rule's own in their place.
///
/// Of more than 1,000 samples, those whose alert is active stay, then come those with the largest values. The overflow alert
/// stands for the rest.
pub(super) fn found(
    rule: &CheckedRule,
    samples: Vec<Sample>,
    active: &step::Alerts,
) -> Result<Found, EvalError> {
    let mut alerts = BTreeMap::new();
    for Sample { labels, value } in samples {
        let others = labels
            .iter()
            .filter(|(name, _)| *name != "__name__" && rule.labels.get(name).is_none())
            .filter(|(name, _)| !rule.removed.contains(*name));
        let labels = Labels::new(others.chain(rule.labels.iter()));
        let labels = labels.map_err(|error| EvalError::new(error.to_string()))?;
        if alerts.contains_key(&labels) {
            return Err(EvalError::new(format!("it found {labels} twice")));
        }
        alerts.insert(labels, value);
    }
    let overflow = alerts.len().saturating_sub(MAX_ALERTS);
    if overflow > 0 {
        let mut ranked: Vec<_> = alerts.into_iter().collect();
        // The sort is stable, and the labels are in order.
        ranked.sort_by(|(a, left), (b, right)| {
            let rank = |labels| match active.get(labels).map(|alert| alert.phase) {
                Some(Phase::Firing { .. }) => 0,
                Some(Phase::Pending) => 1,
                None => 2,
            };
            let size = |value: &f64| if value.is_nan() { -1.0 } else { value.abs() };
            let by_size = size(right).total_cmp(&size(left));
            rank(a).cmp(&rank(b)).then(by_size)
        });
        ranked.truncate(MAX_ALERTS);
        alerts = ranked.into_iter().collect();
        alerts.insert(rule.overflow.clone(), overflow as f64);
    }
    Ok(Found { alerts, overflow })
}
