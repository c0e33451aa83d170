use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use campanile_http::{End, GrpcStatus};

use crate::slices::Slices;
use crate::slo::{Bound, Select};
use crate::stream::Stream;
use crate::windows::LONGEST;

/// The definition of a [`Source`].
pub(crate) struct Spec {
    /// Identifies the source: two with the same key are one.
    pub(crate) key: String,
    pub(crate) input: Input,
    pub(crate) select: Select,
    pub(crate) class: Class,
    /// The windows of the objectives, in milliseconds.
    pub(crate) spans: Vec<u64>,
    pub(crate) sketches: Vec<u64>,
    /// The limit of routes that are tracked each, and their window.
    pub(crate) routes: Option<(usize, u64)>,
}

/// Where what is counted comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Input {
    Exchanges,
    Tracked,
    Uptime { down_while_gone: bool },
    Gauge { bound: Bound, slice: Duration },
}

impl Input {
    /// Returns whether time that was not watched counts as down.
    pub(crate) fn is_down_while_gone(self) -> bool {
        matches!(
            self,
            Self::Uptime {
                down_while_gone: true
            }
        )
    }
}

/// Which of what is valid is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Good,
    Fast(Duration),
    GoodAndFast(Duration),
}

impl Class {
    #[inline]
    pub(crate) fn is_good(self, good: bool, latency: Duration) -> bool {
        match self {
            Self::Good => good,
            Self::Fast(longest) => latency <= longest,
            Self::GoodAndFast(longest) => good && latency <= longest,
        }
    }
}

impl Spec {
    /// Takes in what another one that is the same asks for.
    pub(crate) fn merge(&mut self, other: Self) {
        self.spans.extend(other.spans);
        for window in other.sketches {
            if !self.sketches.contains(&window) {
                self.sketches.push(window);
            }
        }
        self.routes = match (self.routes, other.routes) {
            (Some((most, span)), Some((more, other))) => Some((most.max(more), span.max(other))),
            (one, other) => one.or(other),
        };
    }
}

impl Default for Spec {
    /// Every exchange, for every window.
    fn default() -> Self {
        Self {
            key: EXCHANGES.to_owned(),
            input: Input::Exchanges,
            select: Select::default(),
            class: Class::Good,
            spans: [2 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE, LONGEST].into(),
            sketches: Vec::new(),
            routes: None,
        }
    }
}

/// The key of the source that counts every exchange.
pub(crate) const EXCHANGES: &str = "exchanges";

const MINUTE: u64 = 60 * 1_000;

/// What one or several objectives count.
pub(crate) struct Source {
    pub(crate) key: String,
    pub(crate) input: Input,
    pub(crate) select: Select,
    pub(crate) class: Class,
    pub(crate) stream: Stream,
    pub(crate) routes: Option<Routes>,
    pub(crate) slices: Option<Slices>,
    /// The windows of its percentiles.
    pub(crate) sketches: Vec<u64>,
}

impl Source {
    pub(crate) fn new(spec: Spec, origin: Instant, wall: u64) -> Self {
        let routes = spec.routes.map(|(most, span)| Routes {
            most,
            span,
            streams: RwLock::default(),
        });
        let stream = Stream::new(origin, wall, &spec.spans, &spec.sketches);
        if spec.input.is_down_while_gone() {
            stream.windows(origin).set_unwatched(Some(false));
        }
        Self {
            stream,
            routes,
            slices: match spec.input {
                Input::Gauge { bound, slice } => Some(Slices::new(bound, slice)),
                _ => None,
            },
            key: spec.key,
            input: spec.input,
            select: spec.select,
            class: spec.class,
            sketches: spec.sketches,
        }
    }

    /// Counts a valid thing.
    #[inline]
    pub(crate) fn record(&self, good: bool, latency: Duration, at: Instant) {
        self.stream
            .record(self.class.is_good(good, latency), latency, at);
    }

    /// Counts an exchange, of which is known what it is by default: good or bad, or not valid.
    #[inline]
    pub(crate) fn end(&self, end: &End, verdict: Option<bool>) {
        let routes = &self.select.routes;
        if !routes.is_empty() && !routes.iter().any(|route| route == end.route().as_str()) {
            return;
        }
        let Some(is_good) = self.judge(end, verdict) else {
            return;
        };
        self.record(is_good, end.latency(), end.ended_at());
        if let Some(routes) = &self.routes {
            let is_good = self.class.is_good(is_good, end.latency());
            let stream = routes.of(end.route().as_str(), &self.stream, end.ended_at());
            stream.record(is_good, end.latency(), end.ended_at());
        }
    }
}

/// The status of a request that was cancelled before its response head.
const CANCELLED_BEFORE_HEAD: u16 = 499;

