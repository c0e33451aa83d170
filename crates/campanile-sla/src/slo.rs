use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_http::{End, RequestHead};

use crate::Window;

/// A service level objective: a figure of the service, and what it should be.
///
/// | setting | default |
/// |---|---|
/// | [`over`](Self::over) | 30 days; of a percentile 24 hours |
/// | [`route`](Self::route), [`requests`](Self::requests) | every exchange |
/// | [`valid`](Self::valid), [`good`](Self::good) | as [the crate's docs](crate#what-counts) have it |
/// | [`abandoned_after`](Self::abandoned_after) | 10 s |
/// | [`per_route`](Self::per_route) | not told apart |
/// | [`tracked`](Self::tracked) | exchanges count |
/// | [`down_while_gone`](Self::down_while_gone) | unknown |
/// | [`check`](Self::check) | the whole service |
/// | [`slice`](Self::slice) | 1 min |
/// | [`series`](Self::series) | none |
#[derive(Clone)]
#[must_use = "an objective does nothing until it is given to a builder"]
pub struct Slo {
    pub(crate) name: String,
    pub(crate) goal: Goal,
    pub(crate) window: Window,
    pub(crate) select: Select,
    pub(crate) per_route: Option<usize>,
    pub(crate) tracked: bool,
    pub(crate) down_while_gone: bool,
    pub(crate) check: Option<String>,
    pub(crate) slice: Option<Duration>,
    pub(crate) series: Option<String>,
}

/// What an objective asks for, as given.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    Availability(String),
    Latency(String, Duration),
    Combined(String, Duration),
    Uptime(String),
    Gauge(String, Bound),
    ErrorRate(String),
    ResponseTime(Duration),
    Percentile(String, Duration),
    Throughput(f64),
}

/// What a gauge should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    pub(crate) fn number(self) -> f64 {
        match self {
            Self::AtMost(number) | Self::AtLeast(number) => number,
        }
    }
}

/// `<= 10000`, `>= 3`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// Which exchanges count, and how.
#[derive(Clone)]
pub(crate) struct Select {
    pub(crate) routes: Vec<String>,
    pub(crate) abandoned_after: Duration,
    pub(crate) requests: Option<OfHead>,
    pub(crate) valid: Option<OfEnd>,
    pub(crate) good: Option<OfEnd>,
}

pub(crate) type OfHead = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;
pub(crate) type OfEnd = Arc<dyn Fn(&End) -> bool + Send + Sync>;

/// From which latency on a cancelled request is bad.
pub(crate) const ABANDONED: Duration = Duration::from_secs(10);

impl Default for Select {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            abandoned_after: ABANDONED,
            requests: None,
            valid: None,
            good: None,
        }
    }
}

impl Select {
    pub(crate) fn has_closures(&self) -> bool {
        self.requests.is_some() || self.valid.is_some() || self.good.is_some()
    }
}

