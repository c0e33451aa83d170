use crate::{BuildError, Registry};

/// Settings of a [`Registry`].
///
/// | setting | default |
/// |---|---|
/// | [`series_per_family`](Self::series_per_family) | 2,000 |
/// | [`series`](Self::series) | 100,000 |
/// | [`buckets`](Self::buckets) | OpenTelemetry's for seconds: 5 ms to 10 s |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RegistryBuilder {
    pub(crate) series_per_family: usize,
    pub(crate) series: usize,
    pub(crate) buckets: Vec<f64>,
}

impl RegistryBuilder {
    /// Sets how many series a family may have before new ones go to its overflow series.
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

    /// Sets the upper bounds of the buckets of all histograms, inclusive, without `+Inf`.
    ///
    /// Defaults to OpenTelemetry's bounds for durations in seconds: 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75,
    /// 1, 2.5, 5, 7.5 and 10.
    pub fn buckets(mut self, bounds: &[f64]) -> Self {
        self.buckets = bounds.into();
        self
    }

    /// Returns the registry.
    ///
    /// # Errors
    ///
    /// If the bounds are empty, not finite or not rising, or a cap is 0.
    pub fn build(self) -> Result<Registry, BuildError> {
        let caps = [
            ("series_per_family", self.series_per_family),
            ("series", self.series),
        ];
        if let Some((setting, _)) = caps.into_iter().find(|(_, cap)| *cap == 0) {
            return Err(BuildError::Zero { setting });
        }
        let rising = self.buckets.is_sorted_by(|one, next| one < next);
        if self.buckets.is_empty() || !rising || self.buckets.iter().any(|bound| !bound.is_finite())
        {
            return Err(BuildError::Buckets {
                bounds: self.buckets,
            });
        }
        Ok(Registry::from_builder(self))
    }
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        let buckets = [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ];
        Self {
            series_per_family: 2_000,
            series: 100_000,
            buckets: buckets.into(),
        }
    }
}
