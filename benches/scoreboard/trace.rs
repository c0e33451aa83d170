//! The cost of tracing a request and exporting its span, until a local collector has it.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use axum_tracing_opentelemetry::middleware::OtelAxumLayer;
use bytes::Bytes;
use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile_telemetry::{HttpSpans, Otlp, RequestLines, Telemetry, Writer};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Empty, Full};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use prost::Message;
use rustix::time::{ClockId, clock_gettime};
use tower::{Layer, Service, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::figure::{Effort, Figure};
use crate::registry::rounds;

const REQUESTS: usize = 20_000;

/// The collector is waited for so long.
const LONG: Duration = Duration::from_secs(60);

/// A span made by OpenTelemetry's API on both sides: the log wants no span of the request.
pub(crate) fn against_instrumentation(effort: Effort) -> Figure {
    let sink = Sink::start();
    let count = effort.of(REQUESTS);
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let (ours, peer) = rounds(
        effort,
        || ours(&sink, count, "off").on_thread,
        || {
            let provider = provider(&sink, count);
            opentelemetry::global::set_tracer_provider(provider.clone());
            let layer = LayerBuilder::builder()
                .with_metrics(false)
                .with_route_extractor_fn(|_: &Request<Empty<Bytes>>| Some("/users/{id}".into()))
                .build()
                .expect("the layer is valid");
            let mut service = layer.layer(service_fn(nothing));
            let took = requests_through(&mut service, count, || {
                provider.force_flush().expect("the sink takes everything");
            });
            sink.has(count);
            took.on_thread
        },
    );
    let name = "opentelemetry-instrumentation-tower, SDK's batches";
    Figure::compare(("trace.request", "ns"), &ours, (name, &peer), 1.15)
}

/// A tracing span on both sides.
pub(crate) fn against_axum(effort: Effort) -> Figure {
    let sink = Sink::start();
    let count = effort.of(REQUESTS);
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let (ours, peer) = rounds(
        effort,
        || ours(&sink, count, "info").in_process,
        || {
            let provider = provider(&sink, count);
            let tracer = provider.tracer("scoreboard");
            let layer = tracing_opentelemetry::layer().with_tracer(tracer);
            let subscriber = tracing_subscriber::registry().with(layer);
            let mut service = OtelAxumLayer::default().layer(service_fn(nothing));
            let took = tracing::subscriber::with_default(subscriber, || {
                requests_through(&mut service, count, || {
                    provider.force_flush().expect("the sink takes everything");
                })
            });
            sink.has(count);
            took.in_process
        },
    );
    let name = "axum-tracing-opentelemetry, SDK's batches";
    Figure::compare(("trace.request.axum", "ns"), &ours, (name, &peer), 0.8)
}

/// What a request costs while a collector takes connections and never answers.
pub(crate) fn against_no_answer(effort: Effort) -> Figure {
    let (ours, peer) = hang(effort, |took| took.mean);
    Figure::compare(("trace.hang", "ns"), &ours, (ANSWERS, &peer), 1.1)
}

/// The same for the slowest hundredth of the requests.
pub(crate) fn p99_against_no_answer(effort: Effort) -> Figure {
    let (ours, peer) = hang(effort, |took| took.p99);
    Figure::compare(("trace.hang.p99", "ns"), &ours, (ANSWERS, &peer), 1.1)
}

const ANSWERS: &str = "a collector that answers";

fn hang(effort: Effort, of: fn(Took) -> f64) -> (Vec<f64>, Vec<f64>) {
    let sink = Sink::start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let silent = silent.local_addr().expect("it is bound");
    let count = effort.of(REQUESTS);
    let exported = |address| of(traced(address, count, "info", |_| ()));
    rounds(effort, || exported(silent), || exported(sink.address))
}

fn ours(sink: &Sink, count: usize, filter: &str) -> Took {
    let took = traced(sink.address, count, filter, |telemetry| {
        assert!(telemetry.flush(LONG).is_empty(), "all is exported");
    });
    sink.has(count);
    took
}

/// With the request's id, which theirs have not, but without its line, which they have not either.
fn traced(
    collector: SocketAddr,
    count: usize,
    filter: &str,
    flush: impl FnOnce(&Telemetry),
) -> Took {
    let otlp = Otlp::new(format!("http://{collector}")).logs(false);
    let telemetry = Telemetry::builder("scoreboard")
        .filter(filter)
        .writer(Writer::new(io::sink()))
        // So that nothing is dropped, which would be too easy.
        .max_waiting_bytes(1 << 30)
        .otlp(otlp.max_waiting_bytes(1 << 30))
        .build()
        .expect("the settings are valid");
    let observe = ObserveLayer::builder(HttpSpans::new().lines(RequestLines::Never));
    let observe = observe.route(|_| Some("/users/{id}".into())).build();
    let mut service = CorrelationIdLayer::new().layer(observe.layer(service_fn(nothing)));
    let took = telemetry.in_scope(|| requests_through(&mut service, count, || flush(&telemetry)));
    // What is left is given up at once.
    let _ = telemetry.shutdown(Duration::ZERO);
    took
}

fn provider(sink: &Sink, count: usize) -> SdkTracerProvider {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Plain::connect(sink.address))
        .with_endpoint(format!("http://{}/v1/traces", sink.address))
        .build()
        .expect("the exporter's settings are valid");
    let batches = BatchConfigBuilder::default().with_max_queue_size(count.max(2_048));
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    SdkTracerProvider::builder()
        .with_span_processor(processor)
        .build()
}

