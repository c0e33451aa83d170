use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::json;

use super::*;

fn business(registry: &Registry, collectors: Vec<BusinessCollector>) -> BusinessMetrics {
    let builder = collectors
        .into_iter()
        .fold(BusinessMetrics::builder(), |builder, collector| {
            builder.collector(collector)
        });
    builder.register(registry).unwrap()
}

fn body(business: &BusinessMetrics, errors: bool) -> Value {
    serde_json::from_str(business.respond(errors).body()).unwrap()
}

/// A collector that does what it is told at each call: values, or a failure.
fn script(
    section: &str,
    steps: &'static [fn() -> Result<Value, String>],
) -> (BusinessCollector, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let collector = BusinessCollector::new(section, move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match steps.get(call) {
                Some(step) => step(),
                None => std::future::pending().await,
            }
        }
    });
    (collector, calls)
}

/// Runs the collectors for a time, which is virtual.
async fn run_for(business: &BusinessMetrics, time: Duration) {
    business.run(tokio::time::sleep(time)).await;
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn values_stay_when_a_collection_fails_whatever_the_failure() {
    let registry = Registry::new();
    let (collector, calls) = script(
        "users",
        &[
            || Ok(json!({"active": 5})),
            || Err("connection refused by postgres://db".to_owned()),
            || panic!("on purpose"),
            || Ok(json!({"active": 9})),
        ],
    );
    let business = business(&registry, vec![collector.interval(60 * SECOND)]);
    let before = body(&business, true);
    let nothing = json!({"as_of": null, "error": null, "stale": true});
    assert_eq!(before["users"], nothing);
    assert!(before["timestamp"].as_str().unwrap().ends_with('Z'));

    let states = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            tokio::time::sleep(30 * SECOND).await;
            let users = body(&business, true)["users"].clone();
            seen.push((users["active"].clone(), users["error"].clone()));
            tokio::time::sleep(30 * SECOND).await;
        }
        seen
    };
    let run = business.run(std::future::pending());
    let seen = tokio::select! { seen = states => seen, () = run => unreachable!() };
    assert_eq!(
        seen,
        [
            (json!(5), json!(null)),
            (json!(5), json!("connection refused by postgres://db")),
            (json!(5), json!("panicked")),
            (json!(9), json!(null)),
            (json!(9), json!("timed out")),
        ]
    );
    assert_eq!(calls.load(Ordering::Relaxed), 5);
    // The last values are from 180 s on, and the run has ended.
    assert_eq!(body(&business, true)["users"]["stale"], false);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(body(&business, true)["users"]["stale"], false);
    tokio::time::advance(15 * SECOND).await;
    assert_eq!(body(&business, true)["users"]["stale"], true);
    assert!(registry.render().contains("business_users_active 9\n"));
    for (outcome, count) in [("ok", 2), ("error", 1), ("timeout", 1), ("panicked", 1)] {
        let labels = [("section", "users"), ("outcome", outcome)];
        let value = registry.get(COLLECTIONS, &labels);
        assert_eq!(value, Some(crate::Value::Counter(count)), "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_errors_text_is_shown_only_if_asked_for() {
    let (collector, _) = script("a", &[|| Err("the secret".to_owned())]);
    let business = business(&Registry::new(), vec![collector]);
    run_for(&business, SECOND).await;
    assert_eq!(body(&business, true)["a"]["error"], "the secret");
    assert_eq!(body(&business, false)["a"]["error"], "failed");
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_dropped_before_the_next_begins() {
    /// Counts what is in progress.
    struct Going(Arc<AtomicUsize>);

    impl Drop for Going {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    let going = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let collector = {
        let (going, most, calls) = (Arc::clone(&going), Arc::clone(&most), Arc::clone(&calls));
        BusinessCollector::new("slow", move || {
            let (going, most, calls) = (Arc::clone(&going), Arc::clone(&most), Arc::clone(&calls));
            async move {
                calls.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(going.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let _going = Going(going);
                std::future::pending::<Result<Value, String>>().await
            }
        })
    };
    let collector = collector.interval(SECOND).timeout(5 * SECOND);
    let business = business(&Registry::new(), vec![collector]);
    // A second run only waits.
    tokio::join!(
        run_for(&business, 21 * SECOND),
        run_for(&business, 21 * SECOND)
    );
    assert_eq!(most.load(Ordering::Relaxed), 1);
    assert!(
        (3..=5).contains(&calls.load(Ordering::Relaxed)),
        "{calls:?}"
    );
    // What was in progress ended with the run.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(going.load(Ordering::Relaxed), 0);
    assert_eq!(body(&business, false)["slow"]["error"], "timed out");
}

#[tokio::test(start_paused = true)]
async fn values_that_do_not_fit_are_errors() {
    let (list, _) = script("list", &[|| Ok(json!([1]))]);
    let (own, _) = script("own", &[|| Ok(json!({"stale": 1}))]);
    let (long, _) = script("long", &[|| Ok(json!({"text": "x".repeat(100_000)}))]);
    let (many, _) = script(
        "many",
        &[|| {
            let numbers = (0..1_001).map(|number| (number.to_string(), json!({ "n": number })));
            Ok(Value::Object(numbers.collect()))
        }],
    );
    let (exact, _) = script(
        "exact",
        &[|| Ok(json!({"wei": u64::MAX, "low": i64::MIN, "all": [1_u64 << 53, 0.5]}))],
    );
    let business = business(&Registry::new(), vec![list, own, long, many, exact]);
    run_for(&business, SECOND).await;
    let body = body(&business, true);
    for (section, text) in [
        ("list", "expected a struct or a map"),
        ("own", "invalid value name \"stale\""),
        ("long", "at most 65536"),
        ("many", "at most 1000"),
    ] {
        let error = body[section]["error"].as_str().unwrap();
        assert!(error.contains(text), "{error}");
    }
    let exact = &body["exact"];
    assert_eq!(exact["wei"], "18446744073709551615");
    assert_eq!(exact["low"], "-9223372036854775808");
    assert_eq!(exact["all"], json!([9_007_199_254_740_992_u64, 0.5]));
}

#[test]
fn a_call_that_outlives_its_run_is_never_beside_the_next() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let [calls, going, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let collector = BusinessCollector::new("users", {
        let (calls, going, most) = (Arc::clone(&calls), Arc::clone(&going), Arc::clone(&most));
        move || {
            let (calls, going, most) = (Arc::clone(&calls), Arc::clone(&going), Arc::clone(&most));
            async move {
                let beside = going.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(beside, Ordering::SeqCst);
                calls.fetch_add(1, Ordering::SeqCst);
                // It blocks its thread, as a driver that is not asynchronous does.
                std::thread::sleep(Duration::from_millis(100));
                going.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(json!({"active": 1}))
            }
        }
    });
    let business = business(&Registry::new(), vec![collector]);
    runtime.block_on(async {
        for number in 1..=2 {
            let called = async {
                while calls.load(Ordering::SeqCst) < number {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let run = business.run(called);
            tokio::time::timeout(10 * SECOND, run).await.unwrap();
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn the_error_lists_all_problems() {
    let collector = |section: &str| script(section, &[]).0;
    let error = BusinessMetrics::builder()
        .collector(collector("users"))
        .collector(collector("users").interval(Duration::ZERO))
        .collector(collector("A b").timeout(Duration::ZERO))
        .collector(collector("timestamp").interval(Duration::MAX))
        .collector(collector("users_eu"))
        .register(&Registry::new())
        .unwrap_err();
    let form = "expected 1 to 64 characters of [a-z0-9_], a letter first, not `timestamp`, and no `_total` at the end";
    let overlap = "invalid section name \"users_eu\": expected no common prefix with \"users\", their gauges could have the same names";
    let expected = [
        "duplicate section \"users\": expected one collector per section",
        "invalid interval 0ns of the section \"users\": expected 1 ms to 30 days",
        &format!("invalid section name \"A b\": {form}"),
        "invalid timeout 0ns of the section \"A b\": expected 1 ms to 30 days",
        &format!("invalid section name \"timestamp\": {form}"),
        "invalid interval 18446744073709551615.999999999s of the section \"timestamp\": expected 1 ms to 30 days",
        overlap,
        overlap,
    ];
    assert_eq!(error.to_string(), expected.join("; "));
    assert_eq!(error.problems().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn the_last_success_does_not_expire_while_collections_fail() {
    let registry = Registry::builder()
        .idle_timeout(60 * SECOND)
        .build()
        .unwrap();
    let begun = section::now();
    let (collector, _) = script(
        "users",
        &[
            || Ok(json!({"active": 5})),
            || Err("the database is gone".to_owned()),
            || Err("the database is gone".to_owned()),
        ],
    );
    let business = business(&registry, vec![collector.interval(10 * SECOND)]);
    run_for(&business, 25 * SECOND).await;
    for minute in 1..5 {
        registry.sweep((begun + minute * 61 * SECOND).into());
    }
    let name = "campanile_business_last_success_timestamp_seconds";
    assert!(
        registry.family_snapshot(name).is_some(),
        "{}",
        registry.render()
    );
}
