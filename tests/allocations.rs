//! Allocations of a request, and of a registry without scrapes. The counter replaces the process's
//! allocator, so these tests have their own process.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile::metrics::metrics::with_local_recorder;
use campanile::metrics::{Counter, HttpMetrics, Registry, Value};
use campanile::{counter, histogram};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, service_fn};

/// Sends one request and reads the response, and returns how often that allocated.
fn allocations<S, B>(service: &mut S) -> u64
where
    S: Service<Request<()>, Response = Response<B>>,
    B: Body,
{
    let info = allocation_counter::measure(|| {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(service.call(Request::new(()))).poll(&mut context)
        else {
            panic!("the service waits");
        };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
            assert!(frame.is_ok());
        }
    });
    info.count_total
}

async fn answer(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

#[test]
fn observing_allocates_nothing_once_a_route_is_known() {
    let metrics = HttpMetrics::register(&Registry::new()).unwrap();
    let layer = ObserveLayer::builder((metrics, None::<HttpMetrics>))
        .route(|_| Some("/".into()))
        .build();
    let mut observed = layer.layer(service_fn(answer));
    let first = allocations(&mut observed);
    assert!(first > 0, "nothing was registered");
    assert_eq!(
        allocations(&mut observed),
        allocations(&mut service_fn(answer))
    );
}

#[test]
fn a_correlation_id_allocates_its_text_and_the_maps_that_hold_it() {
    let mut correlated = CorrelationIdLayer::new().layer(service_fn(answer));
    allocations(&mut correlated);
    let added = allocations(&mut correlated) - allocations(&mut service_fn(answer));
    // The text; the extensions' map, its table and the boxed id; the headers' entries and indices.
    assert_eq!(added, 6);
}

#[derive(Clone, Copy, campanile::Labels)]
enum Channel {
    Web,
    App,
}

#[campanile::observe(labels(channel))]
async fn order(channel: Channel) -> Result<u32, String> {
    Ok(channel as u32)
}

/// An observed function and a family whose labels are an enum, once they were used.
#[test]
fn what_is_known_when_it_compiles_allocates_nothing() {
    let registry = Registry::new();
    let family = registry.family::<Channel, Counter>("orders_total").unwrap();
    let record = || {
        with_local_recorder(&registry, || {
            for channel in [Channel::Web, Channel::App] {
                family.with(channel).increment(1);
                let mut context = Context::from_waker(Waker::noop());
                assert!(pin!(order(channel)).poll(&mut context).is_ready());
            }
        });
    };
    let first = allocation_counter::measure(record).count_total;
    assert!(first > 0, "nothing was registered");
    assert_eq!(allocation_counter::measure(record).count_total, 0);
}

/// A client chooses a label's value, and there are no scrapes.
#[test]
fn a_million_label_values_take_no_memory_past_the_cap() {
    let registry = Registry::new();
    let count = |numbers: std::ops::Range<u32>| {
        let record = || {
            for number in numbers {
                let value = number.wrapping_mul(2_654_435_761).to_string();
                if number % 16 == 0 {
                    histogram!("time_seconds", "product" => value.clone()).record(0.1);
                }
                counter!("views_total", "product" => value).increment(1);
            }
        };
        allocation_counter::measure(|| with_local_recorder(&registry, record)).bytes_current
    };
    let filled = count(0..50_000);
    assert!(filled > 100_000, "{filled} bytes for 4,000 series");
    let grown = count(50_000..1_000_000);
    // The registry keeps the values that are rejected most often, whose lengths vary.
    assert!(grown.abs() < 4_096, "{grown} bytes");
    let total: u64 = registry
        .family_snapshot("views_total")
        .unwrap()
        .series
        .iter()
        .map(|series| match series.value {
            Value::Counter(value) => value,
            _ => 0,
        })
        .sum();
    assert_eq!(total, 1_000_000);
}