/// The nanoseconds of a request.
#[derive(Clone, Copy)]
struct Took {
    mean: f64,
    p99: f64,
    /// Of CPU time, on the thread of the request.
    on_thread: f64,
    /// Of CPU time, in the whole process until all is exported.
    in_process: f64,
}

fn requests_through<S, B>(service: &mut S, count: usize, flush: impl FnOnce()) -> Took
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    // A tenth of them, since the clock costs something as well.
    let mut times = Vec::with_capacity(count / 10 + 1);
    let in_process = cpu(ClockId::ProcessCPUTime);
    let on_thread = cpu(ClockId::ThreadCPUTime);
    for number in 0..count {
        let begun = (number % 10 == 0).then(|| cpu(ClockId::Monotonic));
        request_through(service);
        times.extend(begun.map(|begun| cpu(ClockId::Monotonic) - begun));
    }
    let on_thread = cpu(ClockId::ThreadCPUTime) - on_thread;
    flush();
    let in_process = cpu(ClockId::ProcessCPUTime) - in_process;
    times.sort_by(f64::total_cmp);
    Took {
        mean: times.iter().sum::<f64>() / times.len() as f64,
        p99: times[times.len() * 99 / 100],
        on_thread: on_thread / count as f64,
        in_process: in_process / count as f64,
    }
}

/// The nanoseconds of a clock.
pub(crate) fn cpu(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn request_through<S, B>(service: &mut S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let mut context = Context::from_waker(Waker::noop());
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("/users/7");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request
        .headers_mut()
        .insert("traceparent", http::HeaderValue::from_static(parent));
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
        unreachable!("the service waits for nothing and never fails");
    };
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
        std::hint::black_box(frame.is_ok());
    }
}

async fn nothing(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

/// A collector that keeps what it gets.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&bodies);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || drop(serve(&connection, &all)));
            }
        });
        Self { address, bodies }
    }

    /// Takes the bodies that have come since the last time.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *lock(&self.bodies))
    }

    /// Asserts the number of spans that have come since the last call.
    fn has(&self, count: usize) {
        let bodies = self.taken();
        let spans = bodies
            .iter()
            .map(|body| {
                ExportTraceServiceRequest::decode(&body[..]).expect("it is an export of spans")
            })
            .flat_map(|export| export.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .map(|scope| scope.spans.len());
        assert_eq!(spans.sum::<usize>(), count, "each request has its span");
    }
}

fn serve(connection: &TcpStream, bodies: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 16, connection);
    loop {
        let Some(length) = content_length(&mut reader)? else {
            return Ok(());
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        lock(bodies).push(body);
        (&*connection).write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}

/// Reads the head of a message; returns the length of its body, `None` at the end.
fn content_length(reader: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

/// The least that the SDK can send with: one connection, which the SDK's own thread waits for.
#[derive(Debug)]
pub(crate) struct Plain(Mutex<TcpStream>);

impl Plain {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the sink listens");
        stream
            .set_nodelay(true)
            .expect("the connection has the option");
        Self(Mutex::new(stream))
    }

    fn send(&self, request: &Request<Bytes>) -> io::Result<()> {
        let mut stream = lock(&self.0);
        let mut message = format!("POST {} HTTP/1.1\r\n", request.uri().path()).into_bytes();
        for (name, value) in request.headers() {
            write!(message, "{name}: ")?;
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        write!(message, "content-length: {}\r\n\r\n", request.body().len())?;
        message.extend_from_slice(request.body());
        stream.write_all(&message)?;
        content_length(&mut BufReader::new(&mut *stream)).map(drop)
    }
}

#[async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.send(&request)?;
        Ok(Response::new(Bytes::new()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
