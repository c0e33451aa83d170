use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::stream::Stream;

/// A route without valid requests in the window.
struct Unused {
    route: String,
    stream: Arc<Stream>,
    /// The valid requests since the process started.
    total: u64,
}

/// One stream per route, up to a limit.
pub(crate) struct Routes {
    limit: usize,
    /// The window, in milliseconds.
    span: u64,
    streams: RwLock<BTreeMap<String, Arc<Stream>>>,
}

/// The route of the requests beyond the limit.
const OTHER: &str = "_other_";

impl Routes {
    pub(crate) fn new(limit: usize, span: u64) -> Self {
        Self {
            limit,
            span,
            streams: RwLock::default(),
        }
    }

    /// Returns the stream of a route, or the stream of `_other_` if the limit is reached. A new
    /// stream has the time of `total`, the stream of all routes.
    pub(crate) fn stream(&self, route: &str, total: &Stream, now: Instant) -> Arc<Stream> {
        let is_full = |streams: &BTreeMap<String, _>| {
            let others = usize::from(streams.contains_key(OTHER));
            streams.len() - others >= self.limit
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
        let stream = Arc::new(total.new_sibling(&[self.span], now));
        streams.insert(route.to_owned(), Arc::clone(&stream));
        stream
    }

    /// Drops the routes without valid requests in the window.
    pub(crate) fn drop_unused(&self, now: Instant) {
        self.drop_all(self.unused(now), now);
    }

    /// Returns the routes without valid requests in the window, each with its total.
    ///
    /// Sums take long, so this does not hold the lock that requests wait for.
    fn unused(&self, now: Instant) -> Vec<Unused> {
        let unused = |(route, stream): (String, Arc<Stream>)| {
            let windows = stream.windows(now);
            let total = (windows.last(self.span).valid() == 0).then(|| windows.total().valid());
            drop(windows);
            total.map(|total| Unused {
                route,
                stream,
                total,
            })
        };
        self.all().into_iter().filter_map(unused).collect()
    }

    /// Drops the unused routes, unless a request has used them since.
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
            // A third owner is a request that is not counted yet.
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
    use std::time::Duration;

    use super::*;
    use crate::indicator::Indicator;
    use crate::spec::IndicatorSpec;

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_route_that_is_used_while_it_is_about_to_be_dropped_is_kept() {
        #[expect(clippy::disallowed_methods, reason = "the tests are the edge")]
        let start = Instant::now();
        let indicator = Indicator::new(
            IndicatorSpec {
                routes: Some((10, 60 * MINUTE)),
                ..IndicatorSpec::default()
            },
            start,
            0,
        );
        let routes = indicator.routes.as_ref().unwrap();
        let names = || -> Vec<_> { routes.all().into_iter().map(|(name, _)| name).collect() };
        let stream = |route| routes.stream(route, &indicator.stream, start);
        let in_progress = stream("/in_progress");
        for route in ["/again", "/old"] {
            drop(stream(route));
        }
        let unused = routes.unused(start);
        assert_eq!(unused.len(), 3);
        stream("/again").record(true, Duration::ZERO, start);
        routes.drop_all(unused, start);
        assert_eq!(names(), ["/again", "/in_progress"]);
        drop(in_progress);
        routes.drop_unused(start);
        assert_eq!(names(), ["/again"]);
    }
}
