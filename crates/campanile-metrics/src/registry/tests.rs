use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram, with_local_recorder};

use super::describe::MAX_DESCRIPTIONS;
use super::*;
use crate::export::Snapshot;
use crate::{
    BuildProblem, Counter, Gauge, Histogram, Kind, NameMatch, RegisterError, RegistryBuilder,
    Value, clock,
};

mod room;

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
b_seconds_bucket{route="/x",le="1.0"} 1
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
        // In OpenMetrics these counters would be `batch` and `batch_count`.
        check(histogram_first, "batch_total", true);
        check(histogram_first, "batch_count", true);
        check(histogram_first, "batch_jobs", false);
    }
}

#[test]
fn names_that_some_format_would_confuse_are_taken() {
    #[track_caller]
    fn check(gauge: &str, histogram: &str) {
        for gauge_first in [true, false] {
            let registry = Registry::new();
            let gauge = || registry.gauge(gauge, &[]).map(|_| ());
            let histogram = || registry.histogram(histogram, &[]).map(|_| ());
            let both = if gauge_first {
                [gauge(), histogram()]
            } else {
                [histogram(), gauge()]
            };
            let error = both[1].as_ref().unwrap_err().to_string();
            assert!(both[0].is_ok() && error.contains("belongs to"), "{error}");
        }
    }
    for suffix in ["_bucket", "_sum", "_count", "_created"] {
        check(&format!("batch{suffix}"), "batch");
    }
    let registry = Registry::new();
    registry.counter("jobs", &[]).unwrap();
    for name in ["jobs_total", "jobs", "jobs_created"] {
        registry.gauge(name, &[]).unwrap_err();
    }
    assert!(matches!(
        registry.counter("jobs_total", &[]),
        Err(RegisterError::NameTaken { .. })
    ));
}