impl Source {
    /// Returns whether an exchange is good; `None` if it is not valid. Only a cancelled one has no verdict.
    #[inline]
    fn judge(&self, end: &End, verdict: Option<bool>) -> Option<bool> {
        let Select { valid, good, .. } = &self.select;
        // The deadline of a gRPC call passed, or the client waited for long.
        let is_expired = || end.grpc().is_some_and(GrpcStatus::is_server_failure);
        let is_abandoned = || is_expired() || end.latency() >= self.select.abandoned_after;
        match valid {
            Some(valid) if !valid(end) => return None,
            // There is no response that a closure could call good.
            None if verdict.is_none() => {
                // Clients end the streams of gRPC by cancelling them.
                let has_head = end.status() != CANCELLED_BEFORE_HEAD;
                if end.grpc().is_some() && has_head && !is_expired() {
                    return None;
                }
                let is_bad = match self.class {
                    Class::Good => is_abandoned(),
                    Class::Fast(bound) => end.latency() > bound,
                    Class::GoodAndFast(bound) => is_abandoned() || end.latency() > bound,
                };
                return is_bad.then_some(false);
            }
            _ => {}
        }
        Some(match good {
            Some(good) => good(end),
            // An early cancellation that is valid to the application is no failure of the server.
            None => verdict.unwrap_or_else(|| !is_abandoned()),
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A route without valid requests in the window.
struct Unused {
    route: String,
    stream: Arc<Stream>,
    /// The valid requests since the process began.
    total: u64,
}

/// A stream for each route, up to a limit.
pub(crate) struct Routes {
    most: usize,
    span: u64,
    streams: RwLock<BTreeMap<String, Arc<Stream>>>,
}

/// The route of requests beyond the limit.
const OTHER: &str = "_other_";

impl Routes {
    /// Returns the stream of a route, or of the others if there are too many. A new one has the time of the stream of all.
    pub(crate) fn of(&self, route: &str, all: &Stream, now: Instant) -> Arc<Stream> {
        let is_full = |streams: &BTreeMap<String, _>| {
            let others = usize::from(streams.contains_key(OTHER));
            streams.len() - others >= self.most
        };
        let find = |streams: &BTreeMap<String, Arc<Stream>>| {
            let others = || streams.get(OTHER).filter(|_| is_full(streams));
            streams.get(route).or_else(others).map(Arc::clone)
        };
        let found = find(&self.streams.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(stream) = found {
            return stream;
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = find(&streams) {
            return stream;
        }
        let route = if is_full(&streams) { OTHER } else { route };
        let stream = Arc::new(all.beside(&[self.span], now));
        streams.insert(route.to_owned(), Arc::clone(&stream));
        stream
    }

    /// Drops the routes without valid requests in the window.
    pub(crate) fn drop_unused(&self, now: Instant) {
        self.drop_all(self.unused(now), now);
    }

    /// Returns the routes without valid requests in the window, each with its total so far. Sums take long, so this holds no lock of
    /// the routes, which requests wait for.
    fn unused(&self, now: Instant) -> Vec<Unused> {
        let of_stream = |(route, stream): (String, Arc<Stream>)| {
            let windows = stream.windows(now);
            let total = (windows.last(self.span).valid() == 0).then(|| windows.total().valid());
            drop(windows);
            total.map(|total| Unused {
                route,
                stream,
                total,
            })
        };
        self.all().into_iter().filter_map(of_stream).collect()
    }

    /// Drops the unused routes that no request has used since.
    fn drop_all(&self, unused: Vec<Unused>, now: Instant) {
        if unused.is_empty() {
            return;
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        for Unused {
            route,
            stream,
            total,
        } in unused
        {
            let is_same = streams
                .get(&route)
                .is_some_and(|found| Arc::ptr_eq(found, &stream));
            // A third owner is a request that is about to be counted.
            let is_unused = Arc::strong_count(&stream) <= 2;
            if is_same && is_unused && stream.windows(now).total().valid() == total {
                streams.remove(&route);
            }
        }
    }

    /// Returns the length of the window, in milliseconds.
    pub(crate) fn span(&self) -> u64 {
        self.span
    }

    /// Returns all routes.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Stream>)> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let all = streams.iter();
        all.map(|(route, stream)| (route.clone(), Arc::clone(stream)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_is_used_while_it_is_about_to_be_dropped_is_kept() {
        #[expect(clippy::disallowed_methods, reason = "the tests are the edge")]
        let start = Instant::now();
        let source = Source::new(
            Spec {
                routes: Some((10, 60 * MINUTE)),
                ..Spec::default()
            },
            start,
            0,
        );
        let routes = source.routes.as_ref().unwrap();
        let names = || -> Vec<_> { routes.all().into_iter().map(|(name, _)| name).collect() };
        let of = |route| routes.of(route, &source.stream, start);
        let in_progress = of("/in_progress");
        for route in ["/again", "/old"] {
            drop(of(route));
        }
        let unused = routes.unused(start);
        assert_eq!(unused.len(), 3);
        of("/again").record(true, Duration::ZERO, start);
        routes.drop_all(unused, start);
        assert_eq!(names(), ["/again", "/in_progress"]);
        drop(in_progress);
        routes.drop_unused(start);
        assert_eq!(names(), ["/again"]);
    }
}
