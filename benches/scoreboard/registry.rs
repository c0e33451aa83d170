//! What it costs to record, to keep and to show metrics.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use campanile::metrics::Registry;
use campanile::metrics::metrics::{self, with_local_recorder};
use campanile::{counter, histogram};
use http::HeaderValue;
use http_body::Body as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as ClientCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram as ClientHistogram;
use tower::Service;

use crate::figure::{Effort, Figure};

const EXPORTER: &str = "metrics-exporter-prometheus 0.18";
const CLIENT: &str = "prometheus-client 0.25";

const SERIES: usize = 100_000;
const HISTOGRAMS: usize = 10_000;
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

fn labels(number: usize) -> [(&'static str, String); 3] {
    [
        ("endpoint", format!("/api/v1/things/{number}")),
        ("method", ["GET", "POST", "PUT"][number % 3].to_owned()),
        ("status_code", (200 + number % 5).to_string()),
    ]
}

pub(crate) fn registry() -> Registry {
    let registry = Registry::builder()
        .max_series(2 * SERIES)
        .max_series_per_family(2 * SERIES);
    registry
        .buckets(&BOUNDS)
        .build()
        .expect("the settings are valid")
}

fn exporter() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().set_buckets(&BOUNDS);
    builder.expect("the bounds are valid").build_recorder()
}

/// Records the same with any recorder.
fn counters() {
    for number in 0..SERIES {
        let labels = labels(number).to_vec();
        counter!("requests_total", &labels).increment(number as u64);
    }
}

fn histograms() {
    for number in 0..HISTOGRAMS {
        let labels = labels(number).to_vec();
        let histogram = histogram!("time_seconds", &labels);
        (0..5).for_each(|step| histogram.record(f64::from(step) * 0.1));
    }
}

type ClientLabels = Vec<(String, String)>;