#[test]
fn a_counter_has_its_suffix_everywhere() {
    let registry = Registry::new();
    registry.describe("jobs", "Jobs done.");
    registry.counter("jobs", &[]).unwrap().increment(2);
    assert_eq!(registry.get("jobs_total", &[]), Some(Value::Counter(2)));
    assert_eq!(registry.get("jobs", &[]), None);
    let family = registry.family_snapshot("jobs_total").unwrap();
    assert_eq!(
        (&*family.name, family.help.as_deref()),
        ("jobs_total", Some("Jobs done."))
    );
    let text = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 2\n";
    assert_eq!(registry.render(), text);
    let page = registry.render_open_metrics();
    let open = "# HELP jobs Jobs done.\n# TYPE jobs counter\njobs_total 2\njobs_created ";
    assert!(
        page.starts_with(open) && page.ends_with("\n# EOF\n"),
        "{page}"
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
        r#"invalid metric name "": expected [a-zA-Z_:][a-zA-Z0-9_:]*"#,
    );
    check(
        "1a",
        &[],
        r#"invalid metric name "1a": expected [a-zA-Z_:][a-zA-Z0-9_:]*"#,
    );
    check(
        "a\n# TYPE x",
        &[],
        r##"invalid metric name "a\n# TYPE x": expected [a-zA-Z_:][a-zA-Z0-9_:]*"##,
    );
    check(
        "a",
        &[("b c", "")],
        r#"invalid label name "b c" of the metric "a": expected [a-zA-Z_][a-zA-Z0-9_]*"#,
    );
    check(
        "a",
        &[("b", "1"), ("b", "2")],
        r#"duplicate label name "b" of the metric "a": expected each name once"#,
    );
    check(
        "a",
        &[("__le", "1")],
        r#"reserved label name "__le" of the metric "a": expected no `__` at the start, and no `le` or `quantile` for histograms and summaries"#,
    );
    check(
        "taken",
        &[],
        r#"duplicate metric name "taken" of a counter: expected a gauge, as registered before"#,
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
    assert!(page.contains("# HELP cache_hits_total Hits.\n# TYPE cache_hits_total counter\ncache_hits_total{cache_type=\"a\\nb\"} 2\n"), "{page}");
    assert!(
        page.contains(&format!("long_total{{value=\"{}\"}} 1\n", "x".repeat(256))),
        "{page}"
    );
    assert!(page.contains("h_sum 0.25\n"), "{page}");
    assert!(
        page.contains("campanile_registry_rejected_total 3\n"),
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
fn a_prefix_and_constant_labels_are_in_every_exposition() {
    let registry = Registry::builder()
        .prefix("shop")
        .constant_label("zone", "a \"b\"")
        .constant_label("app", "x")
        .buckets(&[1.0])
        .build()
        .unwrap();
    registry.describe("jobs", "Jobs.");
    registry.counter("jobs", &[]).unwrap();
    registry.gauge("size", &[("k", "v")]).unwrap();
    registry.histogram("t", &[]).unwrap();
    registry.gauge("campanile_x", &[]).unwrap();
    let constant = r#"app="x",zone="a \"b\"""#;
    let page = format!(
        "# TYPE campanile_x gauge\ncampanile_x{{{constant}}} 0\n\
         # HELP shop_jobs_total Jobs.\n# TYPE shop_jobs_total counter\nshop_jobs_total{{{constant}}} 0\n\
         # TYPE shop_size gauge\nshop_size{{{constant},k=\"v\"}} 0\n\
         # TYPE shop_t histogram\nshop_t_bucket{{{constant},le=\"1.0\"}} 0\nshop_t_bucket{{{constant},le=\"+Inf\"}} 0\n\
         shop_t_sum{{{constant}}} 0\nshop_t_count{{{constant}}} 0\n"
    );
    assert_eq!(registry.render(), page);
    let size = registry.get("shop_size", &[("k", "v")]);
    assert_eq!(size, Some(Value::Gauge(0.0)));
}

#[test]
fn a_series_own_label_wins_over_a_constant_label() {
    let registry = Registry::builder()
        .constant_label("env", "prod")
        .constant_label("zone", "a")
        .buckets(&[1.0])
        .build()
        .unwrap();
    with_local_recorder(&registry, || {
        counter!("jobs_total", "env" => "test").increment(1);
        counter!("jobs_total", "env" => "test", "k" => "v").increment(2);
        counter!("jobs_total", "k" => "v").increment(3);
        // The same series as the one without labels.
        counter!("jobs_total").increment(4);
        counter!("jobs_total", "env" => "prod").increment(5);
        counter!("jobs_total", "env" => "").increment(6);
        histogram!("t", "env" => "test", "zone" => "b").record(1.0);
    });
    let page = "# TYPE jobs_total counter\n\
        jobs_total{env=\"prod\",zone=\"a\"} 15\n\
        jobs_total{zone=\"a\",env=\"test\"} 1\n\
        jobs_total{zone=\"a\",env=\"test\",k=\"v\"} 2\n\
        jobs_total{env=\"prod\",zone=\"a\",k=\"v\"} 3\n\
        # TYPE t histogram\n\
        t_bucket{env=\"test\",zone=\"b\",le=\"1.0\"} 1\n\
        t_bucket{env=\"test\",zone=\"b\",le=\"+Inf\"} 1\n\
        t_sum{env=\"test\",zone=\"b\"} 1\n\
        t_count{env=\"test\",zone=\"b\"} 1\n";
    assert_eq!(registry.render(), page);
    let get = |env| registry.get("jobs_total", &[("env", env)]);
    assert_eq!(get("test"), Some(Value::Counter(1)));
    assert_eq!(get("prod"), Some(Value::Counter(15)));
    assert_eq!(get(""), Some(Value::Counter(15)));
}

#[test]
fn the_librarys_own_metrics_work_with_constant_labels_of_their_names() {
    let mut builder = Registry::builder().max_series_per_family(1);
    for label in ["part", "mountpoint", "cache_type", "section"] {
        builder = builder.constant_label(label, "x");
    }
    let registry = builder.build().unwrap();
    let cache = crate::collectors::CacheMetrics::register(&registry, "users").unwrap();
    cache.set_entries(7);
    let entries = registry.get("cache_entries", &[("cache_type", "users")]);
    assert_eq!(entries, Some(Value::Gauge(7.0)));
    let page = registry.render();
    let line = r#"cache_entries{mountpoint="x",part="x",section="x",cache_type="users"} 7"#;
    assert!(page.contains(line), "{page}");
}

#[test]
fn buckets_are_those_of_the_name_that_fits_best() {
    let registry = Registry::builder()
        .buckets(&[1.0])
        .buckets_for(NameMatch::Suffix("_bytes".into()), &[2.0])
        .buckets_for(NameMatch::Suffix("load_bytes".into()), &[3.0])
        .buckets_for(NameMatch::Prefix("up".into()), &[4.0])
        .buckets_for(NameMatch::Exact("upload_bytes".into()), &[5.0])
        .build()
        .unwrap();
    for (name, bound) in [
        ("t", 1.0),
        ("x_bytes", 2.0),
        ("download_bytes", 3.0),
        ("uplink_bytes", 4.0),
        ("upload_bytes", 5.0),
    ] {
        let histogram = registry.histogram(name, &[]).unwrap();
        assert_eq!(histogram.value().buckets, [(bound, 0)], "{name}");
    }
}

#[test]
fn macros_with_literals_and_without_write_to_the_same_series() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        for value in ["1", "2", "1"] {
            counter!("c_total", "b" => value.to_owned(), "a" => "x").increment(1);
            counter!("c_total", "b" => "1", "a" => "x").increment(10);
            gauge!("g", "k" => "v").increment(1.0);
            histogram!("h", "k" => "v").record(1.0);
        }
        // A second kind for a key of literals is refused as any other.
        gauge!("c_total", "b" => "1", "a" => "x").set(1.0);
    });
    let counted = |value| registry.get("c_total", &[("a", "x"), ("b", value)]);
    assert_eq!(
        [counted("1"), counted("2")],
        [32, 1].map(|count| Some(Value::Counter(count)))
    );
    assert_eq!(registry.get("g", &[("k", "v")]), Some(Value::Gauge(3.0)));
    assert!(
        registry
            .render()
            .contains("campanile_registry_rejected_total 1\n")
    );
}

