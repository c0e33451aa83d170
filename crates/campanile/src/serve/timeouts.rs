#[cfg(feature = "metrics")]
use campanile_metrics::Counter;

use crate::Campanile;

/// The counters of clients that were too slow.
#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    #[cfg(feature = "metrics")]
    request_body: Option<Counter>,
    #[cfg(feature = "metrics")]
    response: Option<Counter>,
}

#[cfg(feature = "metrics")]
const TIMEOUTS: &str = "campanile_server_timeouts_total";

impl Timeouts {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "only metrics need it")
    )]
    pub(super) fn new(campanile: &Campanile) -> Self {
        #[cfg(feature = "metrics")]
        let counter = |stage| {
            campanile
                .metrics()
                .counter(TIMEOUTS, &[("stage", stage)])
                .ok()
        };
        #[cfg(feature = "metrics")]
        campanile.metrics().describe(
            TIMEOUTS,
            "Requests that ended because the client sent the body or read the response too slowly.",
        );
        Self {
            #[cfg(feature = "metrics")]
            request_body: counter("request_body"),
            #[cfg(feature = "metrics")]
            response: counter("response"),
        }
    }

    pub(super) fn request_body(&self) {
        #[cfg(feature = "metrics")]
        if let Some(counter) = &self.request_body {
            counter.increment(1);
        }
    }

    pub(super) fn response(&self) {
        #[cfg(feature = "metrics")]
        if let Some(counter) = &self.response {
            counter.increment(1);
        }
    }
}
