use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_correlation::{Correlation, CorrelationId, ScopeSlot, TraceContext, TraceParent};
use campanile_http::{End, Observer, Outcome, RequestHead, Route, TraceRef, method_label};
use http::{HeaderMap, StatusCode, Uri};
use tracing::Span;
use tracing::field::Empty;

use self::found::{Found, record_alone};
use self::trace::{Outside, Traced, noted};
use crate::clock;
use crate::event::Ids;
use crate::field_value::{Fact, FieldValue};
use crate::key_cache::RECORDED;
use crate::note::note_in;
use crate::recorder::{Ring, Verdict};
use crate::span::with_span_data;

mod found;
#[cfg(not(feature = "otel"))]
#[path = "http/no_trace.rs"]
mod trace;
#[cfg(feature = "otel")]
mod trace;

/// An [`Observer`] that makes a span of each request, and logs a line when it ends.
///
/// What the service logs while it works for the request is in the span, and has its ids. The span's fields and those of the line are named
/// as OpenTelemetry's semantic conventions name them: `http.request.method`, `http.route`, `url.path`, `http.response.status_code`,
/// `error.type`, for gRPC `rpc.system.name`, `rpc.method` and `rpc.status_code`, and besides `outcome`, `http.response.body.size` and `duration_seconds`. The line is at INFO, and at ERROR if the status
/// is 500 or more, or one of gRPC's for a failure of the server, or the service panicked or failed. The query is in neither.
///
/// The span has the field `correlation_id` for other layers of the subscriber, such as `fmt` or Sentry's. The layer of
/// [`Telemetry`](crate::Telemetry::layer) leaves it out, since all lines of a request have the id.
///
/// A request that came with a valid `traceparent` goes on in its trace; any other begins one, unless there is no subscriber at all. If
/// nothing is exported, the new trace's id follows from the correlation id, and outgoing requests have no `traceparent`. Where the
/// [filter](crate::Telemetry::filter) disables its level, the line has method, path, route, status and error itself. What [`Correlation::current`] says
/// while the service works is the place of the span, and so is what requests to others come from. If the trace is sampled, a [`TraceRef`] with
/// the span's id is left in the request's extensions.
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
///
/// | setting | default |
/// |---|---|
/// | [`field`](Self::field) | none |
/// | [`lines`](Self::lines) | a line of each request |
/// | [`path`](Self::path) | the path of the URI |
///
/// [`note`](crate::note) adds fields while the service works.
#[derive(Clone)]
pub struct HttpSpans {
    fields: Vec<(&'static str, FieldOf)>,
    lines: RequestLines,
    path: fn(&Uri) -> Cow<'_, str>,
}

type FieldOf = Arc<dyn Fn(&RequestHead<'_>) -> Option<FieldValue> + Send + Sync>;

/// Which requests have a line in the log; for [`HttpSpans::lines`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestLines {
    /// All requests.
    #[default]
    All,
    /// Requests whose line is at ERROR.
    Failures,
    /// No request.
    Never,
}

/// The span of a request.
///
/// It is boxed, since layers move what they keep of a request several times.
#[derive(Debug)]
pub struct SpanExchange(Option<Box<Exchange>>);

/// What is kept of a request while it is in progress.
#[derive(Debug)]
struct Exchange {
    span: Span,
    /// `None` where no span of it is made for OpenTelemetry.
    traced: Option<Traced>,
    /// `None` if there is no correlation.
    slot: Option<ScopeSlot>,
    method: &'static str,
    /// The path for the line, where the span has none because the filter wants no spans of its level.
    path: Option<Box<str>>,
    /// What is recorded of the request.
    ring: Option<Recording>,
}

impl Exchange {
    /// Returns what is kept where there is no subscriber.
    fn nothing() -> Self {
        Self {
            span: Span::none(),
            traced: None,
            slot: None,
            method: "",
            path: None,
            ring: None,
        }
    }
}

/// What is recorded of a request, and how long it took to its head.
#[derive(Debug)]
struct Recording {
    ring: Arc<Ring>,
    begun: Instant,
    head: Option<Duration>,
}

/// The most fields that are added to each span.
const MAX_FIELDS: usize = 32;

/// The most bytes of a path that are logged.
const MAX_PATH: usize = 1_024;

impl HttpSpans {
    /// Returns the observer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fields: Vec::new(),
            lines: RequestLines::All,
            path: |uri| uri.path().into(),
        }
    }

    /// Adds a field to the spans, and so to all lines of a request. The function is called with the head of each request; where it
    /// returns `None`, the span has no such field. A span has at most 32 of these fields; further ones are ignored. They are redacted by
    /// their keys, as others.
    ///
    /// ```
    /// use campanile_telemetry::HttpSpans;
    ///
    /// let spans = HttpSpans::new().field("user_agent.original", |head| {
    ///     let agent = head.headers().get("user-agent")?;
    ///     Some(agent.to_str().ok()?.into())
    /// });
    /// # let _ = spans;
    /// ```
    ///
    /// Defaults to none.
    #[must_use]
    pub fn field(
        mut self,
        key: &'static str,
        value: impl Fn(&RequestHead<'_>) -> Option<FieldValue> + Send + Sync + 'static,
    ) -> Self {
        if self.fields.len() < MAX_FIELDS {
            self.fields.push((key, Arc::new(value)));
        }
        self
    }

    /// Sets which requests have a line. Spans, and what a flight recorder writes, are not affected.
    ///
    /// Defaults to [`RequestLines::All`].
    #[must_use]
    pub fn lines(mut self, lines: RequestLines) -> Self {
        self.lines = lines;
        self
    }

    /// Sets a function that returns the path that `url.path` shows for a URI, of which at most 1,024 bytes are logged. Use it if paths
    /// hold secrets, such as those of reset links.
    ///
    /// ```
    /// use campanile_telemetry::HttpSpans;
    ///
    /// let spans = HttpSpans::new().path(|uri| match uri.path().starts_with("/reset/") {
    ///     true => "/reset/[redacted]".into(),
    ///     false => uri.path().into(),
    /// });
    /// # let _ = spans;
    /// ```
    ///
    /// Defaults to the path of the URI.
    #[must_use]
    pub fn path(mut self, path: fn(&Uri) -> Cow<'_, str>) -> Self {
        self.path = path;
        self
    }
}

