use std::sync::Arc;
use std::time::Duration;

use crate::beside::{AnySource, Source};
use crate::constant_labels::ConstantLabels;
use crate::error::{BuildError, BuildProblem};
use crate::histogram::Bounds;
use crate::http_naming::HttpNaming;
use crate::name::sanitised;
use crate::name_match::NameMatch;
use crate::registry::Registry;
use crate::settings::Settings;

/// The settings of a [`Registry`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`max_series_per_family`](Self::max_series_per_family) | 2,000 | at least 1 |
/// | [`max_series`](Self::max_series) | 100,000 | at least 1 |
/// | [`max_label_value_bytes`](Self::max_label_value_bytes) | 256 | at least 1 |
/// | [`buckets`](Self::buckets) | by unit, see there | finite, ascending |
/// | [`buckets_for`](Self::buckets_for) | none | finite, ascending |
/// | [`summaries`](Self::summaries) | none | |
/// | [`prefix`](Self::prefix) | none | a metric name |
/// | [`constant_label`](Self::constant_label) | none | a label name and a value |
/// | [`http_naming`](Self::http_naming) | [`HttpNaming::Classic`] | |
/// | [`idle_timeout`](Self::idle_timeout) | none: series stay | more than 0 |
/// | [`without_created`](Self::without_created) | `_created` lines are written | |
/// | [`beside`](Self::beside) | none | |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RegistryBuilder {
    max_series_per_family: usize,
    max_series: usize,
    max_label_value_bytes: usize,
    buckets: Option<Vec<f64>>,
    buckets_for: Vec<(NameMatch, Vec<f64>)>,
    summaries: Vec<NameMatch>,
    prefix: String,
    constant_labels: Vec<(String, String)>,
    http_naming: HttpNaming,
    idle_timeout: Option<Duration>,
    has_created: bool,
    beside: Option<AnySource>,
}

impl Registry {
    /// Creates a builder with the default settings.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }
}

impl RegistryBuilder {
    /// Sets the maximum number of series of a family. Past it, values go to the family's overflow
    /// series, and new gauges are not exported.
    ///
    /// Defaults to 2,000.
    pub fn max_series_per_family(mut self, max: usize) -> Self {
        self.max_series_per_family = max;
        self
    }

    /// Sets the maximum number of series of the registry. Past it, values go to the overflow series
    /// of their families, and new families are rejected.
    ///
    /// Defaults to 100,000.
    pub fn max_series(mut self, max: usize) -> Self {
        self.max_series = max;
        self
    }

    /// Sets the maximum length of a label value in bytes. Longer values are cut at a character.
    ///
    /// Defaults to 256.
    pub fn max_label_value_bytes(mut self, max: usize) -> Self {
        self.max_label_value_bytes = max;
        self
    }

    /// Sets the upper bounds of the buckets of all histograms, inclusive and without `+Inf`.
    ///
    /// Bounds for a name take precedence: those of [`buckets_for`](Self::buckets_for), of
    /// [`Registry::set_buckets`] and of a metric set.
    ///
    /// By default the bounds depend on the unit that was described before the first series, or else
    /// on the last word of the name:
    ///
    /// | unit or word | bounds |
    /// |---|---|
    /// | `seconds`, and all that are not listed | 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, as OpenTelemetry recommends |
    /// | `milliseconds`, `ms`, `microseconds`, `nanoseconds` | the same durations |
    /// | `bytes` | 256 B to 256 MiB, by factors of 4 |
    /// | `ratio`, `percent` | 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1, or 100 times that |
    /// | `count`, `size`, `length`, `depth`, `items`, `rows`, `records`, `entries`, `messages`, `events`, `requests`, `tokens`, `attempts`, `retries` | 1, 2, 5, 10 and so on to 1,000,000 |
    ///
    /// If the first 1,000 samples of a histogram are above all bounds, a warning is logged.
    pub fn buckets(mut self, bounds: &[f64]) -> Self {
        self.buckets = Some(bounds.into());
        self
    }

