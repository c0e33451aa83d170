use campanile_correlation::{Carried, Correlation, TraceContext, TraceParent, TraceState};
use campanile_http::{End, Head, Observer, Outcome, TraceRef, method_label};
use tracing::Span;
use tracing::field::Empty;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::line::Ids;

/// An [`Observer`] that makes a span of each request, and logs a line when it ends.
///
/// What the service logs while it works for the request is in the span, and has its ids. The span's fields and those of the line are named
/// as OpenTelemetry's semantic conventions name them: `http.request.method`, `http.route`, `url.path`, `http.response.status_code`,
/// `error.type`, and besides `outcome`, `http.response.body.size` and `duration_seconds`. The line is at INFO, and at ERROR if the status
/// is 500 or more, or the service panicked or failed. The query is in neither.
///
/// A request that came with a valid `traceparent` goes on in its trace; any other begins one, unless there is no subscriber at all. Where the
/// filter wants no span of its level, the line has the fields that the span would have had. What [`Correlation::current`] says
/// while the service works is the place of the span, and so is what requests to others come from. If the trace is sampled, a [`TraceRef`] is
/// left in the request's extensions.
///
/// ```
/// use campanile_http::ObserveLayer;
/// use campanile_telemetry::HttpSpans;
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = service_fn(async |_: Request<String>| {
///     tracing::info!("this is in the span of the request");
///     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
/// });
/// let service = ObserveLayer::new(HttpSpans::new()).layer(service);
/// service.oneshot(Request::new(String::new())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpSpans;

/// The span of a request.
#[derive(Debug)]
pub struct Spanned {
    span: Span,
    /// `None` where there is nothing to carry.
    carried: Option<Carried>,
    /// The method and the path for the line, where the span has none because nobody wants spans of its level.
    head: Option<(&'static str, Box<str>)>,
}

/// The most bytes of a path that are logged.
const MAX_PATH: usize = 1_024;

impl HttpSpans {
    /// Returns the observer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Observer for HttpSpans {
    type Exchange = Spanned;

    fn begin(&self, head: &mut Head<'_>) -> Spanned {
        let correlation = Correlation::current();
        let nobody_listens = tracing::dispatcher::get_default(|to| to.is::<NoSubscriber>());
        if nobody_listens && correlation.trace().is_none() {
            return Spanned {
                span: Span::none(),
                carried: None,
                head: None,
            };
        }
        let (method, uri) = (method_label(head.method()), head.uri());
        let path = uri.path();
        let end = (0..=MAX_PATH.min(path.len()))
            .rev()
            .find(|&end| path.is_char_boundary(end));
        let path = &path[..end.unwrap_or(0)];
        let span = tracing::info_span!(
            "request",
            http.request.method = method,
            url.path = path,
            url.scheme = uri.scheme_str().unwrap_or("http"),
            http.route = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let is_without = span.is_disabled() && !nobody_listens;
        let request = is_without.then(|| (method, path.into()));
        let (parent, state) = match correlation.trace() {
            Some(TraceContext { parent, state, .. }) => (parent.child(), state.clone()),
            None => (TraceParent::generate(), TraceState::default()),
        };
        if parent.is_sampled() {
            let trace = TraceRef::new(parent.trace_id(), true);
            head.extensions_mut().insert(trace);
        }
        let correlation = correlation.in_trace(TraceContext::new(parent, state));
        // Where the subscriber keeps spans, those who work for the request elsewhere have its ids too.
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span(id)) {
                span.extensions_mut().replace(Ids::of(&correlation));
            }
        });
        Spanned {
            span,
            carried: Some(Carried::new(correlation)),
            head: request,
        }
    }

    fn scope<T>(&self, spanned: &mut Spanned, poll: impl FnOnce() -> T) -> T {
        let Spanned { span, carried, .. } = spanned;
        match carried {
            Some(carried) => carried.enter(|| span.in_scope(poll)),
            None => poll(),
        }
    }

    fn end(&self, mut spanned: Spanned, end: &End) {
        let Spanned {
            span,
            carried,
            head,
        } = &mut spanned;
        let status = end.status();
        let route = end.route();
        let error = match end.outcome() {
            Outcome::Completed | Outcome::Cancelled => {
                status.is_server_error().then(|| status.as_str())
            }
            outcome => Some(outcome.as_str()),
        };
        if !route.is_unmatched() {
            span.record("http.route", route.as_str());
        }
        span.record("http.response.status_code", status.as_u16());
        if let Some(error) = error {
            span.record("error.type", error);
        }
        // What the span has is not said twice.
        let (method, path) = head
            .as_ref()
            .map(|(method, path)| (*method, &**path))
            .unzip();
        let is_without = head.is_some();
        let status_of_line = is_without.then(|| status.as_u16());
        let error_of_line = error.filter(|_| is_without);
        let route_of_line = Some(route.as_str()).filter(|_| is_without && !route.is_unmatched());
        macro_rules! ended {
            ($level:ident) => {
                tracing::$level!(
                    http.request.method = method,
                    url.path = path,
                    http.route = route_of_line,
                    http.response.status_code = status_of_line,
                    error.type = error_of_line,
                    outcome = end.outcome().as_str(),
                    http.response.body.size = end.sent(),
                    duration_seconds = end.total().as_secs_f64(),
                    "request ended"
                )
            };
        }
        let log = || {
            span.in_scope(|| match error {
                Some(_) => ended!(error),
                None => ended!(info),
            });
        };
        match carried {
            Some(carried) => carried.enter(log),
            None => log(),
        }
    }
}
