use std::time::Duration;

use crate::slo::{Bound, Filters};
use crate::windows::MAX_WINDOW;

/// The definition of an [`Indicator`](crate::indicator::Indicator).
pub(crate) struct IndicatorSpec {
    /// The identity of the indicator: SLOs with the same key share one.
    pub(crate) key: String,
    pub(crate) kind: SourceKind,
    pub(crate) filters: Filters,
    pub(crate) criterion: Criterion,
    /// The windows of the SLOs, in milliseconds.
    pub(crate) spans: Vec<u64>,
    /// The windows of the percentiles, in milliseconds.
    pub(crate) sketches: Vec<u64>,
    /// The limit of routes that are tracked separately, and their window.
    pub(crate) routes: Option<(usize, u64)>,
}

/// The kind of data that an indicator counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SourceKind {
    Http,
    Manual,
    Uptime { count_restart_as_down: bool },
    Gauge { bound: Bound, slice: Duration },
}

impl SourceKind {
    /// Returns whether unobserved time counts as down.
    pub(crate) fn counts_restart_as_down(self) -> bool {
        matches!(
            self,
            Self::Uptime {
                count_restart_as_down: true
            }
        )
    }
}

/// The condition under which a valid event is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Criterion {
    Good,
    Fast(Duration),
    GoodAndFast(Duration),
}

impl Criterion {
    #[inline]
    pub(crate) fn is_good(self, good: bool, latency: Duration) -> bool {
        match self {
            Self::Good => good,
            Self::Fast(limit) => latency <= limit,
            Self::GoodAndFast(limit) => good && latency <= limit,
        }
    }
}

impl IndicatorSpec {
    /// Adds the windows and routes of another specification with the same key.
    pub(crate) fn merge(&mut self, other: Self) {
        self.spans.extend(other.spans);
        for window in other.sketches {
            if !self.sketches.contains(&window) {
                self.sketches.push(window);
            }
        }
        self.routes = match (self.routes, other.routes) {
            (Some((limit, span)), Some((other_limit, other_span))) => {
                Some((limit.max(other_limit), span.max(other_span)))
            }
            (routes, other) => routes.or(other),
        };
    }
}

impl Default for IndicatorSpec {
    /// Every HTTP request, for every window.
    fn default() -> Self {
        Self {
            key: HTTP.to_owned(),
            kind: SourceKind::Http,
            filters: Filters::default(),
            criterion: Criterion::Good,
            spans: [2 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE, MAX_WINDOW].into(),
            sketches: Vec::new(),
            routes: None,
        }
    }
}

/// The key of the indicator that counts every HTTP request.
pub(crate) const HTTP: &str = "http";

const MINUTE: u64 = 60 * 1_000;
