use metrics::{counter, gauge, histogram, with_local_recorder};

use super::*;
use crate::{BuildError, Kind};

#[test]
fn the_page_is_sorted_described_and_stable() {
    let registry = Registry::builder().buckets(&[0.1, 1.0]).build().unwrap();
    registry.describe("b_seconds", "A \\ time\nin \"seconds\".");
    registry
        .histogram("b_seconds", &[("route", "/x")])
        .unwrap()
        .record(0.5);
    registry.gauge("c", &[]).unwrap().set(f64::NEG_INFINITY);
    registry
        .counter("a_total", &[("z", "2"), ("k", "\"v\"")])
        .unwrap()
        .increment(u64::MAX);
    registry
        .counter("a_total", &[("k", "\"v\""), ("z", "1")])
        .unwrap();
    let page = registry.render();
    assert_eq!(
        page,
        r#"# TYPE a_total counter
a_total{k="\"v\"",z="1"} 0
a_total{k="\"v\"",z="2"} 18446744073709551615
# HELP b_seconds A \\ time\nin "seconds".
# TYPE b_seconds histogram
b_seconds_bucket{route="/x",le="0.1"} 0
b_seconds_bucket{route="/x",le="1"} 1
b_seconds_bucket{route="/x",le="+Inf"} 1
b_seconds_sum{route="/x"} 0.5
b_seconds_count{route="/x"} 1
# TYPE c gauge
c -Inf
"#
    );
    assert_eq!(registry.render(), page);
}

#[test]
fn values_are_read_back_whatever_the_order_of_labels() {
    let registry = Registry::new();
    registry
        .counter("c_total", &[("a", "1"), ("b", "2")])
        .unwrap()
        .increment(7);
    registry
        .counter("c_total", &[("b", "2"), ("a", "1")])
        .unwrap()
        .increment(1);
    assert_eq!(
        registry.get("c_total", &[("b", "2"), ("a", "1")]),
        Some(Value::Counter(8))
    );
    assert_eq!(registry.get("c_total", &[("a", "1")]), None);
    assert_eq!(registry.get("d_total", &[]), None);
    let snapshot = registry.snapshot();
    let family = &snapshot.families[0];
    assert_eq!(
        (&*family.name, family.kind, &family.help),
        ("c_total", Kind::Counter, &None)
    );
    assert_eq!(family.series[0].label("b").as_deref(), Some("2"));
}

#[test]
fn past_the_familys_cap_the_overflow_series_takes_the_value() {
    let registry = Registry::new();
    for number in 0..2_500 {
        let number = number.to_string();
        registry
            .counter(
                "views_total",
                &[("product", number.as_str()), ("shop", "1")],
            )
            .unwrap()
            .increment(2);
    }
    let snapshot = registry.snapshot();
    let family = snapshot
        .families
        .iter()
        .find(|family| &*family.name == "views_total")
        .unwrap();
    assert_eq!(family.series.len(), 2_001);
    let sum: u64 = family
        .series
        .iter()
        .map(|series| {
            if let Value::Counter(value) = series.value {
                value
            } else {
                0
            }
        })
        .sum();
    assert_eq!(sum, 5_000);
    assert_eq!(
        registry.get(
            "views_total",
            &[("product", "_other_"), ("shop", "_other_")]
        ),
        Some(Value::Counter(1_000))
    );
    assert_eq!(
        registry.get(
            "campanile_registry_overflow_total",
            &[("family", "views_total")]
        ),
        Some(Value::Counter(500))
    );
    // Series that are there go on, and other labels don't make a second overflow series.
    registry
        .counter("views_total", &[("product", "1999"), ("shop", "1")])
        .unwrap()
        .increment(1);
    assert_eq!(
        registry.get("views_total", &[("product", "1999"), ("shop", "1")]),
        Some(Value::Counter(3))
    );
    registry
        .counter("views_total", &[("tenant", "new")])
        .unwrap()
        .increment(1);
    assert_eq!(
        registry.get(
            "views_total",
            &[("product", "_other_"), ("shop", "_other_")]
        ),
        Some(Value::Counter(1_001))
    );
}