fn client_labels(number: usize) -> ClientLabels {
    labels(number)
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn client_counters() -> prometheus_client::registry::Registry {
    let family = Family::<ClientLabels, ClientCounter>::default();
    for number in 0..SERIES {
        family
            .get_or_create(&client_labels(number))
            .inc_by(number as u64);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("requests", "Requests", family);
    registry
}

fn client_histograms() -> prometheus_client::registry::Registry {
    let new = || ClientHistogram::new(BOUNDS);
    let family = Family::<ClientLabels, ClientHistogram, _>::new_with_constructor(new as fn() -> _);
    for number in 0..HISTOGRAMS {
        let histogram = family.get_or_create(&client_labels(number));
        (0..5).for_each(|step| histogram.observe(f64::from(step) * 0.1));
    }
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("time_seconds", "Times", family);
    registry
}

fn encoded(registry: &prometheus_client::registry::Registry) -> String {
    let mut text = String::new();
    // Writing to a string doesn't fail.
    let _ = encode(&mut text, registry);
    text
}

/// The milliseconds that something takes.
pub(crate) fn milliseconds<T>(work: impl FnOnce() -> T) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

/// Runs two sides in turns; the first round only warms up.
pub(crate) fn rounds(
    effort: Effort,
    mut ours: impl FnMut() -> f64,
    mut peer: impl FnMut() -> f64,
) -> (Vec<f64>, Vec<f64>) {
    (0..=effort.rounds)
        .map(|_| (ours(), peer()))
        .skip(1)
        .unzip()
}

fn rendering(
    effort: Effort,
    name: &'static str,
    record: fn(),
    (peer_name, mut peer): (&'static str, Box<dyn FnMut() -> String>),
    goal: f64,
) -> Figure {
    let registry = registry();
    with_local_recorder(&registry, record);
    let ours = || milliseconds(|| registry.render());
    let (ours, peer) = rounds(effort, ours, || milliseconds(&mut peer));
    Figure::compare((name, "ms"), &ours, (peer_name, &peer), goal)
}

fn exporter_page(record: fn()) -> (&'static str, Box<dyn FnMut() -> String>) {
    let exporter = exporter();
    with_local_recorder(&exporter, record);
    let handle = exporter.handle();
    (EXPORTER, Box::new(move || handle.render()))
}

fn client_page(
    registry: prometheus_client::registry::Registry,
) -> (&'static str, Box<dyn FnMut() -> String>) {
    (CLIENT, Box::new(move || encoded(&registry)))
}

pub(crate) fn scrape_against_exporter(effort: Effort) -> Figure {
    rendering(
        effort,
        "scrape.100k",
        counters,
        exporter_page(counters),
        1.0 / 20.0,
    )
}

pub(crate) fn scrape_against_client(effort: Effort) -> Figure {
    let peer = client_page(client_counters());
    rendering(effort, "scrape.100k.client", counters, peer, 1.0 / 3.0)
}

/// Against nothing but copying the names and labels, rendered before, and formatting the numbers.
pub(crate) fn scrape_against_formatting(effort: Effort) -> Figure {
    let rendered: Vec<(String, u64)> = (0..SERIES)
        .map(|number| {
            let [(a, av), (b, bv), (c, cv)] = labels(number);
            (
                format!("requests_total{{{a}=\"{av}\",{b}=\"{bv}\",{c}=\"{cv}\"}} "),
                number as u64,
            )
        })
        .collect();
    let format = move || {
        let mut page = String::new();
        for (series, value) in &rendered {
            page.push_str(series);
            page.push_str(itoa::Buffer::new().format(*value));
            page.push('\n');
        }
        page
    };
    let peer = (
        "formatting alone",
        Box::new(format) as Box<dyn FnMut() -> String>,
    );
    rendering(effort, "scrape.100k.floor", counters, peer, 4.0)
}

pub(crate) fn histograms_against_exporter(effort: Effort) -> Figure {
    rendering(
        effort,
        "scrape.hist",
        histograms,
        exporter_page(histograms),
        1.0 / 10.0,
    )
}

pub(crate) fn histograms_against_client(effort: Effort) -> Figure {
    let peer = client_page(client_histograms());
    rendering(effort, "scrape.hist.client", histograms, peer, 1.0 / 2.0)
}

/// The longest time that a scrape of 100,000 series keeps the runtime from anything else.
pub(crate) fn stall(effort: Effort) -> Figure {
    let registry = registry();
    with_local_recorder(&registry, counters);
    let exporter = exporter();
    with_local_recorder(&exporter, counters);
    let handle: PrometheusHandle = exporter.handle();
    let mut peer = Router::new().route("/metrics", get(async move || handle.render()));
    let mut ours = Router::new().route_service("/metrics", registry.service());
    let (ours, peer) = rounds(
        effort,
        || longest_poll(&mut ours),
        || longest_poll(&mut peer),
    );
    let name = "metrics-exporter-prometheus 0.18 behind an axum handler";
    Figure::at_most(("scrape.stall", "ms"), &ours, (name, &peer), 1.0)
}

/// The milliseconds of the longest poll of a router's response and body. The server chooses how
/// many frames it polls in one turn, so each frame counts alone.
fn longest_poll(router: &mut Router) -> f64 {
    let mut context = Context::from_waker(Waker::noop());
    let mut longest = Duration::ZERO;
    let mut timed = |poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<bool>| loop {
        #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
        let start = Instant::now();
        let polled = poll(&mut context);
        longest = longest.max(start.elapsed());
        if polled == Poll::Ready(true) {
            return;
        }
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/metrics");
    // As Prometheus asks.
    let gzip = HeaderValue::from_static("gzip");
    request
        .headers_mut()
        .insert(http::header::ACCEPT_ENCODING, gzip);
    let mut future = Box::pin(Service::<Request>::call(router, request));
    let mut response = None::<axum::response::Response>;
    timed(&mut |context| {
        future.as_mut().poll(context).map(|answer| {
            response = answer.ok();
            true
        })
    });
    let mut body = response.unwrap_or_default().into_body();
    timed(&mut |context| {
        Pin::new(&mut body)
            .poll_frame(context)
            .map(|frame| frame.is_none())
    });
    longest.as_secs_f64() * 1e3
}

const RECORDS: usize = 2_000_000;

/// The nanoseconds of one operation, by the number of operations and threads.
pub(crate) fn nanoseconds(effort: Effort, threads: usize, operation: impl Fn(usize) + Sync) -> f64 {
    let operations = effort.of(RECORDS);
    let run = || (0..operations).for_each(&operation);
    let took = milliseconds(|| {
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(run)));
            run();
        });
    });
    took * 1e6 / operations as f64
}

pub(crate) fn record_macro(effort: Effort) -> Figure {
    let operation = |_| {
        counter!("orders_total", "channel" => "web", "country" => "se", "status" => "paid")
            .increment(1);
    };
    let (registry, exporter) = (registry(), exporter());
    let (ours, peer) = rounds(
        effort,
        || with_local_recorder(&registry, || nanoseconds(effort, 1, operation)),
        || with_local_recorder(&exporter, || nanoseconds(effort, 1, operation)),
    );
    Figure::compare(("record.macro", "ns"), &ours, (EXPORTER, &peer), 0.5)
}

