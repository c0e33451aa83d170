use campanile_correlation::{Correlation, CorrelationId, TraceContext, TraceParent, TraceState};
use tracing::span::Attributes;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::record::Begun;
use crate::line::Ids;
use crate::sampler::Sampler;
use crate::span::{Kept, nearest_request};

/// What a span begins within.
struct Parent {
    ids: Ids,
    state: TraceState,
    /// Whether its own trace is decided on.
    is_ours: bool,
}

impl Kept {
    /// Gives a span that begins its place in a trace.
    ///
    /// It is within the span that it has in this process; the span of a server's request is within what the request came with, and no
    /// other span of this process.
    pub(crate) fn begin<S>(
        &mut self,
        sampler: &Sampler,
        attributes: &Attributes<'_>,
        span: &SpanRef<'_, S>,
    ) where
        S: for<'a> LookupSpan<'a>,
    {
        let is_server = self.is_server();
        let of_span = || span.parent().as_ref().and_then(of_span);
        let parent = match (is_server, attributes.is_root()) {
            (true, _) => of_task(),
            (false, true) => Parent {
                ids: Ids {
                    trace: None,
                    ..of_task().ids
                },
                state: TraceState::default(),
                is_ours: false,
            },
            (false, false) => of_span().unwrap_or_else(of_task),
        };
        let Ids { correlation, trace } = parent.ids;
        // The span that it is in may have begun with another id, or before there was one.
        let correlation = match is_server {
            true => correlation,
            false => {
                let request = span.parent().as_ref().and_then(nearest_request);
                request.or_else(CorrelationId::current)
            }
        };
        // The request may be within another one of this process.
        let place_above = of_span().and_then(|above| above.ids.trace);
        let is_remote = is_server && trace.is_some() && trace != place_above;
        let place = trace.map_or_else(TraceParent::generate, TraceParent::child);
        let is_sampled = match parent.is_ours {
            true => place.is_sampled(),
            false => sampler.samples(&place, trace.is_some_and(|trace| !trace.is_undecided())),
        };
        let place = place.sampled(is_sampled);
        self.ids = Some(Ids {
            correlation,
            trace: Some(place),
        });
        // What is recorded may be exported in the end.
        let is_wanted = is_sampled || self.ring.is_some();
        self.begun = is_wanted.then(|| Begun::now(trace, is_remote, parent.state));
    }
}

fn of_span<S>(span: &SpanRef<'_, S>) -> Option<Parent>
where
    S: for<'a> LookupSpan<'a>,
{
    let extensions = span.extensions();
    let kept = extensions.get::<Kept>()?;
    let state = kept.begun.as_ref().map(|begun| begun.state.clone());
    Some(Parent {
        ids: kept.ids.clone().filter(|ids| ids.trace.is_some())?,
        state: state.unwrap_or_default(),
        is_ours: true,
    })
}

/// Returns what the thread's task carries: what a request came with, or where it is by now.
fn of_task() -> Parent {
    let current = Correlation::current();
    let state = current
        .trace()
        .map(|TraceContext { state, .. }| state.clone());
    Parent {
        ids: Ids::of(&current),
        state: state.unwrap_or_default(),
        is_ours: false,
    }
}