impl Slo {
    /// Creates an objective on the share of valid requests that are good, such as `99.9%`: from 0 % to below 100 %, with at most
    /// seven decimal places. The name is 1 to 64 characters of `[A-Za-z0-9._-]`, and so it is for the others.
    ///
    /// Every status below 500 is good, also 408. If a timeout layer of the application responds with 408 to slow requests, make it respond with 503,
    /// or use [`good`](Self::good).
    pub fn availability(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::Availability(target.into()))
    }

    /// Creates an objective on the share of valid requests that take no longer than a time, whether or not they are good; above 0. It is
    /// compared for each exchange, and not with the bounds of a histogram.
    pub fn latency(name: impl Into<String>, target: impl Into<String>, longest: Duration) -> Self {
        Self::new(name, Goal::Latency(target.into(), longest))
    }

    /// Creates an objective on the share of valid requests that are good, and take no longer than a time; above 0.
    pub fn combined(name: impl Into<String>, target: impl Into<String>, longest: Duration) -> Self {
        Self::new(name, Goal::Combined(target.into(), longest))
    }

    /// Returns the objective that the service is up for so much of the time: that it is not unhealthy. The monitor says so, from the health
    /// checks; without it, [`Uptime`](crate::Uptime) does. A critical check with a stale result is down, as it is for readiness; before its first
    /// result the time is unknown.
    pub fn uptime(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::Uptime(target.into()))
    }

    /// Returns the objective that a gauge is within a bound for so many [slices](Self::slice) of the time: on average over each of them, as its
    /// [`Slices`](crate::Slices) say.
    pub fn gauge(name: impl Into<String>, target: impl Into<String>, bound: Bound) -> Self {
        Self::new(name, Goal::Gauge(target.into(), bound))
    }

    /// Returns the objective that no more of the valid exchanges are bad, such as `1%`: from above 0 % to 100 %.
    ///
    /// Up to a tenth above the target it is a warning, although its [budget](crate::Budget) is then overspent.
    pub fn error_rate(name: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(name, Goal::ErrorRate(target.into()))
    }

    /// Creates an objective on the mean latency of valid requests, at most this; above 0.
    ///
    /// An abandoned request, or a gRPC call whose deadline passed, counts with the time that its client waited.
    pub fn response_time(name: impl Into<String>, target: Duration) -> Self {
        Self::new(name, Goal::ResponseTime(target))
    }

    /// Creates an objective on a percentile of the latencies of valid requests, such as `99%`, at most this; above 0.
    ///
    /// An abandoned request, or a gRPC call whose deadline passed, counts with the time that its client waited.
    ///
    /// It is known to a hundredth, from 10 µs to 1,000 s, over windows that roll on for at most a day: of these the start is exact to a 24th.
    pub fn percentile(
        name: impl Into<String>,
        percentile: impl Into<String>,
        target: Duration,
    ) -> Self {
        let slo = Self::new(name, Goal::Percentile(percentile.into(), target));
        slo.over(Window::days(1))
    }

    /// Creates an objective on the number of valid requests in a second, at least; above 0.
    pub fn throughput(name: impl Into<String>, per_second: f64) -> Self {
        Self::new(name, Goal::Throughput(per_second))
    }

    /// Sets the window that is judged, up to now.
    ///
    /// Defaults to the last 30 days, and of a percentile to the last 24 hours.
    pub fn over(mut self, window: impl Into<Window>) -> Self {
        self.window = window.into();
        self
    }

    /// Counts the exchanges of a [route](campanile_http::Route) alone, such as `/orders/{id}` or `/pkg.Service/Method`; of several, if it is
    /// called several times. It is the full template, including the prefix of a `nest`. If no request matches it, [`Sla::lints`](crate::Sla::lints) and
    /// the [report](crate::ObjectiveReport::unmatched_routes) say so after 100 requests.
    ///
    /// Defaults to every route.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.select.routes.push(route.into());
        self
    }

    /// Counts the exchanges alone whose request a closure takes.
    ///
    /// ```
    /// use campanile_sla::Slo;
    ///
    /// let paying = Slo::availability("paying", "99.95%").requests(|head| head.headers().contains_key("x-customer"));
    /// ```
    ///
    /// It must not block. If it panics the exchange counts for no objective. Defaults to every exchange but probes of Kubernetes and scrapes of
    /// Prometheus (`User-Agent: kube-probe/…`, `Prometheus/…`, `vm_promscrape`, `ELB-HealthChecker/…`, `GoogleHC/…`), in place of which it comes.
    pub fn requests(
        mut self,
        counts: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.select.requests = Some(Arc::new(counts));
        self
    }

    /// Sets which exchanges are valid. Those that are not don't count at all.
    ///
    /// It must not block. If it panics the exchange doesn't count here. Defaults to those that the client did not cancel
    /// [early](crate#what-counts).
    pub fn valid(mut self, is_valid: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        self.select.valid = Some(Arc::new(is_valid));
        self
    }

    /// Sets which of the valid exchanges are good.
    ///
    /// ```
    /// use campanile_sla::Slo;
    ///
    /// // What is shed on purpose is no failure.
    /// let slo = Slo::availability("orders", "99.9%").good(|end| end.status() == 503 || !end.status().is_server_error());
    /// ```
    ///
    /// A cancelled request has no response: unless [`valid`](Self::valid) is set too, it is judged by [default](crate#what-counts).
    ///
    /// It must not block. If it panics the exchange doesn't count here. Defaults to [what the server did not fail at](crate#what-counts).
    pub fn good(mut self, is_good: impl Fn(&End) -> bool + Send + Sync + 'static) -> Self {
        self.select.good = Some(Arc::new(is_good));
        self
    }

    /// Sets the latency from which on a cancelled request is bad: its client has given up on the service. A request that is cancelled earlier is not
    /// valid. 1 ms to 1 h. It does not apply to [`latency`](Self::latency), whose bound holds instead.
    ///
    /// The latency of an event stream ends with its head, so that closing one is not bad. A long download counts to its last byte: where clients may
    /// cancel one at any time, leave its route out, or set [`valid`](Self::valid).
    ///
    /// Defaults to 10 s.
    pub fn abandoned_after(mut self, latency: Duration) -> Self {
        self.select.abandoned_after = latency;
        self
    }

    /// Counts for each route too, to tell which of them use the budget: for so many at most, 1 to 200 of all objectives together, and the others as `_other_`.
    /// Each takes 24 KB over 30 days, and 72 over 90; the report has the ten worst. A route without requests in the window makes room for another.
    ///
    /// Defaults to not telling them apart.
    pub fn per_route(mut self, routes: usize) -> Self {
        self.per_route = Some(routes);
        self
    }

    /// Counts what its [`Tracker`](crate::Tracker) is told, such as jobs or messages, and no exchanges; of an [`uptime`](Self::uptime), what its
    /// [`Uptime`](crate::Uptime) is told, and not what the health checks say.
    ///
    /// Defaults to exchanges, and to the health checks.
    pub fn tracked(mut self) -> Self {
        self.tracked = true;
        self
    }

    /// Counts the time in which the process was gone, as far as it is known from what was [restored](crate::Sla::restore), as down; and so the
    /// time in which the process was paused or blocked for more than [30 s](crate::Sla::advance). It is for [`uptime`](Self::uptime) alone.
    ///
    /// Defaults to counting it neither as up nor as down: another replica may have served.
    pub fn down_while_gone(mut self) -> Self {
        self.down_while_gone = true;
        self
    }

    /// Judges an [`uptime`](Self::uptime) by one of the health checks, by its name.
    ///
    /// Defaults to the health of the whole service.
    pub fn check(mut self, name: impl Into<String>) -> Self {
        self.check = Some(name.into());
        self
    }

    /// Sets the time over which the [`gauge`](Self::gauge) is averaged, and that counts once, when it is over: from 1 s to 1 h, and no more than
    /// the window. One that is cut by a restart doesn't count.
    ///
    /// Defaults to 1 min.
    pub fn slice(mut self, slice: Duration) -> Self {
        self.slice = Some(slice);
        self
    }

    /// Names the series that has the [`gauge`](Self::gauge)'s values, such as `queue_size{queue="orders"}`, for who has the metrics: the
    /// monitor reads it at each tick. If there are several such series, their sum counts.
    ///
    /// Defaults to none: the host gives the values.
    pub fn series(mut self, selector: impl Into<String>) -> Self {
        self.series = Some(selector.into());
        self
    }

    fn new(name: impl Into<String>, goal: Goal) -> Self {
        Self {
            name: name.into(),
            goal,
            window: Window::default(),
            select: Select::default(),
            per_route: None,
            tracked: false,
            down_while_gone: false,
            check: None,
            slice: None,
            series: None,
        }
    }
}

impl fmt::Debug for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slo")
            .field("name", &self.name)
            .field("goal", &self.goal)
            .field("window", &self.window)
            .field("routes", &self.select.routes)
            .finish_non_exhaustive()
    }
}
