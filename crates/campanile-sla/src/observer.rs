use campanile_http::{End, Head, Observer, Outcome};

use crate::Sla;

/// An [`Observer`] that records each valid exchange; from [`Sla::observer`], and [the crate's docs](crate) say which those are.
#[derive(Clone, Debug)]
pub struct SliObserver {
    sla: Sla,
}

impl SliObserver {
    pub(crate) fn new(sla: Sla) -> Self {
        Self { sla }
    }
}

impl Observer for SliObserver {
    type Exchange = ();

    fn begin(&self, _: &mut Head<'_>) {}

    fn end(&self, (): (), end: &End) {
        let good = match end.outcome() {
            Outcome::Cancelled => return,
            Outcome::Completed => match end.grpc() {
                Some(status) => !status.is_server_failure(),
                None => !end.status().is_server_error(),
            },
            _ => false,
        };
        self.sla.record(good, end.latency(), end.at());
    }
}
