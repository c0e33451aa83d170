use campanile_alerts::{BoxFuture, Channel, ChannelError, Notification, Rule};
use campanile_health::Health;
use campanile_metrics::{Registry, Value};
use campanile_series::Now;
use campanile_sla::{ServiceLevels, Slo};
use campanile_store::Memory;
use tokio::time::sleep;

use super::*;
use crate::gate::Gate;
use crate::{MonitorBuilder, Problem};

#[derive(Clone, Default)]
struct Sink(Arc<std::sync::Mutex<Vec<String>>>);

impl Channel for Sink {
    fn name(&self) -> &str {
        "sink"
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        self.0.lock().unwrap().push(format!(
            "{} {}",
            notification.event.as_str(),
            notification.rule
        ));
        Box::pin(std::future::ready(Ok(())))
    }
}

fn sources() -> Sources {
    let sla = ServiceLevels::builder()
        .slo(Slo::availability("availability", "99.9%"))
        .build_at(Now::system())
        .unwrap();
    Sources::new(Registry::new(), Health::builder().build().unwrap(), sla)
}

#[tokio::test(start_paused = true)]
async fn a_run_evaluates_tells_and_publishes() {
    let sources = sources();
    let sink = Sink::default();
    let queue = sources.metrics().gauge("queue_size", &[]).unwrap();
    let monitor = Monitor::builder(sources.clone())
        .rule(Rule::expr("Backlog", "queue_size > 10"))
        .rule(Rule::when("Broken", |_| -> bool {
            panic!("as the test wants it")
        }))
        .channel(sink.clone())
        .build()
        .unwrap();
    let running = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.run(std::future::pending()).await }
    });
    sleep(Duration::from_secs(2)).await;
    queue.set(11.0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*sink.0.lock().unwrap(), ["firing Backlog"]);
    queue.set(1.0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        *sink.0.lock().unwrap(),
        ["firing Backlog", "resolved Backlog"]
    );
    let value = |name, labels: &[(&str, &str)]| sources.metrics().get(name, labels);
    assert_eq!(
        value("campanile_rule_evaluations_total", &[]),
        Some(Value::Counter(3))
    );
    assert_eq!(
        value("campanile_rule_evaluation_failures_total", &[]),
        Some(Value::Counter(3))
    );
    assert_eq!(
        value("campanile_store_durable", &[]),
        Some(Value::Gauge(0.0))
    );
    assert_eq!(value("campanile_store_up", &[]), Some(Value::Gauge(1.0)));
    let sent = [("channel", "sink"), ("outcome", "sent")];
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        value("campanile_notifications_total", &sent),
        Some(Value::Counter(2))
    );
    running.abort();
}

/// Two servers of one handle run one monitor.
#[tokio::test(start_paused = true)]
async fn a_second_run_takes_over_when_the_first_ends() {
    let (sources, sink) = (sources(), Sink::default());
    let depth = sources.metrics().gauge("queue_size", &[]).unwrap();
    depth.set(20.0);
    let monitor = Monitor::builder(sources.clone())
        .rule(Rule::expr("Backlog", "queue_size > 10"))
        .channel(sink.clone())
        .build()
        .unwrap();
    let start = |life| {
        let monitor = monitor.clone();
        tokio::spawn(async move { monitor.run(sleep(Duration::from_secs(life))).await })
    };
    let first = start(21);
    let second = start(43);
    let stopped = start(1);
    sleep(Duration::from_secs(2)).await;
    assert!(stopped.is_finished());
    sleep(Duration::from_secs(18)).await;
    let ticks = || {
        sources
            .metrics()
            .get("campanile_rule_evaluations_total", &[])
    };
    // At 0, 5, 10 and 15 s, and maybe at 20 s.
    assert!(
        matches!(ticks(), Some(Value::Counter(4..=5))),
        "{:?}",
        ticks()
    );
    assert_eq!(*sink.0.lock().unwrap(), ["firing Backlog"]);
    first.await.unwrap();
    depth.set(0.0);
    second.await.unwrap();
    assert_eq!(
        *sink.0.lock().unwrap(),
        ["firing Backlog", "resolved Backlog"]
    );
}

