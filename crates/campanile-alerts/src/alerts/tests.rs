use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

use campanile_series::Sample;
use campanile_store::{BoxFuture, Entry, Memory, Record, Status, StoreError};
use tokio::task::JoinHandle;

use super::*;
use crate::{AlertsBuilder, Channel, ChannelError, Rule, Severity};

mod delivery;
mod overflow;
mod restart;

/// What is wrong, as a test says.
#[derive(Clone, Default)]
struct World {
    wrong: Arc<Mutex<String>>,
    store: Arc<Memory>,
    channel: Sink,
}

/// A channel that records notifications and fails on demand.
#[derive(Clone, Default)]
struct Sink {
    arrived: Arc<Mutex<Vec<Notification>>>,
    failures: Arc<Mutex<VecDeque<ChannelError>>>,
}

impl Channel for Sink {
    fn name(&self) -> &str {
        "sink"
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        Box::pin(async move {
            if let Some(failure) = self.failures.lock().unwrap().pop_front() {
                return Err(failure);
            }
            self.arrived.lock().unwrap().push(notification.clone());
            Ok(())
        })
    }
}

impl Sink {
    fn lines(&self) -> Vec<String> {
        let arrived = self.arrived.lock().unwrap();
        let line = |notification: &Notification| {
            format!(
                "{} {}",
                notification.event.as_str(),
                notification.labels.get("a").unwrap_or_default()
            )
        };
        arrived.iter().map(line).collect()
    }
}

impl World {
    /// One process with a rule that returns one sample per letter of `wrong`.
    fn alerts(&self, pending_for: u64, look_back: u64) -> Alerts {
        self.builder(pending_for, look_back).build().unwrap()
    }

    fn builder(&self, pending_for: u64, look_back: u64) -> AlertsBuilder {
        let wrong = Arc::clone(&self.wrong);
        let check = move |_: Now| -> Vec<Sample> {
            let wrong = wrong.lock().unwrap().clone();
            assert!(wrong != "panic", "as the test wants it");
            wrong
                .chars()
                .map(|name| Sample::new(labels(name), 1.0))
                .collect()
        };
        let rule = Rule::when("R", check)
            .pending_for(seconds(pending_for))
            .look_back(seconds(look_back))
            .severity(Severity::High);
        Alerts::builder()
            .rule(rule)
            .channel(self.channel.clone())
            .store(self.store.clone())
    }

    fn wrong(&self, names: &str) {
        *self.wrong.lock().unwrap() = names.to_owned();
    }

    async fn journal(&self) -> Vec<String> {
        let line = |entry: Entry| {
            let entry: serde_json::Value = serde_json::from_slice(&entry.payload).unwrap();
            format!(
                "{} {}",
                entry["event"].as_str().unwrap(),
                entry["labels"]["a"].as_str().unwrap_or_default()
            )
        };
        self.store
            .journal(0, 1_000)
            .await
            .unwrap()
            .into_iter()
            .map(line)
            .collect()
    }
}

fn labels(name: char) -> LabelSet {
    LabelSet::new([("a", name.to_string())]).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the start time is arbitrary")]
    let mono = Instant::now();
    Now {
        wall: UNIX_EPOCH + seconds(1_700_000_000),
        mono,
    }
}

fn run(alerts: &Alerts) -> JoinHandle<()> {
    let alerts = alerts.clone();
    tokio::spawn(async move { alerts.run(std::future::pending()).await })
}

/// Runs all tasks until they are idle, in paused time.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_has_one_id_from_pending_to_resolved() {
    let world = World::default();
    let alerts = world.alerts(10, 0);
    let running = run(&alerts);
    let start = start();
    world.wrong("x");
    alerts.tick(start).await;
    let id = alerts.active()[0].id();
    alerts.tick(start + seconds(10)).await;
    assert_eq!(alerts.active()[0].id(), id);
    world.wrong("");
    alerts.tick(start + seconds(20)).await;
    settle().await;
    let notifications = world.channel.arrived.lock().unwrap().clone();
    let keys: Vec<_> = notifications.iter().map(Notification::key).collect();
    assert_eq!(keys, [format!("{id}-firing"), format!("{id}-resolved")]);
    running.abort();
}

#[test]
fn an_empty_label_removes_the_samples_label() {
    let rule = Rule::when("R", |_| false).label("x", "");
    let rule = rule.check(None, &mut Vec::new()).unwrap();
    let sample = Sample::new(LabelSet::new([("x", "1"), ("y", "2")]).unwrap(), 1.0);
    let active = active_samples(&rule, vec![sample], &step::Alerts::new()).unwrap();
    let labels = active.alerts.into_keys().next().unwrap();
    assert_eq!((labels.get("x"), labels.get("y")), (None, Some("2")));
}

