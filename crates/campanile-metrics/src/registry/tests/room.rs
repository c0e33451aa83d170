//! What happens at a cap, and what makes room again.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, with_local_recorder};

use super::*;

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
    let registry = Registry::builder().max_series(2).build().unwrap();
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
            max_series: 2
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
            .contains("campanile_registry_rejected_total 1\n")
    );
}

#[test]
fn the_registrys_own_counters_know_no_cap() {
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
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
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
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
fn descriptions_have_a_cap() {
    let registry = Registry::new();
    for number in 0..10_001 {
        registry.describe(&format!("m{number}"), "A metric.");
    }
    assert!(
        registry
            .render()
            .contains("campanile_registry_rejected_total 1\n")
    );
}

#[test]
fn what_is_turned_away_most_often_can_be_read() {
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
    registry.counter("a_total", &[("k", "first")]).unwrap();
    assert_eq!(registry.top_overflow("a_total"), []);
    for (value, times) in [("x", 3), ("y", 5), ("z", 1)] {
        for _ in 0..times {
            registry.counter("a_total", &[("k", value)]).unwrap();
        }
    }
    let expected = [(r#"k="y""#, 5), (r#"k="x""#, 3), (r#"k="z""#, 1)];
    let expected = expected.map(|(labels, times)| (labels.to_owned(), times));
    assert_eq!(registry.top_overflow("a_total"), expected);
    assert_eq!(registry.top_overflow("nothing"), []);
}

#[test]
fn an_idle_series_goes_and_a_handle_is_never_orphaned() {
    let registry = Registry::builder()
        .idle_timeout(Duration::from_secs(60))
        .max_series_per_family(2)
        .build()
        .unwrap();
    let sweep = |elapsed| registry.sweep(registry.0.created_at + Duration::from_secs(elapsed));
    let held = registry.counter("a_total", &[("k", "held")]).unwrap();
    let dynamic = |value: String| {
        with_local_recorder(&registry, || counter!("a_total", "k" => value).increment(1));
    };
    dynamic("idle".to_owned());
    let series = || {
        registry
            .family_snapshot("a_total")
            .map_or(0, |family| family.series.len())
    };
    for (elapsed, expected) in [(59, 2), (61, 2), (119, 2), (121, 1), (600, 1)] {
        sweep(elapsed);
        assert_eq!(series(), expected, "{elapsed}");
    }
    held.increment(7);
    assert_eq!(
        registry.get("a_total", &[("k", "held")]),
        Some(Value::Counter(7))
    );
    // There is room again, and what comes back begins anew.
    dynamic("idle".to_owned());
    assert_eq!(
        registry.get("a_total", &[("k", "idle")]),
        Some(Value::Counter(1))
    );
    for elapsed in [660, 720, 780] {
        dynamic("idle".to_owned());
        sweep(elapsed);
        assert_eq!(series(), 2, "{elapsed}");
    }
    drop(held);
    sweep(2_000);
    sweep(2_100);
    assert_eq!(series(), 0);
    assert_eq!(registry.render(), "");
}

#[test]
fn sweeps_that_are_late_take_nothing_that_is_in_use() {
    let timeout = Duration::from_secs(2);
    let registry = Registry::builder().idle_timeout(timeout).build().unwrap();
    let record = || {
        with_local_recorder(&registry, || {
            counter!("a_total", "k" => "v".to_owned()).increment(1);
        });
    };
    for sweep in 1..10 {
        record();
        registry.sweep(registry.0.created_at + Duration::from_secs(sweep * 60));
    }
    assert_eq!(
        registry.get("a_total", &[("k", "v")]),
        Some(Value::Counter(9))
    );
}

#[test]
fn names_that_are_no_longer_in_use_are_forgotten() {
    let timeout = Duration::from_secs(1);
    let registry = Registry::builder()
        .idle_timeout(timeout)
        .max_series(100)
        .build()
        .unwrap();
    let clock = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (registry, clock) = (&registry, &clock);
            scope.spawn(move || {
                for job in 0..500 {
                    let name = format!("job_{thread}_{job}_total");
                    with_local_recorder(registry, || {
                        counter!(name.clone()).increment(1);
                        counter!("all_total", "thread" => thread.to_string()).increment(1);
                        counter!("shared_total").increment(1);
                    });
                    let now = clock.fetch_add(2, Ordering::Relaxed);
                    registry.sweep(registry.0.created_at + Duration::from_secs(now));
                }
            });
        }
    });
    assert!(
        registry.snapshot().families.len() < 20,
        "{}",
        registry.render()
    );
    // What has a handle was never reset.
    assert_eq!(
        registry.get("shared_total", &[]),
        Some(Value::Counter(1_000))
    );
    registry.gauge("job_0_0", &[]).unwrap();
}

