use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use campanile_http::{
    End, GrpcStatus, Observer, Outcome, RequestHead, Route, TraceRef, method_label,
};
use http::uri::Scheme;
use http::{StatusCode, Version};
use metrics::Recorder;
use rustc_hash::FxBuildHasher;

use self::sink::{Either, Sink};
use crate::append_only_table::AppendOnlyTable;
use crate::http_naming::HttpNaming;
use crate::kind::Kind;
use crate::{Counter, Gauge, Histogram, RegisterError, Registry};

mod grpc;
mod sink;

/// An [`Observer`] that counts and times HTTP requests.
///
/// | metric | kind | labels | meaning |
/// |---|---|---|---|
/// | `http_requests_total` | counter | `method`, `endpoint`, `status_code` | ended requests |
/// | `http_request_duration_seconds` | histogram | `method`, `endpoint` | [`End::latency`] |
/// | `http_requests_in_flight` | gauge | – | requests that have begun and not ended |
/// | `http_requests_incomplete_total` | counter | `method`, `endpoint`, `outcome` | requests of `http_requests_total` that did not complete: `cancelled`, `panicked`, `service_error`, `body_error` |
/// | `http_server_request_duration_seconds` | histogram | `http_request_method`, `http_route`, `http_response_status_code`, `error_type`, `network_protocol_version`, `url_scheme` | [`End::latency`], by OpenTelemetry's semantic conventions |
///
/// The first two exist with [`HttpNaming::Classic`], the last with [`HttpNaming::OpenTelemetry`],
/// and all with [`HttpNaming::Both`].
///
/// gRPC calls count in these too, mostly with status 200. They also have these families:
///
/// | metric | kind | labels | meaning |
/// |---|---|---|---|
/// | `grpc_server_handled_total` | counter | `grpc_type`, `grpc_service`, `grpc_method`, `grpc_code` | ended calls |
/// | `grpc_server_handling_seconds` | histogram | `grpc_type`, `grpc_service`, `grpc_method` | [`End::latency`] |
/// | `rpc_server_call_duration_seconds` | histogram | `rpc_system_name`, `rpc_method`, `rpc_response_status_code`, `error_type` | [`End::latency`], with [`HttpNaming::OpenTelemetry`] |
///
/// # Labels
///
/// - `method` is [`method_label`], and `endpoint` is the [`Route`], or `_unmatched_`.
/// - `status_code` is [`End::status`]: 499 if the request was cancelled before the response head,
///   and 500 for a panic or an error of the service.
/// - `http_route` is missing without a route. `url_scheme` is the scheme of the URI, or `http`.
/// - `error_type` of a request is the status from 500 on, or the outcome.
/// - `grpc_code` is spelled as in Go's gRPC, such as `OK`, `NotFound` and `Canceled`.
/// - `grpc_type` is always `unknown`, because HTTP does not show whether a call is unary or
///   streaming.
/// - `grpc_service` and `grpc_method` are the parts of the route `/pkg.Service/Method`. Another
///   route, such as `_unmatched_`, is the value of both.
/// - `rpc_method` is `pkg.Service/Method`, or `_OTHER` for an unknown method.
/// - `rpc_response_status_code` is the name of the status, such as `NOT_FOUND`. `error_type` of a
///   call is that name if the [server failed](GrpcStatus::is_server_failure).
///
/// # Macros
///
/// While the application handles a request, the `metrics` macros write to this registry and to the
/// recorder that is current where the layer is called, which is the application's global recorder
/// if there is one. Each value counts once, also if this registry is the global recorder. With
/// [`with_recorder`](Self::with_recorder) they write to that recorder only.
///
/// # Exemplars
///
/// If an earlier observer adds a [`TraceRef`] to the extensions of the request, the durations have
/// exemplars.
///
/// # Cost and limits
///
/// Handles are cached per route, method, status and gRPC status. A request then costs a lookup
/// without a lock and five atomic adds. About 4,000 combinations are cached. The rest, and series
/// past a limit of the registry, are looked up for each request.
///
/// R routes with S statuses have at most 10·R·S series of `http_requests_total`, because there are
/// ten methods. The layer knows at most 200 gRPC methods, with 17 codes each. For more than 2,000
/// series, raise
/// [`RegistryBuilder::max_series_per_family`](crate::RegistryBuilder::max_series_per_family).
#[derive(Clone)]
pub struct HttpMetrics(Arc<Inner>);

struct Inner {
    sink: Sink,
    naming: HttpNaming,
    in_flight: Either<Gauge>,
    table: AppendOnlyTable<(Route, Key, Handles)>,
}

