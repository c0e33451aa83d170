//! A log event without its fields, which the writer, the capture buffer and the exporter share.

use std::time::SystemTime;

use campanile_correlation::{Correlation, CorrelationId, TraceParent};

use crate::origin::Origin;

/// A log event without its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEvent<'a> {
    pub(crate) origin: &'a Origin<'a>,
    pub(crate) at: SystemTime,
    /// The message, escaped.
    pub(crate) message: &'a str,
    pub(crate) function: Option<&'static str>,
    pub(crate) ids: &'a Ids,
}

/// The ids of a log event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) trace: Option<TraceParent>,
}

impl Ids {
    pub(crate) fn of(correlation: &Correlation) -> Self {
        Self {
            correlation: correlation.id().cloned(),
            trace: correlation.trace().map(|trace| trace.parent),
        }
    }

    /// Takes missing ids from the current task.
    pub(crate) fn fill_missing_from(&mut self, current: impl FnOnce() -> Correlation) {
        if self.correlation.is_some() && self.trace.is_some() {
            return;
        }
        let current = current();
        if self.correlation.is_none() {
            self.correlation = current.id().cloned();
        }
        let trace = current.trace().map(|trace| trace.parent);
        self.trace = self.trace.or(trace);
    }
}
