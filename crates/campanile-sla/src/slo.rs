use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_http::{End, RequestHead};

use crate::source::Source;
use crate::window::Window;

/// A service level objective (SLO): a measured value, its target and its window.
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`over`](Self::over) | 30 days; for a percentile 24 hours | 1 s to 92 days, month, quarter |
/// | [`source`](Self::source) | depends on the kind, see [`Source`] | |
/// | [`route`](Self::route) | all routes | |
/// | [`filter`](Self::filter) | all requests except probes and scrapes | |
/// | [`valid_if`](Self::valid_if) | not cancelled early | |
/// | [`good_if`](Self::good_if) | no server failure | |
/// | [`abandoned_after`](Self::abandoned_after) | 10 s | 1 ms to 1 h |
/// | [`per_route`](Self::per_route) | not tracked per route | 1 to 200 over all SLOs |
/// | [`count_restart_as_down`](Self::count_restart_as_down) | off | |
/// | [`time_slice`](Self::time_slice) | 1 min | 1 s to 1 h |
#[derive(Clone)]
#[must_use = "an SLO does nothing until it is added to a builder"]
pub struct Slo {
    pub(crate) name: String,
    pub(crate) goal: Goal,
    pub(crate) window: Window,
    pub(crate) source: Option<Source>,
    pub(crate) filters: Filters,
    pub(crate) per_route: Option<usize>,
    pub(crate) count_restart_as_down: bool,
    pub(crate) time_slice: Option<Duration>,
}

/// The kind of an SLO and its target, as given.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Availability(String),
    Latency(String, Duration),
    SuccessWithin(String, Duration),
    Uptime(String),
    Gauge(String, Bound),
    ErrorRate(String),
    MeanLatency(Duration),
    Percentile(String, Duration),
    Throughput(f64),
}

/// The bound of a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The value is at most this.
    AtMost(f64),
    /// The value is at least this.
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(max) => value <= max,
            Self::AtLeast(min) => value >= min,
        }
    }

    pub(crate) fn number(self) -> f64 {
        match self {
            Self::AtMost(number) | Self::AtLeast(number) => number,
        }
    }
}

/// Writes `<= 10000` or `>= 3`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(max) => write!(f, "<= {max}"),
            Self::AtLeast(min) => write!(f, ">= {min}"),
        }
    }
}

/// The conditions under which a request counts, is valid and is good.
#[derive(Clone)]
pub(crate) struct Filters {
    pub(crate) routes: Vec<String>,
    pub(crate) abandoned_after: Duration,
    pub(crate) filter: Option<HeadPredicate>,
    pub(crate) valid: Option<EndPredicate>,
    pub(crate) good: Option<EndPredicate>,
}

pub(crate) type HeadPredicate = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type EndPredicate = Arc<dyn Fn(&End) -> bool + Send + Sync>;

/// The default latency from which a cancelled request is bad.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(10);

impl Default for Filters {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            abandoned_after: ABANDONED_AFTER,
            filter: None,
            valid: None,
            good: None,
        }
    }
}

impl Filters {
    pub(crate) fn has_closures(&self) -> bool {
        self.filter.is_some() || self.valid.is_some() || self.good.is_some()
    }
}

