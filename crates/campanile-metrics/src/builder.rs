use std::sync::Arc;
use std::time::Duration;

use crate::beside::{AnySource, Source};
use crate::constant_labels::ConstantLabels;
use crate::error::BuildError;
use crate::histogram::Bounds;
use crate::http_naming::Preset;
use crate::name::sanitised;
use crate::name_match::Names;
use crate::registry::Registry;
use crate::settings::Settings;

/// Settings of a [`Registry`].
///
/// | setting | default |
/// |---|---|
/// | [`series_per_family`](Self::series_per_family) | 2,000 |
/// | [`series`](Self::series) | 100,000 |
/// | [`label_value_bytes`](Self::label_value_bytes) | 256 |
/// | [`buckets`](Self::buckets) | OpenTelemetry's for seconds: 5 ms to 10 s |
/// | [`buckets_of`](Self::buckets_of) | none of its own for any name |
/// | [`summaries`](Self::summaries) | none |
/// | [`prefix`](Self::prefix) | none |
/// | [`constant_label`](Self::constant_label) | none |
/// | [`preset`](Self::preset) | [`Preset::Classic`] |
/// | [`idle_timeout`](Self::idle_timeout) | none: series stay |
/// | [`beside`](Self::beside) | none |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RegistryBuilder {
    series_per_family: usize,
    series: usize,
    label_value_bytes: usize,
    buckets: Option<Vec<f64>>,
    buckets_of: Vec<(Names, Vec<f64>)>,
    summaries: Vec<Names>,
    prefix: String,
    constant: Vec<(String, String)>,
    preset: Preset,
    idle_timeout: Option<Duration>,
    has_created: bool,
    beside: Option<AnySource>,
}

impl Registry {
    /// Returns a builder for a registry with settings of its own.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }
}

impl RegistryBuilder {
    /// Sets how many series a family may have before new ones go to its overflow series; new gauges
    /// are dropped then.
    ///
    /// Defaults to 2,000.
    pub fn series_per_family(mut self, cap: usize) -> Self {
        self.series_per_family = cap;
        self
    }

    /// Sets how many series the registry may have before new ones go to their families' overflow series and new families
    /// are refused.
    ///
    /// Defaults to 100,000.
    pub fn series(mut self, cap: usize) -> Self {
        self.series = cap;
        self
    }

    /// Sets how many bytes a label value may have before it is cut, at a character's end.
    ///
    /// Defaults to 256.
    pub fn label_value_bytes(mut self, cap: usize) -> Self {
        self.label_value_bytes = cap;
        self
    }

    /// Sets the upper bounds of the buckets of all histograms, inclusive, without `+Inf`, if
    /// neither [`buckets_of`](Self::buckets_of) nor the metric itself has others.
    ///
    /// Without this the bounds follow from the unit that was described before the first series, or
    /// else from the last word of the name:
    ///
    /// | unit or word | bounds |
    /// |---|---|
    /// | `seconds`, and any that is not listed | OpenTelemetry's for durations: 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 |
    /// | `milliseconds`, `ms`, `microseconds`, `nanoseconds` | the same times |
    /// | `bytes` | 256 to 256 MiB, each four times the one before |
    /// | `ratio`, `percent` | 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1, or a hundred times that |
    /// | `count`, `size`, `length`, `depth`, `items`, `rows`, `records`, `entries`, `messages`, `events`, `requests`, `tokens`, `attempts`, `retries` | 1, 2, 5, 10, and so on to 1,000,000 |
    ///
    /// If the first 1,000 samples of a histogram are above all bounds, the log has a warning.
    pub fn buckets(mut self, bounds: &[f64]) -> Self {
        self.buckets = Some(bounds.into());
        self
    }

    /// Sets the bounds for histograms of some names; where several fit, an exact name goes first, then the longest beginning, then
    /// the longest end. Bounds that a metric has itself, by [`Registry::buckets`] or in a metric
    /// set, go before those of a beginning or an end.
    ///
    /// ```
    /// use campanile_metrics::{Names, Registry};
    ///
    /// let registry = Registry::builder()
    ///     .buckets_of(Names::Ending("_bytes".into()), &[1e3, 1e6, 1e9])
    ///     .build()?;
    /// registry.histogram("upload_bytes", &[]).unwrap().record(5e4);
    /// assert!(registry.render().contains("upload_bytes_bucket{le=\"1e+06\"} 1\n"));
    /// # Ok::<_, campanile_metrics::BuildError>(())
    /// ```
    ///
    /// Defaults to none: [`buckets`](Self::buckets) says what histograms have then.
    pub fn buckets_of(mut self, names: Names, bounds: &[f64]) -> Self {
        self.buckets_of.push((names, bounds.into()));
        self
    }

    /// Adds names for which the macro `histogram!` records a [`Summary`](crate::Summary).
    ///
    /// Defaults to none.
    pub fn summaries(mut self, names: Names) -> Self {
        self.summaries.push(names);
        self
    }