#[test]
fn a_full_registry_takes_no_new_family_but_its_own() {
    let registry = Registry::builder().series(2).build().unwrap();
    registry.counter("a_total", &[("k", "1")]).unwrap();
    registry.counter("a_total", &[("k", "2")]).unwrap();
    registry
        .counter("a_total", &[("k", "3")])
        .unwrap()
        .increment(1);
    assert_eq!(
        registry.get("a_total", &[("k", "_other_")]),
        Some(Value::Counter(1))
    );
    assert_eq!(
        registry.counter("b_total", &[]).unwrap_err(),
        RegisterError::Full {
            name: "b_total".into(),
            cap: 2
        }
    );
    with_local_recorder(&registry, || counter!("b_total").increment(1));
    assert!(
        registry
            .render()
            .contains("campanile_registry_overflow_total{family=\"a_total\"} 1\n")
    );
    assert!(
        registry
            .render()
            .contains("campanile_registry_refused_total 1\n")
    );
}

#[test]
fn the_registrys_own_counters_know_no_cap() {
    let registry = Registry::builder().series_per_family(1).build().unwrap();
    let long = "x".repeat(300);
    for family in ["a_total", "b_total", long.as_str()] {
        for value in ["1", "2", "3"] {
            registry.counter(family, &[("k", value)]).unwrap();
        }
    }
    let page = registry.render();
    for family in ["a_total", "b_total"] {
        assert!(
            page.contains(&format!(
                "campanile_registry_overflow_total{{family=\"{family}\"}} 2\n"
            )),
            "{page}"
        );
    }
    assert_eq!(registry.render(), page);
}

#[test]
fn a_series_without_labels_has_room_and_an_empty_label_is_none() {
    let registry = Registry::builder().series_per_family(1).build().unwrap();
    registry.counter("a_total", &[("k", "1")]).unwrap();
    registry.counter("a_total", &[]).unwrap().increment(1);
    registry
        .counter("a_total", &[("k", "")])
        .unwrap()
        .increment(1);
    registry
        .counter("a_total", &[("k", "2")])
        .unwrap()
        .increment(5);
    assert_eq!(registry.get("a_total", &[]), Some(Value::Counter(2)));
    assert_eq!(
        registry.get("a_total", &[("k", "_other_")]),
        Some(Value::Counter(5))
    );
}

#[test]
fn names_of_a_histograms_samples_are_taken() {
    #[track_caller]
    fn check(histogram_first: bool, counter: &str, taken: bool) {
        let registry = Registry::new();
        let histogram = || registry.histogram("batch", &[]).map(|_| ());
        let counter = || registry.counter(counter, &[]).map(|_| ());
        let (first, second) = if histogram_first {
            (histogram(), counter())
        } else {
            (counter(), histogram())
        };
        assert_eq!(first, Ok(()));
        assert_eq!(
            matches!(second, Err(RegisterError::NameTaken { .. })),
            taken,
            "{second:?}"
        );
        // Once there, it stays.
        assert_eq!(
            registry.snapshot().families.len(),
            if taken { 1 } else { 2 }
        );
    }
    for histogram_first in [true, false] {
        check(histogram_first, "batch_count", true);
        check(histogram_first, "batch_sum", true);
        check(histogram_first, "batch_bucket", true);
        check(histogram_first, "batch_total", false);
    }
    let registry = Registry::new();
    registry.counter("batch", &[]).unwrap();
    registry.counter("batch_count", &[]).unwrap();
}

#[test]
fn descriptions_have_a_cap() {
    let registry = Registry::new();
    for number in 0..10_001 {
        registry.describe(&format!("m{number}"), "A metric.");
    }
    assert!(
        registry
            .render()
            .contains("campanile_registry_refused_total 1\n")
    );
}

