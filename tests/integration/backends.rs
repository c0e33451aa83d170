use std::collections::BTreeMap;

use campanile::http::ObserveLayer;
use campanile::metrics::metrics::with_local_recorder;
use campanile::metrics::{HttpMetrics, HttpNaming, Registry};
use campanile::{counter, gauge, histogram};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer, ServiceExt, service_fn};

/// Returns the samples of a scrape response, by their names and labels. A bound is a number.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels: Vec<_> = labels[..labels.len() - 1]
            .split(',')
            .map(|label| match label.strip_prefix("le=\"") {
                Some(bound) => {
                    format!("le={}", bound.trim_end_matches('"').parse::<f64>().unwrap())
                }
                None => label.to_owned(),
            })
            .collect();
        labels.sort_unstable();
        (format!("{name}{labels:?}"), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

const BOUNDS: [f64; 4] = [0.1, 0.5, 1.0, 10.0];

fn recorder() -> metrics_exporter_prometheus::PrometheusRecorder {
    let builder = PrometheusBuilder::new().set_buckets(&BOUNDS).unwrap();
    builder.build_recorder()
}

#[test]
fn the_same_operations_give_the_same_samples_as_the_exporters() {
    let operations = || {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2_000 {
            let value = ["a", "b c", "ü", "\"", "{}", "x=1"][random.usize(..6)];
            match random.u8(..5) {
                0 => counter!("jobs_total", "queue" => value).increment(random.u64(..10)),
                1 => counter!("jobs_total", "queue" => value, "host" => "h")
                    .absolute(random.u64(..9_999)),
                2 => gauge!("size", "queue" => value).set(random.f64() * 1e6),
                3 => gauge!("size").increment(random.f64()),
                // Sixteenths add up exactly in any order.
                _ => histogram!("time_seconds", "k.k" => value)
                    .record(f64::from(random.u32(..320)) / 16.0),
            }
        }
    };
    let registry = Registry::builder().buckets(&BOUNDS).build().unwrap();
    with_local_recorder(&registry, operations);
    let exporter = recorder();
    with_local_recorder(&exporter, operations);
    let (ours, theirs) = (registry.render(), exporter.handle().render());
    assert_eq!(samples(&ours), samples(&theirs));
    assert!(samples(&ours).len() > 50);
}

#[tokio::test]
async fn http_metrics_write_through_the_exporter_that_a_host_has() {
    let exporter = recorder();
    let handle = exporter.handle();
    let registry = Registry::builder().buckets(&BOUNDS).build().unwrap();
    for metrics in [
        HttpMetrics::with_recorder(exporter, HttpNaming::Classic),
        HttpMetrics::register(&registry).unwrap(),
    ] {
        let layer = ObserveLayer::builder(metrics)
            .route(|_| Some("/".into()))
            .build();
        let service = layer.layer(service_fn(async |_: Request<()>| {
            tokio::task::yield_now().await;
            counter!("handled_total").increment(1);
            Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::from("ok")))
        }));
        for _ in 0..3 {
            let response = service.clone().oneshot(Request::new(())).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        drop(service.oneshot(Request::new(())));
    }
    let without_times = |page: &str| {
        let mut samples = samples(page);
        samples.retain(|name, _| !name.contains("_sum"));
        samples
    };
    assert_eq!(
        without_times(&handle.render()),
        without_times(&registry.render())
    );
}