/// The properties of a request that select its handles, besides the route.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    method: MethodLabel,
    status: StatusCode,
    grpc: Option<GrpcStatus>,
    /// The properties that only the labels of OpenTelemetry distinguish.
    telemetry: Option<(Version, bool, Outcome)>,
}

/// The handles that a request writes to.
struct Handles {
    requests: Option<Either<Counter>>,
    durations: [Option<Either<Histogram>>; 2],
    grpc: Option<grpc::Handles>,
}

/// The state of a request. It is moved often, so it is small.
#[derive(Clone)]
pub struct HttpExchange {
    method: MethodLabel,
    /// The version, and whether the scheme is HTTPS, if they are labels.
    telemetry: Option<(Version, bool)>,
    trace: Option<TraceRef>,
    /// The incremented gauge, if it belongs to another recorder.
    in_flight: Option<Box<metrics::Gauge>>,
}

/// The label of a method, as an index of [`METHODS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct MethodLabel(u8);

/// All values of [`method_label`]. The last one stands for all other methods.
const METHODS: [&str; 10] = [
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "_OTHER",
];

const OTHER_METHOD: usize = METHODS.len() - 1;

impl MethodLabel {
    #[inline]
    fn new(method: &http::Method) -> Self {
        let label = method_label(method);
        let place = METHODS.iter().position(|name| *name == label);
        Self(place.unwrap_or(OTHER_METHOD) as u8)
    }

    fn label(self) -> &'static str {
        METHODS[usize::from(self.0).min(OTHER_METHOD)]
    }
}

impl Key {
    /// Returns the hash of the key and its route.
    #[inline]
    fn hash(&self, route: &Route) -> u64 {
        let grpc = self.grpc.map_or(0, |status| 1 + u32::from(status.code()));
        let status = u32::from(self.status.as_u16());
        let key = grpc << 24 | status << 8 | u32::from(self.method.0);
        match self.telemetry {
            None => FxBuildHasher.hash_one((route.as_str(), key)),
            Some(telemetry) => FxBuildHasher.hash_one((route.as_str(), key, telemetry)),
        }
    }
}

impl HttpMetrics {
    /// Returns an observer that writes to a registry, under the names of its
    /// [`http_naming`](crate::RegistryBuilder::http_naming).
    ///
    /// A name that another metric takes later is rejected, counted and logged. The other metrics
    /// are not affected.
    ///
    /// # Errors
    ///
    /// If one of the names belongs to another metric. Then no metric is registered.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let naming = registry.http_naming();
        let names = METRICS.iter().chain(&grpc::METRICS);
        let names = names.filter(|(name, ..)| match *name {
            REQUESTS | DURATION | grpc::HANDLED | grpc::HANDLING => {
                naming != HttpNaming::OpenTelemetry
            }
            SERVER_DURATION | grpc::CALL_DURATION => naming != HttpNaming::Classic,
            _ => true,
        });
        let names: Vec<_> = names.map(|&(name, _, kind)| (name, kind)).collect();
        registry.check_names(&names)?;
        Ok(Self::to(Sink::Registry(registry.clone()), naming))
    }

    /// Returns an observer that writes to the recorder of another library, such as
    /// metrics-exporter-prometheus.
    ///
    /// Its values can't be read in process, and its limits and buckets apply. The recorder may
    /// remove idle series (the exporter's `idle_timeout`), so each request looks up its handles. If
    /// the recorder removes the gauge `http_requests_in_flight`, the next request recreates it
    /// without the older requests.
    pub fn with_recorder(
        recorder: impl Recorder + Send + Sync + 'static,
        naming: HttpNaming,
    ) -> Self {
        Self::to(Sink::Recorder(Arc::new(recorder)), naming)
    }

    fn to(sink: Sink, naming: HttpNaming) -> Self {
        for (name, help, kind) in METRICS.into_iter().chain(grpc::METRICS) {
            sink.describe(name, help, kind);
        }
        Self(Arc::new(Inner {
            in_flight: sink.gauge(IN_FLIGHT),
            sink,
            naming,
            table: AppendOnlyTable::new(),
        }))
    }
}