#[test]
fn mistakes_are_typed_errors() {
    #[track_caller]
    fn check(name: &str, labels: &[(&str, &str)], expected: &str) {
        let registry = Registry::new();
        registry.gauge("taken", &[]).unwrap();
        let error = registry.counter(name, labels).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(registry.render(), "# TYPE taken gauge\ntaken 0\n");
    }
    check(
        "",
        &[],
        r#"the metric name "" is not valid: use [a-zA-Z_:][a-zA-Z0-9_:]*"#,
    );
    check(
        "1a",
        &[],
        r#"the metric name "1a" is not valid: use [a-zA-Z_:][a-zA-Z0-9_:]*"#,
    );
    check(
        "a\n# TYPE x",
        &[],
        r##"the metric name "a\n# TYPE x" is not valid: use [a-zA-Z_:][a-zA-Z0-9_:]*"##,
    );
    check(
        "a",
        &[("b c", "")],
        r#"the label name "b c" of the metric "a" is not valid: use [a-zA-Z_][a-zA-Z0-9_]*"#,
    );
    check(
        "a",
        &[("b", "1"), ("b", "2")],
        r#"the metric "a" has two labels named "b": keep one"#,
    );
    check(
        "a",
        &[("le", "1")],
        r#"the label name "le" of the metric "a" is reserved (`le`, `quantile` and `__…` are): choose another"#,
    );
    check(
        "taken",
        &[],
        r#"the metric "taken" is a gauge, and can't be a counter too: choose another name"#,
    );
}

#[test]
fn the_macros_get_valid_names_and_never_a_panic() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        counter!("cache.hits", "cache-type" => "a\nb").increment(2);
        // A second raw name for one exported name would mix two metrics.
        counter!("cache-hits").increment(5);
        gauge!("cache.hits").set(1.0);
        counter!("dup_total", "a.b" => "1", "a-b" => "2").increment(1);
        counter!("le_total", "le" => "1").increment(1);
        histogram!("h").record(f64::NAN);
        histogram!("h").record(0.25);
        counter!("").increment(1);
        counter!("long_total", "value" => "x".repeat(10_000)).increment(1);
        metrics::describe_counter!("cache.hits", "Hits.");
    });
    let page = registry.render();
    assert!(page.contains("# HELP cache_hits Hits.\n# TYPE cache_hits counter\ncache_hits{cache_type=\"a\\nb\"} 2\n"), "{page}");
    assert!(
        page.contains(&format!("long_total{{value=\"{}\"}} 1\n", "x".repeat(256))),
        "{page}"
    );
    assert!(page.contains("h_sum 0.25\n"), "{page}");
    assert!(
        page.contains("campanile_registry_refused_total 4\n"),
        "{page}"
    );
    assert!(
        page.contains("campanile_registry_dropped_samples_total 1\n"),
        "{page}"
    );
    assert!(
        page.contains("campanile_registry_truncated_labels_total 1\n"),
        "{page}"
    );
}

#[test]
fn settings_are_checked_when_building() {
    #[track_caller]
    fn buckets(bounds: &[f64], valid: bool) {
        let built = Registry::builder().buckets(bounds).build();
        assert_eq!(built.is_ok(), valid, "{bounds:?}");
        if let Err(error) = built {
            assert!(error.to_string().contains("finite and rising"));
        }
    }
    buckets(&[1.0], true);
    buckets(&[-1.0, 0.0, 0.1], true);
    buckets(&[], false);
    buckets(&[1.0, 1.0], false);
    buckets(&[2.0, 1.0], false);
    buckets(&[1.0, f64::INFINITY], false);
    buckets(&[f64::NAN], false);
    assert_eq!(
        Registry::builder()
            .series_per_family(0)
            .build()
            .unwrap_err(),
        BuildError::Zero {
            setting: "series_per_family"
        }
    );
    assert_eq!(
        Registry::builder()
            .series(0)
            .build()
            .unwrap_err()
            .to_string(),
        "`series` is 0: give at least 1"
    );
}

#[test]
fn writers_go_on_while_the_page_is_read() {
    let registry = Registry::new();
    std::thread::scope(|scope| {
        for thread in ["1", "2"] {
            let registry = &registry;
            scope.spawn(move || {
                for number in 0..1_000 {
                    let number = number.to_string();
                    registry
                        .counter("w_total", &[("thread", thread), ("n", number.as_str())])
                        .unwrap()
                        .increment(1);
                    registry
                        .histogram("h", &[("thread", thread)])
                        .unwrap()
                        .record(1.0);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                registry.render();
            }
        });
    });
    let lines = registry
        .render()
        .lines()
        .filter(|line| line.starts_with("w_total{"))
        .count();
    assert_eq!(lines, 2_000);
}

#[test]
fn types_can_be_shared() {
    fn check<T: Clone + Send + Sync + fmt::Debug + 'static>() {}
    check::<(
        Registry,
        RegistryBuilder,
        Counter,
        Gauge,
        Histogram,
        Snapshot,
        crate::HttpMetrics,
    )>();
}