    /// Sets what all names begin with, followed by an underscore, but for `campanile_…`.
    ///
    /// Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Adds a label that all series have in an exposition. If a series has a label of this name
    /// itself, its own value is exposed. Values that are read back in process do not have constant
    /// labels; points that are exported over OTLP have them as attributes.
    ///
    /// Defaults to none.
    pub fn constant_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.constant.push((name.into(), value.into()));
        self
    }

    /// Sets which names [`HttpMetrics`](crate::HttpMetrics) writes to.
    ///
    /// Defaults to [`Preset::Classic`].
    pub fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// Sets the time after which [`Registry::sweep`] removes an idle series. A series is idle if it
    /// is not looked up and has no handle, so no handle ever writes to a removed series.
    /// `Campanile::run` sweeps every 10 s.
    ///
    /// A series that comes back begins at 0, which Prometheus sees as a reset. Series of macros whose labels are all literals
    /// stay. Defaults to none: series stay.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Leaves out the `_created` lines of counters, histograms and summaries, which say in
    /// OpenMetrics since when they count. A server that stores them as series, as Prometheus does
    /// unless `created-timestamp-zero-ingestion` is enabled, then stores half as many for counters.
    ///
    /// By default they are there. The format 0.0.4 has none.
    pub fn without_created(mut self) -> Self {
        self.has_created = false;
        self
    }

    /// Sets another exporter of the same process, whose values this registry shows with its own:
    /// on the page in both formats, in [`Registry::snapshot`], [`Registry::family`],
    /// [`Registry::get`] and [`Registry::export`], and so in rules and in the metrics of OTLP.
    ///
    /// With feature `prometheus-exporter` this takes the `PrometheusHandle` of
    /// metrics-exporter-prometheus 0.18. If `main` can be changed, a `Fanout` of metrics-util that
    /// writes to both recorders is better: nothing is parsed, and the series have exemplars and
    /// creation times.
    ///
    /// - The text of the exporter is read at most once a second. One that has 100,000 series takes
    ///   some 400 ms, on the thread that reads the registry.
    /// - The first 32 MiB are read, and as many series as this registry [may have](Self::series).
    /// - If both have a name, also one of a histogram's samples, this registry's metric is shown.
    /// - `campanile_registry_exporter_omitted_lines{reason}` is how many lines the last reading left
    ///   out: `invalid`, `name_taken` or `over_limit`.
    /// - If a reading fails, the values before stay. `campanile_registry_exporter_age_seconds` is
    ///   their age, and `campanile_registry_exporter_failed_reads_total` counts.
    /// - A counter keeps its name, even without `_total`: it has the type `unknown` in OpenMetrics
    ///   then. A counter with a fraction is a [`Kind::TimeCounter`]. Untyped values are gauges.
    /// - [`prefix`](Self::prefix) does not change the names; constant labels are added.
    /// - Macros in an observed exchange record with the application's recorder alone, since the
    ///   registry reads the values there.
    ///
    /// [`Registry::upkeep`] has to be called every few seconds, as `Campanile::run` does.
    ///
    /// Defaults to none. The last call holds.
    pub fn beside(mut self, source: impl Source) -> Self {
        self.beside = Some(AnySource(Arc::new(source)));
        self
    }

    /// Returns the registry.
    ///
    /// # Errors
    ///
    /// If bounds are empty, not finite or not rising, a cap is 0, or the prefix or a constant label is not valid.
    pub fn build(self) -> Result<Registry, BuildError> {
        let caps = [
            ("series_per_family", self.series_per_family),
            ("series", self.series),
            ("label_value_bytes", self.label_value_bytes),
        ];
        if let Some((setting, _)) = caps.into_iter().find(|(_, cap)| *cap == 0) {
            return Err(BuildError::Zero { setting });
        }
        if self.idle_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::Zero {
                setting: "idle_timeout",
            });
        }
        if !self.prefix.is_empty()
            && (sanitised(&self.prefix) != self.prefix || self.prefix.ends_with('_'))
        {
            return Err(BuildError::Prefix {
                prefix: self.prefix,
            });
        }
        let buckets_of = self.buckets_of.into_iter().map(|(names, bounds)| {
            let bounds = checked(&bounds, || format!(" of {names:?}"))?;
            Ok((names, bounds))
        });
        Ok(Registry::with(Settings {
            series_per_family: self.series_per_family,
            series: self.series,
            label_value_bytes: self.label_value_bytes,
            bounds: self
                .buckets
                .map(|bounds| checked(&bounds, String::new))
                .transpose()?,
            buckets_of: buckets_of.collect::<Result<_, _>>()?,
            summaries: self.summaries,
            prefix: self.prefix.into(),
            constant: ConstantLabels::new(self.constant)?,
            preset: self.preset,
            idle_timeout: self.idle_timeout,
            has_created: self.has_created,
            beside: self.beside,
        }))
    }
}

fn checked(bounds: &[f64], of: impl FnOnce() -> String) -> Result<Arc<Bounds>, BuildError> {
    Bounds::checked(bounds).ok_or_else(|| BuildError::Buckets {
        of: of(),
        bounds: bounds.into(),
    })
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        let Settings {
            series_per_family,
            series,
            label_value_bytes,
            preset,
            has_created,
            ..
        } = Settings::default();
        Self {
            series_per_family,
            series,
            label_value_bytes,
            buckets: None,
            buckets_of: Vec::new(),
            summaries: Vec::new(),
            prefix: String::new(),
            constant: Vec::new(),
            preset,
            idle_timeout: None,
            has_created,
            beside: None,
        }
    }
}