#[test]
fn summaries_show_quantiles_and_macros_reach_them_by_name() {
    let registry = Registry::builder()
        .summaries(NameMatch::Suffix("_size".into()))
        .build()
        .unwrap();
    let summary = registry.summary("s", &[("k", "v")]).unwrap();
    (1..=100).for_each(|sample| summary.record(f64::from(sample)));
    summary.record(f64::NAN);
    with_local_recorder(&registry, || {
        for _ in 0..2 {
            histogram!("batch_size", "k" => "v").record(5.0);
            histogram!("batch_size", "k" => "v".to_owned()).record(5.0);
        }
        histogram!("s", "k" => "v").record(1.0);
    });
    let Some(Value::Summary(sizes)) = registry.get("batch_size", &[("k", "v")]) else {
        panic!("{}", registry.render());
    };
    assert_eq!((sizes.count, sizes.sum), (4, 20.0));
    let page = registry.render();
    let line = page
        .lines()
        .find(|line| line.starts_with("s{k=\"v\",quantile=\"0.5\"} "));
    let median: f64 = line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((49.0..=51.5).contains(&median), "{median}");
    assert!(page.contains("# TYPE s summary\n"), "{page}");
    assert!(
        page.contains("s_sum{k=\"v\"} 5050\ns_count{k=\"v\"} 100\n"),
        "{page}"
    );
    assert!(
        page.contains("campanile_registry_dropped_samples_total 1\n"),
        "{page}"
    );
    // `s` is no histogram.
    assert!(
        page.contains("campanile_registry_rejected_total 1\n"),
        "{page}"
    );
}

