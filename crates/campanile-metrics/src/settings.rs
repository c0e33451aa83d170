use std::sync::Arc;
use std::time::Duration;

use crate::beside::AnySource;
use crate::constant_labels::ConstantLabels;
use crate::histogram::Bounds;
use crate::http_naming::Preset;
use crate::name_match::Names;

/// The settings of a registry, checked.
pub(crate) struct Settings {
    pub(crate) series_per_family: usize,
    pub(crate) series: usize,
    pub(crate) label_value_bytes: usize,
    /// Those of all histograms, if they were set.
    pub(crate) bounds: Option<Arc<Bounds>>,
    pub(crate) buckets_of: Vec<(Names, Arc<Bounds>)>,
    pub(crate) summaries: Vec<Names>,
    pub(crate) prefix: Box<str>,
    pub(crate) constant: ConstantLabels,
    pub(crate) preset: Preset,
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether OpenMetrics has `_created` lines.
    pub(crate) has_created: bool,
    /// The exporter whose values are shown too.
    pub(crate) beside: Option<AnySource>,
}

impl Settings {
    /// Returns the bounds that a histogram has for its exported name, and whether they are for that
    /// name alone.
    pub(crate) fn buckets_of(&self, name: &str) -> Option<(&Arc<Bounds>, bool)> {
        let fitting = self.buckets_of.iter();
        let fitting = fitting.filter_map(|(names, bounds)| Some((names.fit(name)?, names, bounds)));
        let (_, names, bounds) = fitting.max_by_key(|(fit, ..)| *fit)?;
        Some((bounds, matches!(names, Names::Exactly(_))))
    }

    /// Returns whether the macros record a summary under an exported name.
    pub(crate) fn is_summary(&self, name: &str) -> bool {
        self.summaries.iter().any(|names| names.fit(name).is_some())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            series_per_family: 2_000,
            series: 100_000,
            label_value_bytes: 256,
            bounds: None,
            buckets_of: Vec::new(),
            summaries: Vec::new(),
            prefix: "".into(),
            constant: ConstantLabels::default(),
            preset: Preset::default(),
            idle_timeout: None,
            has_created: true,
            beside: None,
        }
    }
}
