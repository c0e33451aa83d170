use std::fmt;

use campanile_http::{End, Head, Observer, Outcome, Route, method_label};
use http::StatusCode;

use self::table::Table;
use crate::cell::{CounterCell, GaugeCell};
use crate::{Counter, Gauge, Histogram, Registry};

mod table;

/// An [`Observer`] that counts and times HTTP exchanges.
///
/// | metric | kind | labels | what it is |
/// |---|---|---|---|
/// | `http_requests_total` | counter | `method`, `endpoint`, `status_code` | exchanges that have ended |
/// | `http_request_duration_seconds` | histogram | `method`, `endpoint` | [`End::latency`] |
/// | `http_requests_in_flight` | gauge | – | exchanges that have begun and not ended |
/// | `http_requests_abnormal_total` | counter | `method`, `endpoint`, `outcome` | those of `http_requests_total` that did not complete: `cancelled`, `panicked`, `service_error`, `body_error` |
///
/// `endpoint` is the [`Route`], `_unmatched_` without one; `method` is [`method_label`]; `status_code` is [`End::status`]:
/// 499 for an exchange cancelled before its response head, 500 for a panic or an error of the service.
///
/// While the host's code runs for an exchange, the `metrics` macros write to this observer's registry.
///
/// Handles are cached for each route, method and status, so that an exchange costs a lookup without a lock and five atomic
/// adds; past about 4,000 of them, the rest is looked up in the registry each time. A route has at most ten methods, so R
/// routes with S statuses have at most 10·R·S series of `http_requests_total`, and usually one or two methods' worth: with
/// more than 2,000, raise [`RegistryBuilder::series_per_family`](crate::RegistryBuilder::series_per_family).
#[derive(Clone)]
pub struct HttpMetrics {
    registry: Registry,
    in_flight: Gauge,
    table: std::sync::Arc<Table<Handles>>,
}

/// What an exchange with one route, method and status writes to.
struct Handles {
    requests: Counter,
    duration: Histogram,
}

impl HttpMetrics {
    /// Returns an observer that writes to a registry.
    ///
    /// A name that is taken there by a metric of another kind is refused, counted and logged, and the rest works.
    pub fn new(registry: &Registry) -> Self {
        registry.describe(REQUESTS, "HTTP requests that have ended.");
        registry.describe(
            DURATION,
            "Time from a request's head to the last byte of its response.",
        );
        registry.describe(IN_FLIGHT, "HTTP requests that have begun and not ended.");
        registry.describe(ABNORMAL, "HTTP requests that did not complete.");
        let in_flight = registry.lenient(IN_FLIGHT, std::iter::empty(), GaugeCell::default);
        Self {
            registry: registry.clone(),
            in_flight: Gauge(in_flight.unwrap_or_default()),
            table: Table::new().into(),
        }
    }

    fn handles(&self, route: &Route, method: &str, status: StatusCode) -> Handles {
        let labels = [
            ("method", method),
            ("endpoint", route.as_str()),
            ("status_code", status.as_str()),
        ];
        let duration = self
            .registry
            .lenient(DURATION, labels[..2].iter().copied(), || {
                self.registry.new_histogram()
            });
        Handles {
            requests: Counter(
                self.registry
                    .lenient(REQUESTS, labels.into_iter(), CounterCell::default)
                    .unwrap_or_default(),
            ),
            duration: Histogram(duration.unwrap_or_else(|| self.registry.new_histogram().into())),
        }
    }

    #[cold]
    fn abnormal(&self, method: &'static str, end: &End) {
        let labels = [
            ("method", method),
            ("endpoint", end.route().as_str()),
            ("outcome", end.outcome().as_str()),
        ];
        if let Some(counter) =
            self.registry
                .lenient(ABNORMAL, labels.into_iter(), CounterCell::default)
        {
            Counter(counter).increment(1);
        }
    }
}

const REQUESTS: &str = "http_requests_total";
const DURATION: &str = "http_request_duration_seconds";
const IN_FLIGHT: &str = "http_requests_in_flight";
const ABNORMAL: &str = "http_requests_abnormal_total";

impl Observer for HttpMetrics {
    type Exchange = &'static str;

    fn begin(&self, head: &mut Head<'_>) -> &'static str {
        self.in_flight.increment(1.0);
        method_label(head.method())
    }

    fn scope<T>(&self, _: &mut &'static str, poll: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.registry, poll)
    }

    fn end(&self, method: &'static str, end: &End) {
        let record = |handles: &Handles| {
            handles.requests.increment(1);
            handles.duration.record_duration(end.latency());
        };
        let (route, status) = (end.route(), end.status());
        match self.table.get_or_insert_with(route, method, status, || {
            self.handles(route, method, status)
        }) {
            Some(handles) => record(handles),
            None => record(&self.handles(route, method, status)),
        }
        if end.outcome() != Outcome::Completed {
            self.abnormal(method, end);
        }
        self.in_flight.decrement(1.0);
    }
}

impl fmt::Debug for HttpMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetrics")
            .field("in_flight", &self.in_flight.value())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