impl Inner {
    /// Returns the handles, and whether they can be cached.
    fn handles(&self, route: &Route, key: &Key) -> (Handles, bool) {
        let status = key.status.as_str();
        let labels = [
            ("method", key.method.label()),
            ("endpoint", route.as_str()),
            ("status_code", status),
        ];
        let is_classic = self.naming != HttpNaming::OpenTelemetry;
        let classic = is_classic.then(|| self.sink.histogram(DURATION, &labels[..2]));
        let telemetry = key.telemetry.map(|(version, is_https, outcome)| {
            let error = match outcome {
                Outcome::Completed if key.status.is_server_error() => status,
                Outcome::Completed => "",
                outcome => outcome.as_str(),
            };
            let labels = [
                ("http_request_method", key.method.label()),
                (
                    "http_route",
                    if route.is_unmatched() {
                        ""
                    } else {
                        route.as_str()
                    },
                ),
                ("http_response_status_code", status),
                ("error_type", error),
                ("network_protocol_version", version_label(version)),
                ("url_scheme", if is_https { "https" } else { "http" }),
            ];
            self.sink.histogram(SERVER_DURATION, &labels)
        });
        let requests = is_classic.then(|| self.sink.counter(REQUESTS, &labels));
        let grpc = key
            .grpc
            .map(|status| grpc::Handles::new(&self.sink, self.naming, route, status));
        let is_own = requests.as_ref().is_none_or(|given| given.is_own)
            && [&classic, &telemetry]
                .into_iter()
                .flatten()
                .all(|given| given.is_own)
            && grpc.as_ref().is_none_or(|given| given.is_own);
        let handles = Handles {
            requests: requests.map(|given| given.handle),
            durations: [classic, telemetry].map(|given| given.map(|given| given.handle)),
            grpc: grpc.map(|given| given.handle),
        };
        (handles, is_own)
    }

    #[cold]
    fn incomplete(&self, method: MethodLabel, end: &End) {
        let labels = [
            ("method", method.label()),
            ("endpoint", end.route().as_str()),
            ("outcome", end.outcome().as_str()),
        ];
        self.sink.counter(INCOMPLETE, &labels).handle.increment();
    }
}

fn version_label(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

const REQUESTS: &str = "http_requests_total";
const DURATION: &str = "http_request_duration_seconds";
const SERVER_DURATION: &str = "http_server_request_duration_seconds";
const IN_FLIGHT: &str = "http_requests_in_flight";
const INCOMPLETE: &str = "http_requests_incomplete_total";

const METRICS: [(&str, &str, Kind); 5] = [
    (REQUESTS, "Ended HTTP requests.", Kind::Counter),
    (
        DURATION,
        "Time from the head of a request to the last byte of its response, in seconds.",
        Kind::Histogram,
    ),
    (
        SERVER_DURATION,
        "Duration of HTTP server requests, in seconds.",
        Kind::Histogram,
    ),
    (
        IN_FLIGHT,
        "HTTP requests that have begun and not ended.",
        Kind::Gauge,
    ),
    (
        INCOMPLETE,
        "HTTP requests that did not complete, by outcome.",
        Kind::Counter,
    ),
];

impl Observer for HttpMetrics {
    type Exchange = HttpExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> HttpExchange {
        HttpExchange {
            in_flight: self.0.in_flight.begin(),
            method: MethodLabel::new(head.method()),
            telemetry: (self.0.naming != HttpNaming::Classic)
                .then(|| (head.version(), head.uri().scheme() == Some(&Scheme::HTTPS))),
            trace: head.extensions().get().copied(),
        }
    }

    fn scope<T>(&self, _: &mut HttpExchange, poll: impl FnOnce() -> T) -> T {
        self.0.sink.scope(poll)
    }

    fn end(&self, exchange: HttpExchange, end: &End) {
        let inner = &*self.0;
        let route = end.route();
        let key = Key {
            method: exchange.method,
            status: end.status(),
            grpc: end.grpc(),
            telemetry: exchange
                .telemetry
                .map(|(version, is_https)| (version, is_https, end.outcome())),
        };
        let record = |handles: &Handles| {
            if let Some(requests) = &handles.requests {
                requests.increment();
            }
            for duration in handles.durations.iter().flatten() {
                duration.record(end.latency(), exchange.trace);
            }
            if let Some(grpc) = &handles.grpc {
                grpc.record(end.latency(), exchange.trace);
            }
        };
        let hash = key.hash(route);
        let is_it = |(of, that, _): &(Route, Key, Handles)| *that == key && of == route;
        match inner.table.get(hash, is_it) {
            Some((_, _, handles)) => record(handles),
            None => {
                let (handles, is_own) = inner.handles(route, &key);
                record(&handles);
                if is_own {
                    inner
                        .table
                        .insert(hash, is_it, (route.clone(), key, handles));
                }
            }
        }
        if end.outcome() != Outcome::Completed {
            inner.incomplete(exchange.method, end);
        }
        inner.in_flight.end(exchange.in_flight);
    }
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpExchange")
            .field("method", &self.method.label())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetrics")
            .field("sink", &self.0.sink)
            .field("naming", &self.0.naming)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
