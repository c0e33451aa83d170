use std::fmt;
use std::time::{Duration, Instant};

use campanile_http::{End, GrpcStatus};

use crate::routes::Routes;
use crate::slices::Slices;
use crate::slo::Filters;
use crate::spec::{Criterion, IndicatorSpec, SourceKind};
use crate::stream::Stream;

/// The counts of one or more SLOs with the same definition of valid and good events.
pub(crate) struct Indicator {
    pub(crate) key: String,
    pub(crate) kind: SourceKind,
    pub(crate) filters: Filters,
    pub(crate) criterion: Criterion,
    pub(crate) stream: Stream,
    pub(crate) routes: Option<Routes>,
    pub(crate) slices: Option<Slices>,
    /// The windows of the percentiles, in milliseconds.
    pub(crate) sketches: Vec<u64>,
}

impl Indicator {
    pub(crate) fn new(spec: IndicatorSpec, origin: Instant, wall: u64) -> Self {
        let routes = spec.routes.map(|(limit, span)| Routes::new(limit, span));
        let stream = Stream::new(origin, wall, &spec.spans, &spec.sketches);
        if spec.kind.counts_restart_as_down() {
            stream.windows(origin).set_unobserved(Some(false));
        }
        Self {
            stream,
            routes,
            slices: match spec.kind {
                SourceKind::Gauge { bound, slice } => Some(Slices::new(bound, slice)),
                _ => None,
            },
            key: spec.key,
            kind: spec.kind,
            filters: spec.filters,
            criterion: spec.criterion,
            sketches: spec.sketches,
        }
    }

    /// Counts a valid event.
    #[inline]
    pub(crate) fn record(&self, good: bool, latency: Duration, at: Instant) {
        self.stream
            .record(self.criterion.is_good(good, latency), latency, at);
    }

    /// Counts an HTTP request, by its default verdict: good or bad; `None` if it was cancelled.
    #[inline]
    pub(crate) fn end(&self, end: &End, verdict: Option<bool>) {
        let filter = &self.filters.routes;
        if !filter.is_empty() && !filter.iter().any(|route| route == end.route().as_str()) {
            return;
        }
        let Some(is_good) = self.is_good(end, verdict) else {
            return;
        };
        self.record(is_good, end.latency(), end.ended_at());
        if let Some(routes) = &self.routes {
            let is_good = self.criterion.is_good(is_good, end.latency());
            let stream = routes.stream(end.route().as_str(), &self.stream, end.ended_at());
            stream.record(is_good, end.latency(), end.ended_at());
        }
    }
}

/// The status of a request that was cancelled before its response head.
const CANCELLED_BEFORE_HEAD: u16 = 499;

impl Indicator {
    /// Returns whether an HTTP request is good; `None` if it is not valid. `verdict` is `None` for
    /// a cancelled request.
    #[inline]
    fn is_good(&self, end: &End, verdict: Option<bool>) -> Option<bool> {
        let Filters { valid, good, .. } = &self.filters;
        // The deadline of a gRPC call passed, or the client waited too long.
        let is_expired = || end.grpc().is_some_and(GrpcStatus::is_server_failure);
        let is_abandoned = || is_expired() || end.latency() >= self.filters.abandoned_after;
        match valid {
            Some(valid) if !valid(end) => return None,
            // Without a response, `good_if` can't decide.
            None if verdict.is_none() => {
                // Clients end gRPC streams by cancelling them.
                let has_head = end.status() != CANCELLED_BEFORE_HEAD;
                if end.grpc().is_some() && has_head && !is_expired() {
                    return None;
                }
                let is_bad = match self.criterion {
                    Criterion::Good => is_abandoned(),
                    Criterion::Fast(bound) => end.latency() > bound,
                    Criterion::GoodAndFast(bound) => is_abandoned() || end.latency() > bound,
                };
                return is_bad.then_some(false);
            }
            _ => {}
        }
        Some(match good {
            Some(good) => good(end),
            // An early cancellation that the application considers valid is no server failure.
            None => verdict.unwrap_or_else(|| !is_abandoned()),
        })
    }
}

impl fmt::Debug for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indicator")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
