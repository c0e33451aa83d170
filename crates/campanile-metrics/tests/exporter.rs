//! The registry beside metrics-exporter-prometheus, and together with it.
#![cfg(feature = "prometheus-exporter")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use campanile_http::{ObserveLayer, Route};
use campanile_metrics::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    with_local_recorder,
};
use campanile_metrics::{HttpMetrics, Kind, NameMatch, Registry, Value};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;
use metrics_util::layers::{FanoutBuilder, FilterLayer, Layer, PrefixLayer, RouterBuilder};
use tower::{Layer as _, ServiceExt, service_fn};

const BOUNDS: [f64; 3] = [0.5, 1.0, 10.0];

fn exporter() -> PrometheusRecorder {
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("seconds".into()), &BOUNDS);
    builder.unwrap().build_recorder()
}

fn beside(exporter: &PrometheusRecorder) -> Registry {
    Registry::builder()
        .beside(exporter.handle())
        .build()
        .unwrap()
}

const VALUES: [&str; 9] = [
    "plain",
    "two\nlines",
    "\"quoted\"",
    "back\\slash",
    "\\n",
    "a,b=\"c\"} 1",
    "ünïcödé",
    "\u{2028}",
    "# TYPE x gauge",
];

#[test]
fn the_registry_shows_the_values_of_the_exporter() {
    let exporter = exporter();
    with_local_recorder(&exporter, || {
        describe_counter!("jobs", "Jobs \\ that\nare \"done\".");
        for (count, value) in VALUES.iter().enumerate() {
            counter!("jobs", "z" => *value, "k" => "v").increment(count as u64 + 1);
        }
        counter!("sent_total").absolute(u64::MAX);
        gauge!("heat").set(-0.25);
        gauge!("heat", "at" => "top").set(f64::INFINITY);
        histogram!("time_seconds", "k" => "v").record(0.75);
        histogram!("time_seconds", "k" => "v").record(20.0);
        histogram!("size").record(3.0);
    });
    let registry = beside(&exporter);
    for (count, value) in VALUES.iter().enumerate() {
        let found = registry.get("jobs", &[("k", "v"), ("z", value)]);
        assert_eq!(found, Some(Value::Counter(count as u64 + 1)), "{value:?}");
    }
    assert_eq!(
        registry.get("sent_total", &[]),
        Some(Value::Counter(u64::MAX))
    );
    assert_eq!(registry.get("heat", &[]), Some(Value::Gauge(-0.25)));
    assert_eq!(
        registry.get("heat", &[("at", "top")]),
        Some(Value::Gauge(f64::INFINITY))
    );
    let Some(Value::Histogram(time)) = registry.get("time_seconds", &[("k", "v")]) else {
        panic!("{:?}", registry.snapshot());
    };
    assert_eq!(time.buckets, [(0.5, 0), (1.0, 1), (10.0, 1)]);
    assert_eq!((time.count, time.sum), (2, 20.75));
    let Some(Value::Summary(size)) = registry.get("size", &[]) else {
        panic!("{:?}", registry.snapshot());
    };
    assert_eq!((size.count, size.sum, size.quantiles.len()), (1, 3.0, 7));
    let jobs = registry.family_snapshot("jobs").unwrap();
    assert_eq!(jobs.help.as_deref(), Some("Jobs \\ that\nare \"done\"."));
    let omitted = |reason| {
        registry.get(
            "campanile_registry_exporter_omitted_lines",
            &[("reason", reason)],
        )
    };
    for reason in ["invalid", "name_taken", "over_limit"] {
        assert_eq!(omitted(reason), Some(Value::Gauge(0.0)), "{reason}");
    }
    assert!(
        registry
            .get("campanile_registry_exporter_age_seconds", &[])
            .is_some()
    );
}

#[test]
fn a_name_of_two_kinds_has_the_first() {
    let exporter = exporter();
    with_local_recorder(&exporter, || {
        counter!("twice").increment(3);
        gauge!("twice").set(4.0);
        // Two raw names that the exporter makes equal, and two labels.
        histogram!("a.b_seconds", "x.y" => "1", "x_y" => "2").record(1.0);
    });
    let registry = beside(&exporter);
    assert_eq!(registry.get("twice", &[]), Some(Value::Counter(3)));
    assert_eq!(registry.family_snapshot("a_b_seconds"), None);
    let omitted = registry.get(
        "campanile_registry_exporter_omitted_lines",
        &[("reason", "invalid")],
    );
    assert_eq!(omitted, Some(Value::Gauge(2.0 + 6.0)));
}