#[test]
fn an_overflow_is_logged_once_and_can_be_read_without_a_page() {
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
    for value in ["1", "2", "3"] {
        registry.counter("a_total", &[("k", value)]).unwrap();
    }
    let own = "campanile_registry_overflow_total";
    assert_eq!(
        registry.get(own, &[("family", "a_total")]),
        Some(Value::Counter(2))
    );
    assert_eq!(registry.family_snapshot(own).unwrap().series.len(), 1);
}

#[test]
fn a_value_that_is_cut_to_nothing_is_none() {
    let registry = Registry::builder()
        .max_label_value_bytes(3)
        .build()
        .unwrap();
    registry.gauge("g", &[("k", "\u{1f514}")]).unwrap().set(1.0);
    assert_eq!(registry.get("g", &[]), Some(Value::Gauge(1.0)));
    assert_eq!(registry.render().matches("g 1\n").count(), 1);
}

#[test]
fn past_the_cap_a_gauge_shows_nothing_and_is_turned_away() {
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
    for (queue, depth) in [("a", 1.0), ("b", 99.0), ("c", 3.0)] {
        let gauge = registry.gauge("queue_depth", &[("queue", queue)]).unwrap();
        gauge.set(depth);
        assert_eq!(gauge.value(), depth);
    }
    with_local_recorder(&registry, || gauge!("queue_depth", "queue" => "b").set(7.0));
    let family = registry.family_snapshot("queue_depth").unwrap();
    let values: Vec<_> = family.series.iter().map(|series| &series.value).collect();
    assert_eq!(values, [&Value::Gauge(1.0)]);
    let labels = [("family", "queue_depth")];
    let overflow = registry.get("campanile_registry_overflow_total", &labels);
    assert_eq!(overflow, Some(Value::Counter(3)));
    let (most, count) = registry.top_overflow("queue_depth").remove(0);
    assert_eq!((most.as_str(), count), (r#"queue="b""#, 2));
    let budget = registry.cardinality();
    let budget = budget.iter().find(|one| &*one.name == "queue_depth");
    assert_eq!(budget.unwrap().max_series, 1);
}

#[test]
fn past_the_cap_absolute_values_are_not_published_and_increments_are_summed() {
    let registry = Registry::builder()
        .max_series_per_family(1)
        .build()
        .unwrap();
    let second = Duration::from_secs(1);
    for (topic, seen) in [("a", 5), ("b", 70), ("c", 20)] {
        let labels = [("topic", topic)];
        let counter = registry.counter("seen_total", &labels).unwrap();
        counter.absolute(seen);
        counter.increment(1);
        let time = registry
            .time_counter("busy_seconds_total", &labels)
            .unwrap();
        time.absolute(second * 9);
        time.increment(second);
        with_local_recorder(&registry, || {
            let topic = topic.to_owned();
            counter!("read_total", "topic" => topic).absolute(seen);
        });
    }
    let get = |name, topic| registry.get(name, &[("topic", topic)]);
    assert_eq!(get("seen_total", "a"), Some(Value::Counter(6)));
    assert_eq!(get("seen_total", "_other_"), Some(Value::Counter(2)));
    let time = Some(Value::TimeCounter(2 * second));
    assert_eq!(get("busy_seconds_total", "_other_"), time);
    assert_eq!(get("read_total", "a"), Some(Value::Counter(5)));
    assert_eq!(get("read_total", "_other_"), Some(Value::Counter(0)));
}

/// A registry with little room, of which a sweep removes what was idle for a second.
fn small(max_series_per_family: usize) -> Registry {
    Registry::builder()
        .max_series_per_family(max_series_per_family)
        .idle_timeout(Duration::from_secs(1))
        .build()
        .unwrap()
}

/// Removes the series that are not in use now.
fn sweep_twice(registry: &Registry, seconds: u64) {
    for seconds in [seconds, seconds + 10] {
        registry.sweep(registry.0.created_at + Duration::from_secs(seconds));
    }
}

#[test]
fn a_family_finds_a_series_of_its_own_once_there_is_room() {
    #[derive(Clone, Copy)]
    struct Web;

    impl crate::Labels for Web {
        const LABELS: &'static [(&'static str, Option<&'static [&'static str]>)] =
            &[("channel", Some(&["web"]))];

        fn index(&self) -> usize {
            0
        }

        fn values(&self) -> Vec<Cow<'_, str>> {
            vec!["web".into()]
        }
    }

    let registry = small(2);
    let open = registry.family::<Web, Gauge>("open").unwrap();
    for name in ["open", "done_total"] {
        for old in ["x", "y"] {
            let labels = [("channel", old)];
            match name {
                "open" => drop(registry.gauge(name, &labels).unwrap()),
                _ => drop(registry.counter(name, &labels).unwrap()),
            }
        }
    }
    // A counter's family takes its series when it is registered, and finds no room.
    let done = registry.family::<Web, Counter>("done_total").unwrap();
    open.with(Web).set(5.0);
    done.with(Web).increment(1);
    sweep_twice(&registry, 10);
    open.with(Web).set(7.0);
    done.with(Web).increment(1);
    let web = [("channel", "web")];
    assert_eq!(registry.get("open", &web), Some(Value::Gauge(7.0)));
    assert_eq!(registry.get("done_total", &web), Some(Value::Counter(1)));
}