    /// Sets the bounds of the buckets of histograms with matching names.
    ///
    /// If several patterns match, an exact name takes precedence, then the longest prefix, then the
    /// longest suffix. Bounds that a metric sets itself, by [`Registry::set_buckets`] or in a metric
    /// set, take precedence over prefixes and suffixes.
    ///
    /// ```
    /// use campanile_metrics::{NameMatch, Registry};
    ///
    /// let registry = Registry::builder()
    ///     .buckets_for(NameMatch::Suffix("_bytes".into()), &[1e3, 1e6, 1e9])
    ///     .build()?;
    /// registry.histogram("upload_bytes", &[]).unwrap().record(5e4);
    /// assert!(registry.render().contains("upload_bytes_bucket{le=\"1e+06\"} 1\n"));
    /// # Ok::<_, campanile_metrics::BuildError>(())
    /// ```
    ///
    /// Defaults to none.
    pub fn buckets_for(mut self, names: NameMatch, bounds: &[f64]) -> Self {
        self.buckets_for.push((names, bounds.into()));
        self
    }

    /// Adds names for which the macro `histogram!` records a [`Summary`](crate::Summary).
    ///
    /// Defaults to none.
    pub fn summaries(mut self, names: NameMatch) -> Self {
        self.summaries.push(names);
        self
    }