#[tokio::test(start_paused = true)]
async fn each_change_sends_one_notification() {
    let world = World::default();
    let alerts = world.alerts(10, 0);
    let running = run(&alerts);
    let start = start();
    for (second, wrong, expected) in [
        (0, "x", &[][..]),
        (5, "x", &[]),
        (10, "xy", &["firing x"]),
        (15, "xy", &["firing x"]),
        (20, "xy", &["firing x", "firing y"]),
        (25, "y", &["firing x", "firing y", "resolved x"]),
        (30, "yz", &["firing x", "firing y", "resolved x"]),
        (
            35,
            "",
            &["firing x", "firing y", "resolved x", "resolved y"],
        ),
        (
            40,
            "",
            &["firing x", "firing y", "resolved x", "resolved y"],
        ),
    ] {
        world.wrong(wrong);
        alerts.tick(start + seconds(second)).await;
        settle().await;
        assert_eq!(world.channel.lines(), expected, "second {second}");
    }
    let first = world.channel.arrived.lock().unwrap()[0].clone();
    assert_eq!(
        (first.rule.as_str(), first.severity, first.starts_at),
        ("R", Severity::High, start.wall + seconds(10))
    );
    assert_eq!(
        first.labels.to_string(),
        r#"{a="x", alertname="R", severity="high"}"#
    );
    let resolved = world.channel.arrived.lock().unwrap()[2].clone();
    assert_eq!(
        (resolved.starts_at, resolved.ends_at),
        (first.starts_at, Some(start.wall + seconds(25)))
    );
    assert_ne!(first.key(), resolved.key());
    let journal = [
        "pending x",
        "firing x",
        "pending y",
        "sent x",
        "firing y",
        "sent y",
        "resolved x",
        "sent x",
        "pending z",
        "resolved y",
        "dropped z",
        "sent y",
    ];
    assert_eq!(world.journal().await, journal);
    assert_eq!(world.store.scan(OUTBOX, None, 10).await.unwrap(), []);
    assert_eq!(world.store.scan(ALERTS, None, 10).await.unwrap(), []);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn active_lists_pending_and_firing_alerts() {
    let world = World::default();
    let alerts = world.alerts(10, 0);
    let start = start();
    world.wrong("xy");
    alerts.tick(start).await;
    world.wrong("x");
    alerts.tick(start + seconds(10)).await;
    world.wrong("xz");
    alerts.tick(start + seconds(15)).await;
    let shown: Vec<_> = alerts
        .active()
        .into_iter()
        .map(|alert| {
            (
                alert.labels.get("a").unwrap().to_owned(),
                alert.active_at,
                alert.starts_at,
            )
        })
        .collect();
    let expected = [
        ("x".to_owned(), start.wall, Some(start.wall + seconds(10))),
        ("z".to_owned(), start.wall + seconds(15), None),
    ];
    assert_eq!(shown, expected);
    let stats = alerts.stats();
    assert_eq!(
        (stats.firing, stats.pending, stats.channels[0].queued),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_evaluation_keeps_the_alerts() {
    let world = World::default();
    let alerts = world
        .builder(0, 0)
        .rule(Rule::when("Other", |_| true))
        .build()
        .unwrap();
    let start = start();
    world.wrong("x");
    alerts.tick(start).await;
    let error = |alerts: &Alerts| alerts.rules()[0].error.clone().unwrap_or_default();
    for (wrong, expected) in [
        ("panic", "evaluation panicked"),
        (
            "xx",
            r#"duplicate sample {a="x", alertname="R", severity="high"}"#,
        ),
    ] {
        world.wrong(wrong);
        alerts.tick(start + seconds(5)).await;
        assert_eq!(
            (error(&alerts).as_str(), alerts.active().len()),
            (expected, 2)
        );
        assert_eq!(alerts.rules()[1].error, None);
    }
    assert_eq!(alerts.stats().evaluation_failures, 2);
    world.wrong("x");
    alerts.tick(start + seconds(10)).await;
    assert_eq!(
        (error(&alerts).as_str(), alerts.rules()[0].evaluated_at),
        ("", Some(start.wall + seconds(10)))
    );
    assert_eq!(world.journal().await, ["firing x", "firing "]);
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_has_a_timeout() {
    struct Stuck;
    impl crate::PreparedExpr for Stuck {
        fn look_back(&self) -> Duration {
            Duration::ZERO
        }
        fn at(&self, _: Now) -> BoxFuture<'_, Result<crate::Evaluation, EvalError>> {
            Box::pin(std::future::pending())
        }
    }
    let alerts = Alerts::builder()
        .rule(Rule::prepared("Stuck", Arc::new(Stuck)))
        .build()
        .unwrap();
    alerts.tick(start()).await;
    assert_eq!(
        alerts.rules()[0].error.as_deref(),
        Some("evaluation timed out after 10s")
    );
}

#[test]
fn a_rules_labels_override_the_samples() {
    let rule = Rule::when("R", |_| {
        vec![Sample::new(
            LabelSet::new([("__name__", "up"), ("team", "a"), ("x", "1")]).unwrap(),
            2.0,
        )]
    });
    let rule = rule
        .label("team", "b")
        .check(None, &mut Vec::new())
        .unwrap();
    let sample = Sample::new(
        LabelSet::new([("__name__", "up"), ("team", "a"), ("x", "1")]).unwrap(),
        2.0,
    );
    let active = active_samples(&rule, vec![sample], &step::Alerts::new())
        .unwrap()
        .alerts;
    let labels: Vec<_> = active.keys().map(ToString::to_string).collect();
    assert_eq!(
        labels,
        [r#"{alertname="R", severity="medium", team="b", x="1"}"#]
    );
}

/// A store whose writes can be switched off, and whose next reads can fail.
struct Faulty {
    inner: Arc<Memory>,
    fails: AtomicBool,
    failing_reads: AtomicU64,
}

impl Faulty {
    fn new(inner: Arc<Memory>) -> Self {
        Self {
            inner,
            fails: AtomicBool::new(false),
            failing_reads: AtomicU64::new(0),
        }
    }
}

impl Store for Faulty {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.fails.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(StoreError::io("no space left"))));
        }
        self.inner.commit(batch)
    }

    fn get<'a>(
        &'a self,
        table: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.inner.get(table, key)
    }

    fn scan<'a>(
        &'a self,
        table: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>> {
        let left = self.failing_reads.load(Ordering::Relaxed);
        if left > 0 {
            self.failing_reads.store(left - 1, Ordering::Relaxed);
            return Box::pin(std::future::ready(Err(StoreError::Busy { queued: 1 })));
        }
        self.inner.scan(table, after, limit)
    }

    fn journal(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.inner.journal(after, limit)
    }

    fn status(&self) -> Status {
        self.inner.status()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_delays_no_notification_and_loses_no_change() {
    let world = World::default();
    let store = Arc::new(Faulty::new(Arc::default()));
    let alerts = world.builder(0, 0).store(store.clone()).build().unwrap();
    let running = run(&alerts);
    let start = start();
    alerts.tick(start).await;
    store.fails.store(true, Ordering::Relaxed);
    world.wrong("x");
    alerts.tick(start + seconds(5)).await;
    settle().await;
    assert_eq!(world.channel.lines(), ["firing x"]);
    assert_eq!(store.journal(0, 10).await.unwrap(), []);
    assert!(alerts.stats().store_failures > 0);
    store.fails.store(false, Ordering::Relaxed);
    // With the next write, whatever it is.
    world.wrong("xy");
    alerts.tick(start + seconds(10)).await;
    settle().await;
    let keys = async |table| -> Vec<_> {
        store
            .scan(table, None, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|record| record.key)
            .collect()
    };
    assert_eq!(keys(ALERTS).await.len(), 2);
    assert_eq!(keys(OUTBOX).await, Vec::<String>::new());
    assert_eq!(store.journal(0, 10).await.unwrap().len(), 4);
    running.abort();
}

/// `annotations_with` may call `active`, and its panic loses no alert.
#[tokio::test]
async fn annotations_are_rendered_for_each_alert() {
    let own: Arc<OnceLock<Alerts>> = Arc::default();
    let rule = {
        let own = Arc::clone(&own);
        Rule::when("Own", |_| Some(7.0))
            .summary("not this one")
            .annotations_with(move |labels, value| {
                let rules = own.get().map_or(0, |alerts| alerts.rules().len());
                let name = labels.get("alertname").unwrap_or_default();
                let text = format!("{name} is {value}, of {rules} rules");
                vec![
                    ("summary".to_owned(), text),
                    ("long".to_owned(), "ü".repeat(4_000)),
                ]
            })
    };
    let broken = Rule::when("Broken", |_| true)
        .summary("this one")
        .annotations_with(|_, _| panic!("no"));
    let builder = Alerts::builder().rule(rule).rule(broken);
    let alerts = builder.build().unwrap();
    own.set(alerts.clone()).unwrap();
    alerts.tick(start()).await;
    let active = alerts.active();
    let text = |number: usize, name: &str| active[number].annotations[name].as_str();
    assert_eq!(text(0, "summary"), "Own is 7, of 2 rules");
    assert_eq!(text(0, "long").len(), 4_096);
    assert_eq!(text(1, "summary"), "this one");
}