#[test]
fn the_build_error_lists_all_problems() {
    #[track_caller]
    fn buckets(bounds: &[f64], valid: bool) {
        let built = Registry::builder().buckets(bounds).build();
        assert_eq!(built.is_ok(), valid, "{bounds:?}");
        if let Err(error) = built {
            assert!(error.to_string().contains("finite and ascending"));
        }
    }
    buckets(&[1.0], true);
    buckets(&[-1.0, 0.0, 0.1], true);
    buckets(&[], false);
    buckets(&[1.0, 1.0], false);
    buckets(&[2.0, 1.0], false);
    buckets(&[1.0, f64::INFINITY], false);
    buckets(&[f64::NAN], false);
    for (name, value) in [("le", "1"), ("a b", "1"), ("a", ""), ("family", "1")] {
        let built = Registry::builder().constant_label(name, value).build();
        let error = built.unwrap_err();
        let [BuildProblem::ConstantLabel { label, .. }] = error.problems() else {
            panic!("{error:?}");
        };
        assert_eq!(label, name);
    }
    let error = Registry::builder()
        .max_series_per_family(0)
        .max_series(0)
        .max_label_value_bytes(0)
        .idle_timeout(Duration::ZERO)
        .buckets(&[])
        .buckets_for(NameMatch::Suffix("_x".into()), &[2.0, 1.0])
        .prefix("a b")
        .constant_label("le", "1")
        .build()
        .unwrap_err();
    let expected = [
        "invalid `max_series_per_family` 0: expected at least 1",
        "invalid `max_series` 0: expected at least 1",
        "invalid `max_label_value_bytes` 0: expected at least 1",
        "invalid `idle_timeout` 0: expected at least 1",
        "invalid bucket bounds [] for all histograms: expected at least one, finite and ascending",
        "invalid bucket bounds [2.0, 1.0] for Suffix(\"_x\"): expected at least one, finite and ascending",
        "invalid prefix \"a b\": expected [a-zA-Z_:][a-zA-Z0-9_:]* without `_` at the end",
        "invalid constant label \"le\": expected a value, and a name [a-zA-Z_][a-zA-Z0-9_]* that is not reserved",
    ];
    assert_eq!(error.to_string(), expected.join("; "));
    assert_eq!(error.problems().len(), expected.len());
    assert!(std::error::Error::source(&error).is_some());
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

#[test]
fn what_was_written_through_a_handle_stays_for_a_timeout_after_it() {
    let minute = Duration::from_secs(60);
    let registry = Registry::builder().idle_timeout(minute).build().unwrap();
    let begun = clock::now();
    let labels = [("connection", "7")];
    let bytes = registry.counter("bytes_total", &labels).unwrap();
    registry.sweep(begun + minute * 60);
    bytes.increment(1_000_000);
    drop(bytes);
    registry.sweep(begun + minute * 61 + Duration::from_secs(1));
    let value = registry.get("bytes_total", &labels);
    assert_eq!(value, Some(Value::Counter(1_000_000)));
    registry.sweep(begun + minute * 63);
    assert_eq!(registry.get("bytes_total", &labels), None);
}

fn bounds(registry: &Registry, name: &str) -> Vec<f64> {
    match registry.get(name, &[]) {
        Some(Value::Histogram(histogram)) => {
            histogram.buckets.iter().map(|(bound, _)| *bound).collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn bounds_follow_from_the_unit_or_the_last_word_of_the_name() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        metrics::describe_histogram!("answer", Unit::Bytes, "Size of answers.");
        (1..1_000).for_each(|size| histogram!("answer").record(f64::from(size) * 1e3));
        histogram!("batch_size").record(100.0);
        histogram!("answer", "k" => "v").record(1.0);
    });
    let Some(Value::Histogram(sizes)) = registry.get("answer", &[]) else {
        panic!("there is no histogram");
    };
    assert_eq!(sizes.buckets.last(), Some(&(268_435_456.0, 999)));
    assert_eq!(bounds(&registry, "batch_size").last(), Some(&1e6));
    // All series of a name have the bounds of the first.
    registry.histogram("wait", &[]).unwrap();
    registry.describe_with_unit("wait", "Time.", Some(Unit::Milliseconds));
    let second = registry.histogram("wait", &[("k", "v")]).unwrap();
    assert_eq!(second.value().buckets.last(), Some(&(10.0, 0)));
    // The setting for all histograms takes precedence.
    let registry = Registry::builder().buckets(&[1.0, 2.0]).build().unwrap();
    registry.histogram("batch_size", &[]).unwrap();
    assert_eq!(bounds(&registry, "batch_size"), [1.0, 2.0]);
}

#[test]
fn bounds_of_a_metric_itself_go_before_those_of_a_pattern() {
    let registry = Registry::builder()
        .buckets_for(NameMatch::Suffix("_seconds".into()), &[1.0])
        .buckets_for(NameMatch::Exact("exact_seconds".into()), &[2.0])
        .build()
        .unwrap();
    for name in ["payment_seconds", "exact_seconds"] {
        registry.set_buckets(name, &[0.1, 60.0]).unwrap();
        registry.histogram(name, &[]).unwrap();
    }
    registry.histogram("other_seconds", &[]).unwrap();
    assert_eq!(bounds(&registry, "payment_seconds"), [0.1, 60.0]);
    assert_eq!(bounds(&registry, "exact_seconds"), [2.0]);
    assert_eq!(bounds(&registry, "other_seconds"), [1.0]);
}

#[test]
fn descriptions_of_metrics_that_are_gone_make_room() {
    let second = Duration::from_secs(1);
    let registry = Registry::builder().idle_timeout(second).build().unwrap();
    registry.describe("kept", "It is in use.");
    let _kept = registry.counter("kept", &[]).unwrap();
    for job in 0..MAX_DESCRIPTIONS {
        let name = format!("job_{job}");
        registry.describe(&name, "A job.");
        registry.gauge(&name, &[("k", "v")]).unwrap();
    }
    let begun = registry.0.created_at;
    registry.sweep(begun + second * 10);
    registry.sweep(begun + second * 20);
    registry.describe("late", "A late one.");
    registry.gauge("late", &[]).unwrap();
    let page = registry.render();
    assert!(page.contains("# HELP late "), "{page}");
    assert!(page.contains("# HELP kept_total "), "{page}");
}

/// Returns the lines of a page that are samples.
fn samples(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn a_counter_that_was_counted_elsewhere_has_no_time_at_which_it_was_zero() {
    let registry = Registry::new();
    registry.counter("own", &[]).unwrap().increment(1);
    registry.counter("foreign", &[]).unwrap().absolute(7);
    let time = registry.time_counter("cpu_seconds", &[]).unwrap();
    time.absolute(Duration::from_secs(1));
    with_local_recorder(&registry, || counter!("consumed").absolute(9));
    let page = registry.render_open_metrics();
    let created: Vec<_> = samples(&page)
        .filter(|line| line.contains("_created "))
        .collect();
    assert!(
        matches!(*created, [own] if own.starts_with("own_created ")),
        "{page}"
    );
    let created = |name| registry.family_snapshot(name).unwrap().series[0].created;
    assert_eq!(created("foreign_total"), None);
    assert!(created("own_total").is_some());
}

#[test]
fn the_budget_is_what_a_page_has_and_created_can_be_left_out() {
    for builder in [Registry::builder(), Registry::builder().without_created()] {
        let registry = builder.build().unwrap();
        for number in 0..100 {
            let number = number.to_string();
            registry
                .counter("jobs", &[("q", &number)])
                .unwrap()
                .increment(1);
        }
        registry.gauge("depth", &[]).unwrap();
        registry.histogram("wait_seconds", &[]).unwrap().record(0.1);
        registry.summary("size", &[]).unwrap().record(1.0);
        let budget = registry.cardinality();
        let promised: usize = budget.iter().map(|of| of.series * of.samples).sum();
        let page = registry.render_open_metrics();
        assert_eq!(samples(&page).count(), promised, "{page}");
        assert_eq!(page.contains("_created"), registry.has_created());
    }
}

#[test]
fn a_label_is_refused_only_where_it_would_be_mistaken() {
    let registry = Registry::new();
    with_local_recorder(&registry, || {
        gauge!("latency", "quantile" => "0.99").set(0.3);
        counter!("below_total", "le" => "1").increment(1);
        // The last one holds, and the other is counted.
        counter!("jobs_total", "k" => "1", "a" => "x", "k" => "2").increment(1);
    });
    let get = |name, labels: &[(&str, &str)]| registry.get(name, labels);
    assert_eq!(
        get("latency", &[("quantile", "0.99")]),
        Some(Value::Gauge(0.3))
    );
    assert_eq!(get("below_total", &[("le", "1")]), Some(Value::Counter(1)));
    let jobs = get("jobs_total", &[("k", "2"), ("a", "x")]);
    assert_eq!(jobs, Some(Value::Counter(1)));
    assert_eq!(
        get("campanile_registry_rejected_total", &[]),
        Some(Value::Counter(1))
    );
    for (label, is_allowed) in [("le", false), ("quantile", false), ("level", true)] {
        let labels = [(label, "1")];
        assert_eq!(registry.histogram("h", &labels).is_ok(), is_allowed);
        assert_eq!(registry.summary("s", &labels).is_ok(), is_allowed);
    }
}

#[test]
fn a_name_that_is_shared_and_no_literal_is_not_kept() {
    let second = Duration::from_secs(1);
    let registry = Registry::builder().idle_timeout(second).build().unwrap();
    with_local_recorder(&registry, || {
        let name: Arc<str> = "job_7_total".into();
        counter!(name).increment(1);
        let value: Arc<str> = "a".into();
        counter!("work_total", "k" => value).increment(1);
        counter!("literal_total", "k" => "v").increment(1);
    });
    for seconds in [10, 20] {
        registry.sweep(registry.0.created_at + second * seconds);
    }
    assert_eq!(registry.get("job_7_total", &[]), None);
    assert_eq!(registry.get("work_total", &[("k", "a")]), None);
    let literal = registry.get("literal_total", &[("k", "v")]);
    assert_eq!(literal, Some(Value::Counter(1)));
}

#[test]
fn a_snapshot_of_many_series_has_each_of_them_once() {
    for count in [999, 1_000, 1_001, 2_500] {
        let registry = Registry::builder()
            .max_series_per_family(5_000)
            .build()
            .unwrap();
        for number in 0..count {
            let number = format!("{number:05}");
            registry.gauge("g", &[("k", &number)]).unwrap();
        }
        let series = registry.family_snapshot("g").unwrap().series;
        let found = series
            .iter()
            .map(|series| series.label("k").unwrap().parse::<usize>());
        assert!(found.map(Result::unwrap).eq(0..count), "{count}");
    }
}
