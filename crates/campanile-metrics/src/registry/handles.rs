use std::sync::Arc;

use super::inner::Registry;
use crate::counter::{Counter, CounterValue, TimeCounter, TimeCounterValue};
use crate::error::RegisterError;
use crate::gauge::{Gauge, GaugeValue};
use crate::histogram::Histogram;
use crate::summary::{Summary, SummaryValue};

impl Registry {
    /// Returns the counter with this name and these labels, at 0 if it is new. A name that does not end with `_total` gets that.
    ///
    /// # Errors
    ///
    /// If the name or a label is not valid, or the name is another metric's. Past a cap the overflow series is returned,
    /// and that is not an error.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<Counter, RegisterError> {
        self.strict(name, labels, |_| CounterValue::default())
            .map(Counter)
    }

    /// Returns the counter of time with this name and these labels, at 0 if it is new. The name should end with `_seconds_total`; one
    /// that does not end with `_total` gets that.
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

    /// Returns the gauge with this name and these labels, at 0 if it is new.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter). Past a limit the gauge is detached: it can be used, but is
    /// not exported, because the values of several gauges can't be shown as one.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Result<Gauge, RegisterError> {
        self.strict(name, labels, |_| GaugeValue::default())
            .map(Gauge)
    }

    /// Returns the histogram with this name and these labels, empty if it is new.
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

    /// Returns the summary with this name and these labels, empty if it is new.
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