    /// Sets a prefix of all metric names, followed by an underscore. Names that start with
    /// `campanile_` get no prefix.
    ///
    /// Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Adds a label that all series have in an exposition.
    ///
    /// If a series has a label with the same name, its value is exported instead. Values that are
    /// read in process have no constant labels. Points that are exported over OTLP have them as
    /// attributes.
    ///
    /// Defaults to none.
    pub fn constant_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.constant_labels.push((name.into(), value.into()));
        self
    }

    /// Sets the metric names of [`HttpMetrics`](crate::HttpMetrics).
    ///
    /// Defaults to [`HttpNaming::Classic`].
    pub fn http_naming(mut self, naming: HttpNaming) -> Self {
        self.http_naming = naming;
        self
    }

    /// Sets the time after which [`Registry::sweep`] removes an idle series.
    ///
    /// A series is idle if it is not looked up and has no handle, so no handle ever writes to a
    /// removed series. `Campanile::run` sweeps every 10 s. A series that returns starts at 0, which
    /// Prometheus treats as a counter reset. Series of macros whose labels are all literals stay.
    ///
    /// Defaults to none: series stay.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Omits the `_created` lines of counters, histograms and summaries in OpenMetrics.
    ///
    /// They contain the time at which a series was created. A server that stores them as series
    /// then stores half as many series for counters. Prometheus does so unless
    /// `created-timestamp-zero-ingestion` is enabled.
    ///
    /// By default they are written. Text format 0.0.4 never has them.
    pub fn without_created(mut self) -> Self {
        self.has_created = false;
        self
    }

    /// Sets another exporter of the same process, whose values this registry exports with its own.
    ///
    /// The values are in both exposition formats, [`Registry::snapshot`],
    /// [`Registry::family_snapshot`], [`Registry::get`] and [`Registry::export`], and so in alert
    /// rules and in the metrics over OTLP.
    ///
    /// With feature `prometheus-exporter` this accepts the `PrometheusHandle` of
    /// metrics-exporter-prometheus 0.18. If `main` can be changed, a `Fanout` of metrics-util that
    /// writes to both recorders is better: nothing is parsed, and the series have exemplars and
    /// creation times.
    ///
    /// - The exporter is read at most once a second, on the thread that reads the registry. An
    ///   exporter with 100,000 series takes some 400 ms.
    /// - The first 32 MiB are read, and at most [`max_series`](Self::max_series) series.
    /// - If both have a metric name or a sample name, this registry's metric is exported.
    /// - `campanile_registry_exporter_omitted_lines{reason}` is the number of lines that the last
    ///   reading omitted: `invalid`, `name_taken` or `over_limit`.
    /// - If a reading fails, the previous values stay. `campanile_registry_exporter_age_seconds` is
    ///   their age, and `campanile_registry_exporter_failed_reads_total` counts the failures.
    /// - A counter keeps its name, even without `_total`. In OpenMetrics it then has the type
    ///   `unknown`. A counter with a fraction is a [`Kind::TimeCounter`](crate::Kind::TimeCounter).
    ///   Untyped values are gauges.
    /// - [`prefix`](Self::prefix) does not change the names. Constant labels are added.
    /// - While a request is handled, the `metrics` macros write to the application's recorder only,
    ///   because the registry reads the values from it.
    ///
    /// Call [`Registry::upkeep`] every few seconds, as `Campanile::run` does.
    ///
    /// Defaults to none. The last call takes precedence.
    pub fn beside(mut self, source: impl Source) -> Self {
        self.beside = Some(AnySource(Arc::new(source)));
        self
    }

    /// Creates the registry.
    ///
    /// # Errors
    ///
    /// If a limit is 0, bucket bounds are empty, not finite or not ascending, or the prefix or a
    /// constant label is invalid. The error lists all problems.
    pub fn build(self) -> Result<Registry, BuildError> {
        let mut problems = Vec::new();
        for (setting, is_zero) in [
            ("max_series_per_family", self.max_series_per_family == 0),
            ("max_series", self.max_series == 0),
            ("max_label_value_bytes", self.max_label_value_bytes == 0),
            (
                "idle_timeout",
                self.idle_timeout.is_some_and(|timeout| timeout.is_zero()),
            ),
        ] {
            if is_zero {
                problems.push(BuildProblem::Zero { setting });
            }
        }
        let mut checked = |bounds: &[f64], names: Option<&NameMatch>| {
            let checked = Bounds::checked(bounds);
            if checked.is_none() {
                let all = || "all histograms".to_owned();
                problems.push(BuildProblem::Buckets {
                    names: names.map_or_else(all, |names| format!("{names:?}")),
                    bounds: bounds.into(),
                });
            }
            checked
        };
        let bounds = self.buckets.and_then(|bounds| checked(&bounds, None));
        let buckets_for = self.buckets_for.into_iter().filter_map(|(names, bounds)| {
            let bounds = checked(&bounds, Some(&names))?;
            Some((names, bounds))
        });
        let buckets_for = buckets_for.collect();
        if !self.prefix.is_empty()
            && (sanitised(&self.prefix) != self.prefix || self.prefix.ends_with('_'))
        {
            let prefix = self.prefix.clone();
            problems.push(BuildProblem::Prefix { prefix });
        }
        let constant_labels = ConstantLabels::new(self.constant_labels);
        let constant_labels = constant_labels.unwrap_or_else(|problem| {
            problems.push(problem);
            ConstantLabels::default()
        });
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Registry::with(Settings {
            max_series_per_family: self.max_series_per_family,
            max_series: self.max_series,
            max_label_value_bytes: self.max_label_value_bytes,
            bounds,
            buckets_for,
            summaries: self.summaries,
            prefix: self.prefix.into(),
            constant_labels,
            http_naming: self.http_naming,
            idle_timeout: self.idle_timeout,
            has_created: self.has_created,
            beside: self.beside,
        }))
    }
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        let Settings {
            max_series_per_family,
            max_series,
            max_label_value_bytes,
            http_naming,
            has_created,
            ..
        } = Settings::default();
        Self {
            max_series_per_family,
            max_series,
            max_label_value_bytes,
            buckets: None,
            buckets_for: Vec::new(),
            summaries: Vec::new(),
            prefix: String::new(),
            constant_labels: Vec::new(),
            http_naming,
            idle_timeout: None,
            has_created,
            beside: None,
        }
    }
}
