//! What an exchange allocates. The counter is the process's allocator, so this has a process of its own.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use campanile::correlation::CorrelationIdLayer;
use campanile::http::ObserveLayer;
use campanile::metrics::{HttpMetrics, Registry};
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
    let metrics = HttpMetrics::new(&Registry::new());
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
