use std::sync::Arc;
use std::time::Duration;

use crate::beside::AnySource;
use crate::constant_labels::ConstantLabels;
use crate::histogram::Bounds;
use crate::http_naming::HttpNaming;
use crate::name_match::NameMatch;

/// The checked settings of a registry.
pub(crate) struct Settings {
    pub(crate) max_series_per_family: usize,
    pub(crate) max_series: usize,
    pub(crate) max_label_value_bytes: usize,
    /// The bucket bounds of all histograms, if they are set.
    pub(crate) bounds: Option<Arc<Bounds>>,
    pub(crate) buckets_for: Vec<(NameMatch, Arc<Bounds>)>,
    pub(crate) summaries: Vec<NameMatch>,
    pub(crate) prefix: Box<str>,
    pub(crate) constant_labels: ConstantLabels,
    pub(crate) http_naming: HttpNaming,
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether OpenMetrics has `_created` lines.
    pub(crate) has_created: bool,
    /// The exporter whose values are exported too.
    pub(crate) beside: Option<AnySource>,
}

impl Settings {
    /// Returns the bucket bounds that are set for an exported name, and whether they are set for
    /// exactly this name.
    pub(crate) fn buckets_for(&self, name: &str) -> Option<(&Arc<Bounds>, bool)> {
        let matching = self.buckets_for.iter();
        let matching =
            matching.filter_map(|(names, bounds)| Some((names.precedence(name)?, names, bounds)));
        let (_, names, bounds) = matching.max_by_key(|(precedence, ..)| *precedence)?;
        Some((bounds, matches!(names, NameMatch::Exact(_))))
    }

    /// Returns whether the macro `histogram!` records a summary under an exported name.
    pub(crate) fn is_summary(&self, name: &str) -> bool {
        let mut summaries = self.summaries.iter();
        summaries.any(|names| names.precedence(name).is_some())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_series_per_family: 2_000,
            max_series: 100_000,
            max_label_value_bytes: 256,
            bounds: None,
            buckets_for: Vec::new(),
            summaries: Vec::new(),
            prefix: "".into(),
            constant_labels: ConstantLabels::default(),
            http_naming: HttpNaming::default(),
            idle_timeout: None,
            has_created: true,
            beside: None,
        }
    }
}