#[tokio::test(start_paused = true)]
async fn counts_are_written_down_and_taken_up() {
    let store = Arc::new(Memory::new());
    let start = |sources: &Sources, life: u64| {
        let monitor = Monitor::builder(sources.clone())
            .store(store.clone())
            .build()
            .unwrap();
        tokio::spawn(async move { monitor.run(sleep(Duration::from_secs(life))).await })
    };
    let record = |sources: &Sources| {
        sources
            .sla()
            .record_at(false, Duration::ZERO, Now::system().mono)
    };
    let bad = |sources: &Sources| {
        sources
            .sla()
            .counts_at(Duration::from_secs(3_600), Now::system())
            .bad()
    };

    let first = sources();
    record(&first);
    start(&first, 3).await.unwrap();
    let second = sources();
    let running = start(&second, 1_000);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bad(&second), 1);
    record(&second);
    running.abort();
    // What was not written is lost with a process that is killed.
    let third = sources();
    start(&third, 1).await.unwrap();
    assert_eq!(bad(&third), 1);
}

#[test]
fn build_reports_all_problems() {
    let (token, _) = crate::Token::generate("ada", crate::Role::Admin).unwrap();
    let error = Monitor::builder(sources())
        .rule(Rule::expr("Backlog", "queue_size"))
        .token(token.clone())
        .token(token)
        .evaluation_interval(Duration::ZERO)
        .build()
        .unwrap_err();
    let problems = error.problems();
    assert!(
        matches!(
            problems,
            [
                Problem::Alerts(_),
                Problem::DuplicateToken { .. },
                Problem::EvaluationInterval { .. }
            ]
        ),
        "{error}"
    );
}

#[test]
fn two_tokens_have_two_secrets() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let token = |token: &str| format!("{token}:{digest}").parse().unwrap();
    let tokens = [token("a:viewer"), token("b:admin")];
    let builder = tokens.into_iter();
    let builder = builder.fold(Monitor::builder(sources()), MonitorBuilder::token);
    let error = builder.build().unwrap_err();
    let expected = Problem::SameSecret {
        token: "a".to_owned(),
        other: "b".to_owned(),
    };
    assert_eq!(error.problems(), [expected]);
}

#[test]
fn types_can_be_shared() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(
        Monitor,
        Sources,
        crate::Token,
        crate::BuildError,
        crate::Route,
        crate::Threshold,
    )>();
}

/// Counts are written every 10 s, at any evaluation interval.
#[tokio::test(start_paused = true)]
async fn counts_are_written_at_any_evaluation_interval() {
    let store = Arc::new(Memory::new());
    let build = |sources: &Sources| {
        let builder = Monitor::builder(sources.clone()).store(store.clone());
        builder
            .evaluation_interval(Duration::from_secs(3_600))
            .build()
            .unwrap()
    };
    let first = sources();
    let monitor = build(&first);
    let running = tokio::spawn(monitor.run(std::future::pending()));
    sleep(Duration::from_secs(1)).await;
    first
        .sla()
        .record_at(false, Duration::ZERO, Now::system().mono);
    sleep(Duration::from_secs(10)).await;
    // It is killed.
    running.abort();
    let second = sources();
    build(&second).run(std::future::ready(())).await;
    assert_eq!(
        second
            .sla()
            .counts_at(Duration::from_secs(3_600), Now::system())
            .bad(),
        1
    );
}

#[test]
fn ignored_variables_are_in_the_detailed_health() {
    let warning = "CAMPANILE_STORE: the file is locked".to_owned();
    let monitor = Monitor::builder(sources()).env_warnings([warning]);
    let monitor = monitor.build().unwrap();
    let notes = |errors| format!("{:?}", monitor.notes(errors));
    assert!(
        notes(true).contains("the file is locked"),
        "{}",
        notes(true)
    );
    let number = r#"("env_warnings", Integer(1))"#;
    assert!(notes(false).contains(number), "{}", notes(false));
}

#[tokio::test(start_paused = true)]
async fn each_failed_write_is_counted() {
    let sources = sources();
    let store = Arc::new(Gate::new());
    store.set(true, false);
    let monitor = Monitor::builder(sources.clone()).store(store);
    let monitor = monitor.build().unwrap();
    monitor.run(sleep(Duration::from_secs(36))).await;
    let value = |name, writer| sources.metrics().get(name, &[("writer", writer)]);
    let failures = value("campanile_store_errors_total", "sla");
    assert!(
        matches!(failures, Some(Value::Counter(3..))),
        "{failures:?}"
    );
    for (name, writer) in [
        ("campanile_store_errors_total", "alerts"),
        ("campanile_store_dropped_total", "alerts"),
        ("campanile_store_dropped_total", "sla"),
    ] {
        assert!(
            matches!(value(name, writer), Some(Value::Counter(0))),
            "{name} {writer}"
        );
    }
    let skipped = sources
        .metrics()
        .get("campanile_restore_skipped_total", &[]);
    assert!(matches!(skipped, Some(Value::Counter(0))), "{skipped:?}");
}
