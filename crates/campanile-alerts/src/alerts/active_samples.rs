use std::collections::BTreeMap;

use campanile_series::{LabelSet, Sample};

use crate::evaluate::EvalError;
use crate::rule::CheckedRule;
use crate::step::{self, Phase};

/// The samples of a rule's evaluation, by the labels of their alerts.
#[derive(Debug)]
pub(super) struct ActiveSamples {
    /// The values by the alerts' labels, including the overflow alert.
    pub(super) alerts: BTreeMap<LabelSet, f64>,
    /// The number of samples that share the overflow alert.
    pub(super) overflow: usize,
}

/// The maximum number of a rule's alerts, without the overflow alert.
pub(super) const MAX_ALERTS: usize = 1_000;

/// Returns the values of an evaluation by the alerts' labels: the sample's labels, overridden by the rule's.
///
/// Of more than 1,000 samples, those with an active alert stay. Next are the samples with the highest
/// [rank](crate::PreparedExpr::rank), and NaN is last. All others share the overflow alert.
pub(super) fn active_samples(
    rule: &CheckedRule,
    samples: Vec<Sample>,
    active: &step::Alerts,
) -> Result<ActiveSamples, EvalError> {
    let mut alerts = BTreeMap::new();
    for Sample { labels, value } in samples {
        let others = labels
            .iter()
            .filter(|(name, _)| *name != "__name__" && rule.labels.get(name).is_none())
            .filter(|(name, _)| !rule.removed.contains(*name));
        let labels = LabelSet::new(others.chain(rule.labels.iter()));
        let labels = labels.map_err(|error| EvalError::new(error.to_string()))?;
        if alerts.contains_key(&labels) {
            return Err(EvalError::new(format!("duplicate sample {labels}")));
        }
        alerts.insert(labels, value);
    }
    let overflow = alerts.len().saturating_sub(MAX_ALERTS);
    if overflow > 0 {
        let mut ranked: Vec<_> = alerts.into_iter().collect();
        // The sort is stable, and the map is sorted by labels.
        ranked.sort_by(|(a, left), (b, right)| {
            let rank = |labels| match active.get(labels).map(|alert| alert.phase) {
                Some(Phase::Firing { .. }) => 0,
                Some(Phase::Pending) => 1,
                None => 2,
            };
            // NaN ranks last, whatever its sign.
            let badness = |value: f64| {
                let rank = rule.prepared.rank(value);
                (!rank.is_nan()).then_some(rank)
            };
            let by_value = match (badness(*left), badness(*right)) {
                (Some(left), Some(right)) => right.total_cmp(&left),
                (left, right) => right.is_some().cmp(&left.is_some()),
            };
            rank(a).cmp(&rank(b)).then(by_value)
        });
        ranked.truncate(MAX_ALERTS);
        alerts = ranked.into_iter().collect();
        alerts.insert(rule.overflow.clone(), overflow as f64);
    }
    Ok(ActiveSamples { alerts, overflow })
}