#[test]
fn the_overflow_series_takes_no_place() {
    let registry = small(2);
    registry.counter("a_total", &[("k", "a")]).unwrap();
    let get = |value| registry.counter("a_total", &[("k", value)]).unwrap();
    let _held = ["b", "c"].map(get);
    sweep_twice(&registry, 10);
    get("d").increment(1);
    let value = |value| registry.get("a_total", &[("k", value)]);
    assert_eq!(value("d"), Some(Value::Counter(1)));
    get("e").increment(1);
    assert_eq!(value("e"), None);
}

#[test]
fn overflows_are_counted_on_after_a_family_was_gone() {
    let registry = small(1);
    let fill = |count: u32| {
        for value in 0..count {
            let value = value.to_string();
            registry.counter("a_total", &[("k", &value)]).unwrap();
        }
    };
    fill(11);
    registry.render();
    sweep_twice(&registry, 10);
    assert!(registry.family_snapshot("a_total").is_none());
    fill(6);
    let overflow = registry.get(
        "campanile_registry_overflow_total",
        &[("family", "a_total")],
    );
    assert_eq!(overflow, Some(Value::Counter(15)));
    // Names that are made at run time don't add up.
    for job in 0..3_000_u64 {
        let name = format!("job_{job}_total");
        for value in ["1", "2"] {
            registry.counter(&name, &[("k", value)]).unwrap();
        }
        sweep_twice(&registry, 100 + job * 100);
    }
    let names = registry.0.overflowing.lock().unwrap().len();
    assert!(names <= 1_000, "{names}");
}

#[cfg(feature = "business")]
#[test]
fn forgotten_gauges_leave_nothing() {
    let registry = Registry::new();
    for number in 0..100 {
        let name = format!("business_s_key_{number}");
        registry.describe(&name, "A figure.");
        let gauge = registry.gauge(&name, &[]).unwrap();
        gauge.set(1.0);
        drop(gauge);
        registry.forget(&name, "");
    }
    assert!(registry.0.declared.read().unwrap().removed.is_empty());
}
