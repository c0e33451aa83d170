use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use campanile_http::{End, Observer, Outcome, RequestHead};
use http::header::USER_AGENT;

use crate::service_levels::ServiceLevels;

/// An [`Observer`] that counts HTTP requests for all SLOs; from [`ServiceLevels::observer`].
///
/// See [what counts](crate#what-counts).
#[derive(Clone, Debug)]
pub struct SliObserver {
    levels: ServiceLevels,
}

impl ServiceLevels {
    /// Returns an observer that counts each HTTP request of a layer.
    pub fn observer(&self) -> SliObserver {
        SliObserver {
            levels: self.clone(),
        }
    }
}

/// The state of a request in [`SliObserver`]: the indicators that count it, as a bit set.
#[derive(Clone, Copy, Debug)]
pub struct SliExchange(u128);

impl Observer for SliObserver {
    type Exchange = SliExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> SliExchange {
        let mut counted = match is_probe_or_scrape(head) {
            true => 0,
            false => u128::MAX,
        };
        let mut panic = None;
        for (number, filter) in self.levels.filters() {
            let bit = 1 << number;
            counted &= !bit;
            if caught(&mut panic, || filter(head)) == Some(true) {
                counted |= bit;
            }
        }
        // The layer does not call `end` after a panic here; nothing has counted the request yet.
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        SliExchange(counted)
    }

    fn end(&self, SliExchange(counted): SliExchange, end: &End) {
        let verdict = match end.outcome() {
            // The indicator decides, by the time that the client waited.
            Outcome::Cancelled => None,
            Outcome::Completed => Some(match end.grpc() {
                Some(status) => !status.is_server_failure(),
                None => !end.status().is_server_error(),
            }),
            _ => Some(false),
        };
        let mut panic = None;
        for (number, indicator) in self.levels.http_indicators() {
            if counted & (1 << number) == 0 {
                continue;
            }
            if indicator.filters.has_closures() {
                caught(&mut panic, || indicator.end(end, verdict));
            } else {
                indicator.end(end, verdict);
            }
        }
        // The layer counts the panic.
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Calls a predicate of the application, and stores the first panic.
fn caught<T>(panic: &mut Option<Box<dyn Any + Send>>, run: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    result.map_err(|payload| panic.get_or_insert(payload)).ok()
}

/// The prefixes of the user agents of probes and scrapes: Kubernetes, Prometheus, VictoriaMetrics,
/// and the load balancers of AWS and Google Cloud.
const PROBES: [&[u8]; 5] = [
    b"kube-probe/",
    b"Prometheus/",
    b"vm_promscrape",
    b"ELB-HealthChecker/",
    b"GoogleHC/",
];

fn is_probe_or_scrape(head: &RequestHead<'_>) -> bool {
    let agent = head.headers().get(USER_AGENT);
    agent.is_some_and(|agent| {
        let agent = agent.as_bytes();
        PROBES.iter().any(|probe| agent.starts_with(probe))
    })
}