impl Default for HttpSpans {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HttpSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.iter().map(|(key, _)| key).collect();
        f.debug_struct("HttpSpans")
            .field("fields", &fields)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

impl Observer for HttpSpans {
    type Exchange = SpanExchange;

    fn begin(&self, head: &mut RequestHead<'_>) -> SpanExchange {
        let correlation = Correlation::current();
        let found = tracing::dispatcher::get_default(Found::by);
        if found.has_no_subscriber && correlation.trace().is_none() {
            return SpanExchange(None);
        }
        let (method, uri) = (method_label(head.method()), head.uri());
        let scheme = uri.scheme_str().unwrap_or("http");
        let path = (self.path)(uri);
        let end = (0..=MAX_PATH.min(path.len()))
            .rev()
            .find(|&end| path.is_char_boundary(end));
        let path = &path[..end.unwrap_or(0)];
        let mut outside = Outside::of(&correlation, found.recorder.as_deref());
        let span = tracing::info_span!(
            "request",
            // Only a span that is enabled has its values made.
            otel.kind = {
                outside.attach();
                "server"
            },
            correlation_id = correlation.id().map(CorrelationId::as_str),
            http.request.method = method,
            url.path = path,
            url.scheme = scheme,
            http.route = Empty,
            http.response.status_code = Empty,
            rpc.system.name = Empty,
            rpc.method = Empty,
            rpc.status_code = Empty,
            error.type = Empty,
            campanile.recorded = Empty,
        );
        let traced = Traced::of(&span);
        #[cfg(feature = "otel")]
        let traced = traced.or_else(|| {
            let facts = [
                ("http.request.method", Fact::Static(method)),
                ("url.path", Fact::Text(path)),
                ("url.scheme", known_scheme(scheme)),
            ];
            let tracer = found.tracer.as_ref()?;
            let id = correlation.id().map(CorrelationId::as_str);
            let id = id.map(|id| (tracer.id_key(), Fact::Text(id)));
            let facts = facts.into_iter().chain(id);
            Some(Traced::begin(tracer, &mut outside, facts))
        });
        let state = || correlation.trace().map(|trace| trace.state.clone());
        let place = traced.as_ref();
        let place = place.and_then(|traced| traced.place(&outside, &correlation));
        let place = place.unwrap_or_else(|| {
            let parent = match correlation.trace() {
                Some(trace) => trace.parent.child(),
                // Without a sampler, the services of a request have the same trace id in their lines.
                None => correlation
                    .id()
                    .map_or_else(TraceParent::generate, TraceParent::from_correlation_id),
            };
            TraceContext::new(parent, state().unwrap_or_default())
        });
        drop(outside);
        // Where the subscriber keeps spans, those who work for the request elsewhere have its ids too.
        let known = with_span_data(&span, |kept| {
            kept.ids = Some(Ids {
                trace: Some(place.parent),
                ..Ids::of(&correlation)
            });
            kept.ring.clone().filter(|_| kept.is_request)
        });
        if known.is_some() {
            for (key, value) in &self.fields {
                if let Some(value) = value(head) {
                    note_in(&span, key, &value);
                }
            }
        }
        // It may be enabled for other layers alone, and then the line is not in it.
        let is_without =
            span.is_disabled() && !found.has_no_subscriber || known.is_none() && found.has_layer;
        let path = is_without.then(|| path.into());
        if place.parent.is_sampled() {
            let trace = TraceRef::new(place.parent.trace_id(), true);
            let trace = trace.with_span(place.parent.parent_id());
            head.extensions_mut().insert(trace);
        }
        let correlation = correlation.with_trace(place);
        SpanExchange(Some(Box::new(Exchange {
            span,
            traced,
            slot: Some(ScopeSlot::new(correlation)),
            method,
            path,
            ring: known.flatten().map(|ring| Recording {
                ring,
                begun: clock::instant(),
                head: None,
            }),
        })))
    }

