use std::sync::Arc;

use super::inner::Registry;
use crate::counter::{Counter, CounterValue, TimeCounter, TimeCounterValue};
use crate::error::RegisterError;
use crate::gauge::{Gauge, GaugeValue};
use crate::histogram::Histogram;
use crate::summary::{Summary, SummaryValue};

impl Registry {
    /// Returns the counter with this name and these labels. A new counter starts at 0.
    ///
    /// If the name does not end with `_total`, the suffix is added.
    ///
    /// # Errors
    ///
    /// If the name or a label is invalid, or the name belongs to another metric. Past a limit the
    /// overflow series is returned, which is not an error.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<Counter, RegisterError> {
        self.strict(name, labels, |_| CounterValue::default())
            .map(Counter)
    }

    /// Returns the counter of time with this name and these labels. A new counter starts at 0.
    ///
    /// The name should end with `_seconds_total`. If it does not end with `_total`, the suffix is
    /// added.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn time_counter(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<TimeCounter, RegisterError> {
        self.strict(name, labels, |_| TimeCounterValue::default())
            .map(TimeCounter)
    }

    /// Returns the gauge with this name and these labels. A new gauge starts at 0.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter). Past a limit the gauge is detached: it can be used, but is
    /// not exported, because several gauges can't share a value.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<Gauge, RegisterError> {
        self.strict(name, labels, |_| GaugeValue::default())
            .map(Gauge)
    }

    /// Returns the histogram with this name and these labels. A new histogram is empty.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Histogram, RegisterError> {
        self.strict(name, labels, |name| self.new_histogram(name))
            .map(Histogram)
    }

    /// Returns the summary with this name and these labels. A new summary is empty.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn summary(&self, name: &str, labels: &[(&str, &str)]) -> Result<Summary, RegisterError> {
        self.strict(name, labels, |_| self.new_summary())
            .map(Summary)
    }

    pub(crate) fn new_summary(&self) -> SummaryValue {
        SummaryValue::new(Arc::clone(&self.0.dropped))
    }
}
