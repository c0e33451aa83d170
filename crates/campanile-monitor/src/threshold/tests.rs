use std::time::SystemTime;

use super::*;

fn registry() -> Registry {
    let legacy = "# TYPE legacy_jobs counter\nlegacy_jobs{queue=\"mail\"} 9\nlegacy_jobs{queue=\"sms\"} 2\n\
         # TYPE legacy_seconds summary\nlegacy_seconds_sum 4.5\nlegacy_seconds_count 3\n";
    let registry = Registry::builder()
        .buckets(&[1.0])
        .beside(move |out: &mut dyn std::io::Write| out.write_all(legacy.as_bytes()))
        .build()
        .unwrap();
    for (queue, size) in [
        ("orders", 20_000.0),
        ("mail", 3.0),
        ("a \"b\"} > 1", 7.0),
        ("nan", f64::NAN),
    ] {
        registry
            .gauge("queue_size", &[("queue", queue)])
            .unwrap()
            .set(size);
    }
    registry.counter("jobs_total", &[]).unwrap().increment(12);
    let times = registry
        .histogram("times_seconds", &[("kind", "a")])
        .unwrap();
    times.record(0.5);
    times.record(4.0);
    registry
}

/// Evaluates an expression and returns its samples as PromQL shows them.
async fn evaluate(expr: &str) -> Result<Vec<String>, String> {
    let threshold = Threshold::new(registry());
    let prepared = threshold.prepare(expr).map_err(|error| error.to_string())?;
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    let mono = Instant::now();
    let now = Now {
        wall: SystemTime::UNIX_EPOCH,
        mono,
    };
    assert_eq!(prepared.look_back(), Duration::from_secs(60));
    assert_eq!(prepared.at(now).await.unwrap().history, Duration::ZERO);
    let answer = prepared.at(now + Duration::from_secs(7)).await.unwrap();
    assert_eq!(answer.history, Duration::from_secs(7));
    Ok(answer
        .samples
        .iter()
        .map(|sample| format!("{} {}", sample.labels, sample.value))
        .collect())
}

#[tokio::test]
async fn series_are_compared() {
    async fn check(expr: &str, expected: &[&str]) {
        assert_eq!(evaluate(expr).await.unwrap(), expected, "{expr}");
    }
    let (odd, mail, nan, orders) = (
        r#"{queue="a \"b\"} > 1"} 7"#,
        r#"{queue="mail"} 3"#,
        r#"{queue="nan"} NaN"#,
        r#"{queue="orders"} 20000"#,
    );
    check("queue_size > 10000", &[orders]).await;
    check("queue_size>=7", &[odd, orders]).await;
    check("  queue_size  <  7  ", &[mail]).await;
    check("queue_size <= 7", &[odd, mail]).await;
    check("queue_size == 3", &[mail]).await;
    check("queue_size != 3", &[odd, nan, orders]).await;
    check(r#"queue_size{queue="orders"} > 0"#, &[orders]).await;
    check(r#"queue_size{queue=~"ord.*|mail"} > 0"#, &[mail, orders]).await;
    check(
        r#"queue_size {queue!="orders", queue!="nan"} < +Inf"#,
        &[odd, mail],
    )
    .await;
    check(r#"queue_size{queue="a \"b\"} > 1"} > 1"#, &[odd]).await;
    check("queue_size{queue='a \"b\"} > 1'} > 1", &[odd]).await;
    check("queue_size{queue=`a \"b\"} > 1`} > 1", &[odd]).await;
    check("queue_size{queue='orders'} > 0", &[orders]).await;
    check("queue_size{queue=`orders`} > 0", &[orders]).await;
    check(r#"queue_size{queue="\x6frders"} > 0"#, &[orders]).await;
    check("queue_size{queue=~'m[a-i]+l'} > 0", &[mail]).await;
    check("queue_size{queue!='orders'} > 3", &[odd]).await;
    check("queue_size{} > 1e4", &[orders]).await;
    check("jobs_total > 11.5", &["{} 12"]).await;
    check("jobs_total > 12", &[]).await;
    check("times_seconds_count == 2", &[r#"{kind="a"} 2"#]).await;
    check("times_seconds_sum > 4", &[r#"{kind="a"} 4.5"#]).await;
    check("times_seconds > 0", &[]).await;
    check("none_such > 0", &[]).await;
    check("jobs_total_count > 0", &[]).await;
}

#[tokio::test]
async fn series_of_another_exporter_are_compared() {
    for (expr, expected) in [
        (r#"legacy_jobs{queue!="x"} > 5"#, r#"{queue="mail"} 9"#),
        (r#"legacy_jobs{queue="sms"} > 1"#, r#"{queue="sms"} 2"#),
        ("legacy_seconds_sum > 4", "{} 4.5"),
        ("legacy_seconds_count >= 3", "{} 3"),
    ] {
        assert_eq!(evaluate(expr).await.unwrap(), [expected], "{expr}");
    }
}

#[tokio::test]
async fn other_expressions_are_rejected() {
    for expr in [
        "",
        " ",
        "queue_size",
        "queue_size >",
        "> 1",
        "1 > 0",
        "1a > 0",
        "queue_size > x",
        "queue_size > 1 2",
        "queue_size >> 1",
        "queue_size = 1",
        "queue size > 1",
        "queue_size{ > 1",
        "queue_size{queue=\"} > 1",
        "rate(jobs_total[5m]) > 0",
        "queue_size > 1 or queue_size < 0",
        "queue_size > bool 1",
        &"x".repeat(9_000),
    ] {
        let error = evaluate(expr).await.unwrap_err();
        assert!(error.starts_with("expected a metric"), "{expr}: {error}");
    }
    for expr in [
        r#"queue_size{queue=~"("} > 1"#,
        "queue_size{1=2} > 1",
        "queue_size{queue=orders} > 1",
        r#"queue_size{queue="\."} > 1"#,
    ] {
        let error = evaluate(expr).await.unwrap_err();
        assert!(!error.starts_with("expected a metric"), "{expr}: {error}");
    }
}

/// Of too many series, those that matter are the ones furthest beyond the bound.
#[test]
fn low_values_are_the_worst_of_an_upper_bound() {
    let threshold = Threshold::new(Registry::new());
    for (expr, worse, better) in [
        ("free_bytes < 100", 1.0, 50.0),
        ("balance <= 0", -50.0, -1.0),
        ("queue_size > 100", 500.0, 101.0),
        ("temperature >= -10", 5.0, -10.0),
    ] {
        let prepared = threshold.prepare(expr).unwrap();
        assert!(prepared.rank(worse) > prepared.rank(better), "{expr}");
    }
}