#[tokio::test]
async fn a_handlers_macros_record_with_the_exporter_alone_and_are_read_back() {
    let exporter = exporter();
    let registry = beside(&exporter);
    let layer = ObserveLayer::builder(HttpMetrics::register(&registry).unwrap())
        .route(|_| Some(Route::from("/")))
        .build();
    let service = layer.layer(service_fn(async |_: http::Request<()>| {
        counter!("handled_total").increment(1);
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    }));
    let _recorder = metrics::set_default_local_recorder(&exporter);
    counter!("handled_total").increment(10);
    drop(service.oneshot(http::Request::new(())).await);
    assert_eq!(registry.get("handled_total", &[]), Some(Value::Counter(11)));
    assert!(registry.family_snapshot("http_requests_total").is_some());
}

/// The samples of a page, by their names and labels; a bound is read as a number.
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

fn descriptions(page: &str) -> Vec<&str> {
    let mut lines: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("# HELP"))
        .collect();
    lines.sort_unstable();
    lines
}

/// Returns a registry that has the exporter's buckets.
fn alike() -> Registry {
    let builder = Registry::builder().buckets_for(NameMatch::Suffix("seconds".into()), &BOUNDS);
    builder.build().unwrap()
}

fn record() {
    describe_counter!("jobs_total", "Jobs.");
    describe_gauge!("heat", Unit::Count, "Heat.");
    describe_histogram!("time_seconds", Unit::Seconds, "Time.");
    let jobs = counter!("jobs_total", "queue" => "a");
    jobs.increment(2);
    jobs.increment(3);
    counter!("jobs_total", "queue" => "b".to_owned()).increment(1);
    counter!("sent_total").absolute(70);
    counter!("sent_total").absolute(60);
    let heat = gauge!("heat", "at" => "top");
    heat.set(5.0);
    heat.increment(2.5);
    heat.decrement(10.0);
    let time = histogram!("time_seconds", "k" => "v");
    time.record(0.75);
    time.record_many(20.0, 3);
    histogram!("time_seconds").record(std::time::Duration::from_millis(500));
}

#[test]
fn a_fanout_gives_both_the_same_samples_and_descriptions() {
    let (registry, exporter) = (alike(), exporter());
    let handle = exporter.handle();
    let fanout = FanoutBuilder::default()
        .add_recorder(registry.clone())
        .add_recorder(exporter)
        .build();
    with_local_recorder(&fanout, record);
    let (ours, theirs) = (registry.render(), handle.render());
    assert_eq!(samples(&ours), samples(&theirs));
    assert_eq!(samples(&ours)["heat[\"at=\\\"top\\\"\"]"], -2.5);
    assert_eq!(descriptions(&ours), descriptions(&theirs));
    assert_eq!(descriptions(&ours).len(), 3);
}

#[test]
fn a_prefix_layer_gives_both_the_same_names() {
    let (registry, exporter) = (alike(), exporter());
    let handle = exporter.handle();
    let layer = PrefixLayer::new("app");
    with_local_recorder(&layer.layer(registry.clone()), record);
    with_local_recorder(&layer.layer(exporter), record);
    let (ours, theirs) = (registry.render(), handle.render());
    assert_eq!(samples(&ours), samples(&theirs));
    assert_eq!(descriptions(&ours), descriptions(&theirs));
    let jobs = registry.get("app_jobs_total", &[("queue", "a")]);
    assert_eq!(jobs, Some(Value::Counter(5)));
}

#[test]
fn a_router_and_a_filter_decide_what_the_registry_gets() {
    let (jobs, rest) = (alike(), alike());
    let mut router = RouterBuilder::from_recorder(rest.clone());
    router.add_route(MetricKindMask::COUNTER, "jobs", jobs.clone());
    with_local_recorder(&router.build(), record);
    let names = |registry: &Registry| {
        let snapshot = registry.snapshot();
        let families = snapshot.families.iter();
        families
            .map(|family| family.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&jobs), ["jobs_total"]);
    assert_eq!(names(&rest), ["heat", "sent_total", "time_seconds"]);
    assert_eq!(
        jobs.family_snapshot("jobs_total").unwrap().kind,
        Kind::Counter
    );

    let filtered = alike();
    let filter = FilterLayer::from_patterns(["heat", "sent"]).layer(filtered.clone());
    with_local_recorder(&filter, record);
    assert_eq!(names(&filtered), ["jobs_total", "time_seconds"]);
}
