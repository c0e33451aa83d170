use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::header_presence::{BAGGAGE, TRACEPARENT, TRACESTATE};
use crate::settings::X_CORRELATION_ID;
use crate::{Baggage, Correlation, TraceContext, TraceParent};

/// Adds the [current](Correlation::current) correlation to the headers of an outgoing request: the
/// correlation id, `traceparent` and `tracestate`. It does not overwrite headers.
///
/// Each request gets a new `parent-id`, as W3C Trace Context requires. A request without a trace,
/// or in a trace without a sampling decision, gets no `traceparent`, so the called service decides.
/// See [`TraceParent::is_undecided`](crate::TraceParent::is_undecided).
///
/// ```
/// use campanile_correlation::{Correlation, CorrelationId, inject};
/// use http::HeaderMap;
///
/// let id: CorrelationId = "checkout-42".parse()?;
/// let mut headers = HeaderMap::new();
/// Correlation::from(id).enter(|| inject(&mut headers));
/// assert_eq!(headers["x-correlation-id"], "checkout-42");
/// # Ok::<_, campanile_correlation::InvalidCorrelationId>(())
/// ```
pub fn inject(headers: &mut HeaderMap) {
    PropagationLayer::new().inject(headers);
}

/// A [`Layer`] for HTTP clients that propagates the [current](Correlation::current) correlation.
/// With feature `tonic` it is an interceptor too.
///
/// If a request has a [`TraceContext`] in its extensions, the layer sends that one unchanged. An
/// outer layer that creates a client span inserts it.
///
/// | setting | default |
/// |---|---|
/// | [`header`](Self::header) | `x-correlation-id` |
/// | [`baggage`](Self::baggage) | none |
///
/// ```
/// use std::convert::Infallible;
///
/// use campanile_correlation::{CorrelationId, PropagationLayer, scope};
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = service_fn(async |request: Request<()>| {
///     Ok::<_, Infallible>(Response::new(request.headers()["x-correlation-id"].clone()))
/// });
/// let client = PropagationLayer::new().baggage(["tenant"]).layer(client);
/// let id: CorrelationId = "checkout-42".parse()?;
/// let response = scope(id, client.oneshot(Request::new(()))).await?;
/// assert_eq!(response.body(), "checkout-42");
/// # Ok(())
/// # }
/// ```
///
/// A clone shares the settings (an `Arc`).
#[derive(Clone, Debug)]
pub struct PropagationLayer(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    header: HeaderName,
    baggage: Vec<String>,
}

impl PropagationLayer {
    /// Creates a layer with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Settings {
            header: X_CORRELATION_ID,
            baggage: Vec::new(),
        }))
    }

    /// Sets the request header that the layer writes the id to.
    ///
    /// Defaults to `x-correlation-id`.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        Arc::make_mut(&mut self.0).header = name;
        self
    }

    /// Sets the keys of the baggage members that the layer propagates.
    ///
    /// Baggage comes from clients and reaches the called service, so list only the keys that the
    /// service may read. Defaults to none.
    #[must_use]
    pub fn baggage(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Arc::make_mut(&mut self.0).baggage = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the current correlation to the headers. It does not overwrite headers, and leaves
    /// `tracestate` alone if there is a `traceparent`.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.inject_at(None, headers);
    }

    /// Adds the current correlation, with the trace context of the client span if there is one.
    fn inject_at(&self, span: Option<&TraceContext>, headers: &mut HeaderMap) {
        let Settings { header, baggage } = &*self.0;
        let current = Correlation::current();
        if let Some(id) = current.id() {
            add(headers, header.clone(), || Some(id.clone().into()));
        }
        let trace = span.or(current.trace());
        let trace = trace.filter(|trace| !trace.parent.is_undecided());
        // A proxy forwards the head that it received. The next span's parent is a span of this
        // service, not of its client.
        if let (Some(inbound), Some(header)) = (current.inbound(), headers.get(TRACEPARENT))
            && TraceParent::parse(header.as_bytes()).is_ok_and(|parent| parent == inbound)
        {
            headers.remove(TRACEPARENT);
        }
        if let Some(trace) = trace {
            let parent = span.map_or_else(|| trace.parent.child(), |span| span.parent);
            let value = || HeaderValue::from_str(&parent.to_string()).ok();
            if add(headers, TRACEPARENT, value) {
                // A `tracestate` without a `traceparent` belongs to no trace.
                headers.remove(TRACESTATE);
                if !trace.state.is_empty() {
                    add(headers, TRACESTATE, || trace.state.to_header());
                }
            }
        }
        if let Some(all) = current.baggage().filter(|_| !baggage.is_empty()) {
            let keys: Vec<_> = baggage.iter().map(String::as_str).collect();
            let listed = all.only(&keys);
            let listed = || Some(&listed).filter(|listed| !listed.is_empty());
            let value = || listed().and_then(Baggage::to_header);
            add(headers, BAGGAGE, value);
        }
    }
}

/// Adds a header unless it exists. Returns whether it was added.
fn add(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: impl FnOnce() -> Option<HeaderValue>,
) -> bool {
    // A full map stays as it is.
    let Ok(Entry::Vacant(entry)) = headers.try_entry(name) else {
        return false;
    };
    let value = value();
    value.is_some_and(|value| entry.try_insert(value).is_ok())
}

impl Default for PropagationLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PropagationLayer {
    type Service = Propagate<S>;

    fn layer(&self, inner: S) -> Propagate<S> {
        Propagate {
            inner,
            propagation: self.clone(),
        }
    }
}

/// A client that propagates the current correlation, created by a [`PropagationLayer`].
#[derive(Clone, Debug)]
pub struct Propagate<S> {
    inner: S,
    propagation: PropagationLayer,
}