/// A counter whose labels are not literals, by the number of threads. Making the labels is part of
/// the time on both sides.
fn record_dynamic(effort: Effort, name: &'static str, threads: usize) -> Figure {
    const TENANTS: usize = 2_000;
    let tenants: Vec<_> = (0..TENANTS).map(|n| format!("tenant-{n}")).collect();
    let operation = |number: usize| {
        let tenant = tenants[number % TENANTS].clone();
        record_tenant(tenant);
    };
    let (registry, exporter) = (registry(), exporter());
    let (ours, peer) = rounds(
        effort,
        || nanoseconds_with(&registry, effort, threads, operation),
        || nanoseconds_with(&exporter, effort, threads, operation),
    );
    Figure::compare((name, "ns"), &ours, (EXPORTER, &peer), 1.1)
}

fn record_tenant(tenant: String) {
    let (plan, ok) = ("team".to_owned(), "true".to_owned());
    counter!("calls_total", "tenant" => tenant, "plan" => plan, "ok" => ok).increment(1);
}

/// The same as [`nanoseconds`], a tenth as often, with a recorder for the macros on each thread.
fn nanoseconds_with(
    recorder: &(dyn metrics::Recorder + Sync),
    effort: Effort,
    threads: usize,
    operation: impl Fn(usize) + Sync,
) -> f64 {
    let operations = effort.of(RECORDS / 10);
    let run = || with_local_recorder(recorder, || (0..operations).for_each(&operation));
    let took = milliseconds(|| {
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(run)));
            run();
        });
    });
    took * 1e6 / operations as f64
}

pub(crate) fn record_dynamic_1(effort: Effort) -> Figure {
    record_dynamic(effort, "record.macro.dynamic", 1)
}

pub(crate) fn record_dynamic_2(effort: Effort) -> Figure {
    record_dynamic(effort, "record.macro.dynamic.2", 2)
}

/// Labels that are always new, past the limit of a family. The peer has no limit and keeps them, so
/// it gets a new recorder for each round.
pub(crate) fn record_overflow(effort: Effort) -> Figure {
    let registry = Registry::new();
    let next = AtomicUsize::new(0);
    let operation = |_: usize| record_tenant(next.fetch_add(1, Ordering::Relaxed).to_string());
    let (ours, peer) = rounds(
        effort,
        || nanoseconds_with(&registry, effort, 1, operation),
        || nanoseconds_with(&exporter(), effort, 1, operation),
    );
    Figure::compare(
        ("record.macro.overflow", "ns"),
        &ours,
        (EXPORTER, &peer),
        1.0,
    )
}

fn record_counter(effort: Effort, name: &'static str, threads: usize) -> Figure {
    let ours = registry()
        .counter("a_total", &[])
        .expect("the name is free");
    let exporter = exporter();
    let peer = with_local_recorder(&exporter, || counter!("a_total"));
    let (ours, peer) = rounds(
        effort,
        || nanoseconds(effort, threads, |_| ours.increment(1)),
        || nanoseconds(effort, threads, |_| peer.increment(1)),
    );
    Figure::compare((name, "ns"), &ours, (EXPORTER, &peer), 1.1)
}

pub(crate) fn record_counter_1(effort: Effort) -> Figure {
    record_counter(effort, "record.counter", 1)
}

pub(crate) fn record_counter_2(effort: Effort) -> Figure {
    record_counter(effort, "record.counter.2", 2)
}

fn record_histogram(effort: Effort, name: &'static str, threads: usize) -> Figure {
    let ours = registry().histogram("a", &[]).expect("the name is free");
    let peer = ClientHistogram::new(BOUNDS);
    let sample = |number: usize| (number & 63) as f64 * 0.1;
    let (ours, peer) = rounds(
        effort,
        || nanoseconds(effort, threads, |number| ours.record(sample(number))),
        || nanoseconds(effort, threads, |number| peer.observe(sample(number))),
    );
    Figure::compare((name, "ns"), &ours, (CLIENT, &peer), 1.1)
}

pub(crate) fn record_histogram_1(effort: Effort) -> Figure {
    record_histogram(effort, "record.histogram", 1)
}

pub(crate) fn record_histogram_2(effort: Effort) -> Figure {
    record_histogram(effort, "record.histogram.2", 2)
}
