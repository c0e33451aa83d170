use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use campanile_http::{End, Observer, Outcome, RequestHead};
use http::header::USER_AGENT;

use crate::Sla;

/// An [`Observer`] that counts exchanges; from [`Sla::observer`], and [the crate's docs](crate#what-counts) say which.
#[derive(Clone, Debug)]
pub struct SliObserver {
    sla: Sla,
}

impl SliObserver {
    pub(crate) fn new(sla: Sla) -> Self {
        Self { sla }
    }
}

/// The SLOs that one HTTP exchange counts for, by the head of its request.
#[derive(Clone, Copy, Debug)]
pub struct SliExchange(u128);

impl Observer for SliObserver {
    type Exchange = SliExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> SliExchange {
        let is_asked = !is_probe_or_scrape(head);
        let mut counted = if is_asked { u128::MAX } else { 0 };
        let mut panic = None;
        for (number, requests) in self.sla.selections() {
            let bit = 1 << number;
            counted &= !bit;
            if caught(&mut panic, || requests(head)) == Some(true) {
                counted |= bit;
            }
        }
        // An observer that panics here is told no more of the exchange; nothing has counted it yet.
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        SliExchange(counted)
    }

    fn end(&self, SliExchange(counted): SliExchange, end: &End) {
        let verdict = match end.outcome() {
            // The objective decides, by the time that the client waited.
            Outcome::Cancelled => None,
            Outcome::Completed => Some(match end.grpc() {
                Some(status) => !status.is_server_failure(),
                None => !end.status().is_server_error(),
            }),
            _ => Some(false),
        };
        let mut panic = None;
        for (number, source) in self.sla.exchanges() {
            if counted & (1 << number) == 0 {
                continue;
            }
            if source.select.has_closures() {
                caught(&mut panic, || source.end(end, verdict));
            } else {
                source.end(end, verdict);
            }
        }
        // The layer counts it.
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Runs a closure of the host's, and keeps the first panic.
fn caught<T>(panic: &mut Option<Box<dyn Any + Send>>, run: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    result.map_err(|payload| panic.get_or_insert(payload)).ok()
}

/// What the user agents of probes and scrapes begin with: Kubernetes, Prometheus, VictoriaMetrics, the load balancers of AWS and Google Cloud.
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