impl Slo {
    /// Creates an SLO on the share of valid requests that are good, for example `99.9%`.
    ///
    /// The target is from 0 % to below 100 %, with at most seven decimal places. The name, as for
    /// all SLOs, has 1 to 64 characters of `[A-Za-z0-9._-]`.
    ///
    /// Each status below 500 is good, including 408. If a timeout layer of the application responds
    /// with 408 to slow requests, make it respond with 503, or set [`good_if`](Self::good_if).
    pub fn availability(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::Availability(target.into()))
    }

    /// Creates an SLO on the share of valid requests that take at most `limit`, good or not.
    ///
    /// Each request is compared with the limit itself, not with the buckets of a histogram. The
    /// limit is above 0.
    pub fn latency(name: impl Into<String>, target: impl Into<String>, limit: Duration) -> Self {
        Self::new(name, Goal::Latency(target.into(), limit))
    }

    /// Creates an SLO on the share of valid requests that are good and take at most `limit`.
    ///
    /// The limit is above 0.
    pub fn success_within(
        name: impl Into<String>,
        target: impl Into<String>,
        limit: Duration,
    ) -> Self {
        Self::new(name, Goal::SuccessWithin(target.into(), limit))
    }

    /// Creates an SLO on the share of time in which the service, or one health check, is up.
    ///
    /// The monitor reads the health: the service is up unless it is unhealthy. A critical check
    /// with a stale result counts as down, as it does for readiness. The time before its first
    /// result is unknown, and does not count. With [`Source::Manual`] an
    /// [`UptimeRecorder`](crate::UptimeRecorder) sets the state instead.
    pub fn uptime(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::Uptime(target.into()))
    }

    /// Creates an SLO on the share of [time slices](Self::time_slice) in which the mean of a gauge
    /// is within a bound.
    ///
    /// The values come from a [`GaugeRecorder`](crate::GaugeRecorder) or from
    /// [`Source::Series`].
    pub fn gauge(name: impl Into<String>, target: impl Into<String>, bound: Bound) -> Self {
        Self::new(name, Goal::Gauge(target.into(), bound))
    }

    /// Creates an SLO on the share of valid requests that are bad, at most the target, for example
    /// `1%`.
    ///
    /// The target is from above 0 % to 100 %. Up to a tenth above it the status is a warning,
    /// although the [budget](crate::Budget) is then overspent.
    pub fn error_rate(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::ErrorRate(target.into()))
    }

    /// Creates an SLO on the mean latency of valid requests, at most `target`, which is above 0.
    ///
    /// An abandoned request, and a gRPC call whose deadline passed, count with the time that the
    /// client waited.
    pub fn mean_latency(name: impl Into<String>, target: Duration) -> Self {
        Self::new(name, Goal::MeanLatency(target))
    }

    /// Creates an SLO on a percentile of the latency of valid requests, for example `99%`, at most
    /// `target`, which is above 0.
    ///
    /// An abandoned request, and a gRPC call whose deadline passed, count with the time that the
    /// client waited.
    ///
    /// The error is at most 1 %, for latencies from 10 µs to 1,000 s. The window is a rolling one
    /// of at most a day, and its start is exact to 1/24 of its length.
    pub fn latency_percentile(
        name: impl Into<String>,
        percentile: impl Into<String>,
        target: Duration,
    ) -> Self {
        let slo = Self::new(name, Goal::Percentile(percentile.into(), target));
        slo.over(Window::days(1))
    }

    /// Creates an SLO on the number of valid requests per second, at least the target, which is
    /// above 0.
    pub fn throughput(name: impl Into<String>, per_second: f64) -> Self {
        Self::new(name, Goal::Throughput(per_second))
    }

    /// Sets the window.
    ///
    /// Defaults to the last 30 days, and to the last 24 hours for a percentile.
    pub fn over(mut self, window: impl Into<Window>) -> Self {
        self.window = window.into();
        self
    }

    /// Sets the source of the data.
    ///
    /// ```
    /// use campanile_sla::{Bound, Slo, Source};
    ///
    /// let jobs = Slo::availability("jobs", "99%").source(Source::Manual);
    /// let database = Slo::uptime("database", "99.95%").source(Source::check("db"));
    /// let backlog = Slo::gauge("backlog", "99%", Bound::AtMost(10_000.0))
    ///     .source(Source::series(r#"queue_size{queue="orders"}"#));
    /// ```
    ///
    /// Defaults to [`Source::Http`], for an uptime to [`Source::Health`], and for a gauge to
    /// [`Source::Manual`].
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Counts only the requests of a [route](campanile_http::Route), such as `/orders/{id}` or
    /// `/pkg.Service/Method`. Several calls add several routes.
    ///
    /// It is the full template, including the prefix of a `nest`. If no request matches it,
    /// [`ServiceLevels::lints`](crate::ServiceLevels::lints) and the
    /// [report](crate::SloReport::unmatched_routes) say so after 100 requests.
    ///
    /// Defaults to all routes.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.filters.routes.push(route.into());
        self
    }

    /// Counts only the requests that match a predicate.
    ///
    /// ```
    /// use campanile_sla::Slo;
    ///
    /// let slo = Slo::availability("paying", "99.95%")
    ///     .filter(|head| head.headers().contains_key("x-customer"));
    /// ```
    ///
    /// The predicate must not block. If it panics, the request counts for no SLO.
    ///
    /// Defaults to all requests except probes and scrapes, which have one of these user agents:
    /// `kube-probe/…`, `Prometheus/…`, `vm_promscrape`, `ELB-HealthChecker/…`, `GoogleHC/…`.
    pub fn filter(
        mut self,
        counts: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filters.filter = Some(Arc::new(counts));
        self
    }

    /// Sets the predicate of valid requests. Others do not count at all.
    ///
    /// The predicate must not block. If it panics, the request does not count for this SLO.
    ///
    /// Defaults to the requests that the client did not cancel [early](crate#what-counts).
    pub fn valid_if(mut self, is_valid: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        self.filters.valid = Some(Arc::new(is_valid));
        self
    }

    /// Sets the predicate of good requests among the valid ones.
    ///
    /// ```
    /// use campanile_sla::Slo;
    ///
    /// // A request that is shed on purpose is no failure.
    /// let slo = Slo::availability("orders", "99.9%")
    ///     .good_if(|end| end.status() == 503 || !end.status().is_server_error());
    /// ```
    ///
    /// A cancelled request has no response. Unless [`valid_if`](Self::valid_if) is set too, the
    /// [default](crate#what-counts) decides about it.
    ///
    /// The predicate must not block. If it panics, the request does not count for this SLO.
    ///
    /// Defaults to the requests without a [server failure](crate#what-counts).
    pub fn good_if(mut self, is_good: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        self.filters.good = Some(Arc::new(is_good));
        self
    }

    /// Sets the latency from which a cancelled request is bad: 1 ms to 1 h. A request that is
    /// cancelled earlier is not valid.
    ///
    /// It does not apply to [`latency`](Self::latency), which uses its own limit.
    ///
    /// The latency of an event stream ends with its head, so closing one is not bad. A long
    /// download counts to its last byte: if clients may cancel one at any time, exclude its route,
    /// or set [`valid_if`](Self::valid_if).
    ///
    /// Defaults to 10 s.
    pub fn abandoned_after(mut self, latency: Duration) -> Self {
        self.filters.abandoned_after = latency;
        self
    }

    /// Tracks the budget per route, for at most this number of routes: 1 to 200 over all SLOs.
    ///
    /// Requests of further routes count as `_other_`. The report has the ten worst routes. A route
    /// takes 24 KB over 30 days and 72 KB over 90 days. A route without requests in the window is
    /// dropped.
    ///
    /// Defaults to no tracking per route.
    pub fn per_route(mut self, routes: usize) -> Self {
        self.per_route = Some(routes);
        self
    }

    /// Counts the time between two runs of the process as down, for an [`uptime`](Self::uptime).
    ///
    /// The time is known from the [restored](crate::ServiceLevels::restore) counts. The time in
    /// which the process was paused or blocked for more than [30 s](crate::ServiceLevels::tick) is
    /// down too.
    ///
    /// Defaults to not counting this time, because another replica may have served.
    pub fn count_restart_as_down(mut self) -> Self {
        self.count_restart_as_down = true;
        self
    }

    /// Sets the length of a time slice of a [`gauge`](Self::gauge): 1 s to 1 h, at most the window.
    ///
    /// A slice counts once, when it ends, by the mean of its values. A slice during a restart does
    /// not count.
    ///
    /// Defaults to 1 min.
    pub fn time_slice(mut self, slice: Duration) -> Self {
        self.time_slice = Some(slice);
        self
    }

    fn new(name: impl Into<String>, goal: Goal) -> Self {
        Self {
            name: name.into(),
            goal,
            window: Window::default(),
            source: None,
            filters: Filters::default(),
            per_route: None,
            count_restart_as_down: false,
            time_slice: None,
        }
    }
}

impl fmt::Debug for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slo")
            .field("name", &self.name)
            .field("goal", &self.goal)
            .field("window", &self.window)
            .field("source", &self.source)
            .field("routes", &self.filters.routes)
            .finish_non_exhaustive()
    }
}