impl<S> Propagate<S> {
    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, mutable.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Propagate<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let span = request.extensions().get::<TraceContext>().cloned();
        self.propagation
            .inject_at(span.as_ref(), request.headers_mut());
        self.inner.call(request)
    }
}

#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
impl tonic::service::Interceptor for PropagationLayer {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        let span = request.extensions().get::<TraceContext>().cloned();
        let metadata = request.metadata_mut();
        let mut headers = std::mem::take(metadata).into_headers();
        self.inject_at(span.as_ref(), &mut headers);
        *metadata = tonic::metadata::MetadataMap::from_headers(headers);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceState;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";

    fn correlation() -> Correlation {
        let state = TraceState::parse([&b"a=1,b=2"[..]]).unwrap();
        let trace = TraceContext::new(PARENT.parse().unwrap(), state);
        let baggage = Baggage::parse([&b"tenant=acme;p,secret=x"[..]]);
        let id: crate::CorrelationId = "abc".parse().unwrap();
        Correlation::from(id)
            .with_trace(trace)
            .with_baggage(baggage)
    }

    /// What is injected, with the parent id of the trace, which is another each time, as `…`.
    fn injected(propagation: &PropagationLayer, mut headers: HeaderMap) -> Vec<(String, String)> {
        correlation().enter(|| propagation.inject(&mut headers));
        let all = headers.iter();
        let mut all: Vec<_> = all
            .map(|(name, value)| {
                let value = value.to_str().unwrap().to_owned();
                match value.parse::<TraceParent>() {
                    Ok(parent) => {
                        assert_ne!(value, PARENT);
                        let id = format!("{:016x}", parent.parent_id());
                        (name.to_string(), value.replace(&id, "…"))
                    }
                    Err(_) => (name.to_string(), value),
                }
            })
            .collect();
        all.sort();
        all
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
        expected.iter().map(pair).collect()
    }

    #[test]
    fn a_trace_context_in_the_extensions_is_sent_unchanged() {
        let place = TraceContext::new(PARENT.parse().unwrap(), TraceState::default());
        let mut request = Request::new(());
        request.extensions_mut().insert(place);
        let sent = std::sync::Mutex::new(HeaderMap::new());
        let service = tower::service_fn(|request: Request<()>| {
            *sent.lock().unwrap() = request.headers().clone();
            std::future::ready(Ok::<_, std::convert::Infallible>(()))
        });
        // The current context has another parent, and its state is not sent.
        let _answer = correlation().enter(|| PropagationLayer::new().layer(service).call(request));
        let sent = sent.into_inner().unwrap();
        assert_eq!(sent["traceparent"], PARENT);
        assert!(!sent.contains_key("tracestate"));
        assert_eq!(sent["x-correlation-id"], "abc");
    }

    #[test]
    fn the_current_correlation_is_injected_once() {
        let propagation = PropagationLayer::new();
        let usual = [
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-…-03"),
            ("tracestate", "a=1,b=2"),
            ("x-correlation-id", "abc"),
        ];
        assert_eq!(injected(&propagation, HeaderMap::new()), pairs(&usual));
        let listed = propagation.clone().baggage(["tenant", "other"]);
        let with_baggage = [&[("baggage", "tenant=acme;p")][..], &usual].concat();
        assert_eq!(injected(&listed, HeaderMap::new()), pairs(&with_baggage));
        let nothing_listed = propagation.clone().baggage(["other"]);
        assert_eq!(injected(&nothing_listed, HeaderMap::new()), pairs(&usual));
        let named = propagation.header(HeaderName::from_static("x-request-id"));
        let named = injected(&named, HeaderMap::new());
        assert_eq!(named[2], ("x-request-id".into(), "abc".into()));
    }

    #[test]
    fn headers_of_the_application_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("x-correlation-id", HeaderValue::from_static("mine"));
        headers.insert("traceparent", HeaderValue::from_static("mine"));
        let expected = [("traceparent", "mine"), ("x-correlation-id", "mine")];
        assert_eq!(
            injected(&PropagationLayer::new(), headers),
            pairs(&expected)
        );
    }

    #[test]
    fn a_tracestate_without_a_traceparent_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert("tracestate", HeaderValue::from_static("stale=1"));
        let all = injected(&PropagationLayer::new(), headers);
        assert_eq!(all[1], ("tracestate".into(), "a=1,b=2".into()));
    }

    /// A `traceparent` without the sampled flag turns parent-based samplers off.
    #[test]
    fn a_trace_without_a_sampling_decision_is_not_propagated() {
        let id: crate::CorrelationId = "checkout-42".parse().unwrap();
        let without = Correlation::from(id.clone());
        let undecided = |parent| {
            let trace = TraceContext::new(parent, TraceState::default());
            without.clone().with_trace(trace)
        };
        for correlation in [
            without.clone(),
            undecided(TraceParent::from_correlation_id(&id)),
            undecided(TraceParent::generate().child()),
        ] {
            let mut headers = HeaderMap::new();
            correlation.enter(|| inject(&mut headers));
            assert_eq!(headers.len(), 1, "{headers:?}");
            assert_eq!(headers["x-correlation-id"], "checkout-42");
        }
        for is_sampled in [false, true] {
            let mut headers = HeaderMap::new();
            let parent = TraceParent::generate().sampled(is_sampled);
            undecided(parent).enter(|| inject(&mut headers));
            let sent = headers["traceparent"].to_str().unwrap();
            let sent: TraceParent = sent.parse().unwrap();
            assert_eq!(sent.is_sampled(), is_sampled);
        }
    }

    #[test]
    fn outside_of_a_request_nothing_is_injected() {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty());
    }
}