    fn scope<T>(&self, spanned: &mut SpanExchange, poll: impl FnOnce() -> T) -> T {
        let Some(exchange) = spanned.0.as_deref_mut() else {
            return poll();
        };
        let Exchange {
            span, traced, slot, ..
        } = exchange;
        match slot {
            Some(slot) => slot.enter(|| {
                let _context = traced.as_ref().map(Traced::enter);
                span.in_scope(poll)
            }),
            None => poll(),
        }
    }

    fn responded(&self, spanned: &mut SpanExchange, _: StatusCode, _: &HeaderMap) {
        if let Some(exchange) = spanned.0.as_deref_mut()
            && let Some(recording) = &mut exchange.ring
        {
            recording.head = Some(recording.begun.elapsed());
        }
    }

    fn end(&self, spanned: SpanExchange, end: &End) {
        let mut nothing = None;
        let mut kept = spanned.0;
        let exchange = kept.as_deref_mut();
        let Exchange {
            span,
            traced,
            slot,
            method,
            path,
            ring,
        } = exchange.unwrap_or_else(|| nothing.insert(Exchange::nothing()));
        let status = end.status();
        let route = end.route();
        let grpc = end.grpc();
        let error = match (end.outcome(), grpc) {
            (Outcome::Completed | Outcome::Cancelled, Some(grpc)) => {
                grpc.is_server_failure().then(|| grpc.name())
            }
            (Outcome::Completed | Outcome::Cancelled, None) => {
                status.is_server_error().then(|| status.as_str())
            }
            (outcome, _) => Some(outcome.as_str()),
        };
        let known_route = Some(route.as_str()).filter(|_| !route.is_unmatched());
        let rpc = grpc.map(|grpc| (rpc_method(route), grpc.name()));
        let code = i64::from(status.as_u16());
        let facts = [
            Some(("http.response.status_code", Fact::Number(code))),
            known_route.map(|route| ("http.route", Fact::Text(route))),
            rpc.map(|_| ("rpc.system.name", Fact::Static("grpc"))),
            rpc.map(|(method, _)| ("rpc.method", Fact::Text(method))),
            rpc.map(|(_, status)| ("rpc.status_code", Fact::Static(status))),
            error.map(|error| ("error.type", Fact::Text(error))),
        ];
        let facts = facts.into_iter().flatten();
        // That spares the way through the subscriber, which is the greater part of the cost.
        let of_kept = traced.as_ref();
        let of_kept = of_kept.and_then(|_| record_alone(span, facts.clone()));
        let is_known_alone = of_kept.is_some();
        // Where the span is disabled there is nothing to record in.
        let is_alone = traced.as_ref().is_some_and(Traced::is_alone);
        if !is_known_alone && !is_alone {
            tracing::record_all!(
                span,
                http.route = known_route,
                http.response.status_code = code,
                rpc.system.name = rpc.map(|_| "grpc"),
                rpc.method = rpc.map(|(method, _)| method),
                rpc.status_code = rpc.map(|(_, status)| status),
                error.type = error
            );
        }
        let mut events_gone = None;
        if let Some(Recording { ring, head, .. }) = ring {
            let mut kind = DefaultHasher::new();
            (route.as_str(), error).hash(&mut kind);
            let time = head.unwrap_or(end.duration());
            match ring.end(error.is_some(), time, kind.finish(), clock::second()) {
                // So the layer knows.
                Verdict::Written => {
                    span.record(RECORDED, true);
                }
                Verdict::Discarded => {}
                Verdict::Suppressed(events) => events_gone = Some(events),
            }
        }
        if let Some(traced) = traced {
            let name = || name(method, grpc.is_some(), route);
            let is_known = !is_known_alone && !is_alone;
            if let Some(noted) = of_kept.or_else(|| with_span_data(span, noted)) {
                traced.note(&noted);
            }
            traced.end(name, error.is_some(), is_known, end.duration(), facts);
        }
        let events_gone = events_gone.filter(|events| *events > 0);
        match (self.lines, error) {
            (RequestLines::All, _) | (RequestLines::Failures, Some(_)) => {}
            (RequestLines::Failures, None) | (RequestLines::Never, _) => return,
        }
        // What the span has is not said twice.
        let is_without = path.is_some();
        let method_of_line = is_without.then_some(*method);
        let status_of_line = is_without.then(|| status.as_u16());
        let error_of_line = error.filter(|_| is_without);
        let route_of_line = Some(route.as_str()).filter(|_| is_without && !route.is_unmatched());
        // To enter the span would cost more than the line.
        macro_rules! ended {
            ($level:ident $(, $parent:expr)?) => {
                tracing::$level!(
                    $(parent: $parent,)?
                    http.request.method = method_of_line,
                    url.path = path.as_deref(),
                    http.route = route_of_line,
                    http.response.status_code = status_of_line,
                    error.type = error_of_line,
                    outcome = end.outcome().as_str(),
                    http.response.body.size = end.body_bytes(),
                    duration_seconds = end.duration().as_secs_f64(),
                    recorded_events_gone = events_gone,
                    "request ended"
                )
            };
        }
        let log = || match (error, span.id()) {
            (Some(_), Some(id)) => ended!(error, id),
            (Some(_), None) => ended!(error),
            (None, Some(id)) => ended!(info, id),
            (None, None) => ended!(info),
        };
        match slot {
            Some(slot) => slot.enter(log),
            None => log(),
        }
    }
}

/// Returns the name of a span: `{method} {route}`, and that of the method for gRPC.
fn name(method: &'static str, is_grpc: bool, route: &Route) -> Cow<'static, str> {
    let method = if method == "_OTHER" { "HTTP" } else { method };
    if is_grpc {
        rpc_method(route).to_owned().into()
    } else if route.is_unmatched() {
        method.into()
    } else {
        [method, " ", route.as_str()].concat().into()
    }
}

#[cfg(feature = "otel")]
fn known_scheme(scheme: &str) -> Fact<'_> {
    match scheme {
        "http" => Fact::Static("http"),
        "https" => Fact::Static("https"),
        other => Fact::Text(other),
    }
}

/// Returns the name of gRPC's method: the path, less the slash.
fn rpc_method(route: &Route) -> &str {
    let path = route.as_str().strip_prefix('/');
    path.filter(|_| !route.is_unmatched()).unwrap_or("_OTHER")
}
