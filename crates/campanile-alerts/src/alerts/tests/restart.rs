use super::*;

/// A process that is killed, and one that takes up its store.
struct Restart {
    world: World,
    pending_for: u64,
    look_back: u64,
    alerts: Alerts,
    running: JoinHandle<()>,
}

impl Restart {
    fn new(pending_for: u64, look_back: u64) -> Self {
        let world = World::default();
        let alerts = world.alerts(pending_for, look_back);
        let running = run(&alerts);
        Self {
            world,
            pending_for,
            look_back,
            alerts,
            running,
        }
    }

    fn restart(&mut self) {
        self.running.abort();
        self.alerts = self.world.alerts(self.pending_for, self.look_back);
        self.running = run(&self.alerts);
    }

    /// Ticks every 5 s for `time` with the alerts of `wrong`, and returns the end time.
    async fn pass(&self, from: Now, time: u64, wrong: &str) -> Now {
        self.world.wrong(wrong);
        for second in (0..time).step_by(5) {
            self.alerts.tick(from + seconds(second)).await;
            settle().await;
        }
        from + seconds(time)
    }

    fn lines(&self) -> Vec<String> {
        self.world.channel.lines()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_a_firing_alert() {
    for away in [1, 30, 120, 7_200] {
        let mut process = Restart::new(60, 60);
        let now = process.pass(start(), 100, "x").await;
        assert_eq!(process.lines(), ["firing x"]);
        let starts_at = process.alerts.active()[0].starts_at;
        process.restart();
        // It finds nothing until it has seen enough.
        let now = process.pass(now + seconds(away), 60, "").await;
        let active = process.alerts.active();
        assert_eq!(
            (active[0].starts_at, active[0].awaiting_history),
            (starts_at, true),
            "{away} s"
        );
        // It is found again: the same alert.
        let now = process.pass(now, 60, "x").await;
        let active = process.alerts.active();
        assert_eq!(
            (active[0].starts_at, active[0].awaiting_history),
            (starts_at, false),
            "{away} s"
        );
        assert_eq!(process.lines(), ["firing x"], "{away} s");
        process.pass(now, 5, "").await;
        assert_eq!(process.lines(), ["firing x", "resolved x"], "{away} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_ended_during_the_restart_resolves_once() {
    for away in [1, 30, 120, 7_200] {
        let mut process = Restart::new(60, 60);
        let now = process.pass(start(), 100, "x").await;
        process.restart();
        let now = process.pass(now + seconds(away), 65, "").await;
        assert_eq!(process.lines(), ["firing x", "resolved x"], "{away} s");
        process.restart();
        process.pass(now, 100, "").await;
        assert_eq!(process.lines(), ["firing x", "resolved x"], "{away} s");
    }
}

/// Time without evaluations doesn't count. The time before it does, up to the heartbeat's 10 s.
#[tokio::test(start_paused = true)]
async fn a_restored_alert_keeps_its_pending_time() {
    for (away, fires_after) in [
        (1, 20..=30),
        (30, 20..=30),
        (120, 20..=30),
        (7_200, 60..=60),
    ] {
        let mut process = Restart::new(60, 60);
        let mut now = process.pass(start(), 40, "x").await;
        process.restart();
        now = now + seconds(away);
        let mut waited = 0;
        while process.lines().is_empty() {
            now = process.pass(now, 5, "x").await;
            waited += 5;
            assert!(waited < 1_000, "it never fires");
        }
        // The last tick is at the end of the time.
        assert!(
            fires_after.contains(&(waited - 5)),
            "away {away} s: {} s",
            waited - 5
        );
    }
}

#[tokio::test(start_paused = true)]
async fn queued_notifications_are_sent_after_a_restart() {
    let mut process = Restart::new(0, 0);
    process.running.abort();
    let now = process.pass(start(), 5, "x").await;
    let now = process.pass(now, 5, "xy").await;
    process.pass(now, 5, "y").await;
    assert_eq!(process.lines(), Vec::<String>::new());
    let world = process.world.clone();
    process.restart();
    process.pass(now, 5, "y").await;
    assert_eq!(process.lines(), ["firing x", "firing y", "resolved x"]);
    assert_eq!(world.store.scan(OUTBOX, None, 10).await.unwrap(), []);
    // Numbers are not used again before.
    process.pass(now, 5, "").await;
    assert_eq!(
        process.lines(),
        ["firing x", "firing y", "resolved x", "resolved y"]
    );
}

#[tokio::test(start_paused = true)]
async fn alerts_of_a_removed_rule_resolve() {
    let mut process = Restart::new(0, 60);
    let now = process.pass(start(), 5, "x").await;
    process.running.abort();
    let channel = process.world.channel.clone();
    process.alerts = Alerts::builder()
        .channel(channel)
        .store(process.world.store.clone())
        .build()
        .unwrap();
    process.running = run(&process.alerts);
    process.pass(now, 5, "").await;
    assert_eq!(process.lines(), ["firing x", "resolved x"]);
    let resolved = process.world.channel.arrived.lock().unwrap()[1].clone();
    assert_eq!(
        (resolved.severity, resolved.annotations["summary"].as_str()),
        (Severity::High, "the rule was removed")
    );
    assert_eq!(
        process.world.store.scan(ALERTS, None, 10).await.unwrap(),
        []
    );
    process.restart();
    process.pass(now + seconds(100), 100, "").await;
    assert_eq!(process.lines(), ["firing x", "resolved x"]);
}

#[tokio::test(start_paused = true)]
async fn invalid_records_are_skipped_and_counted() {
    let process = Restart::new(0, 0);
    let mut batch = Batch::new();
    batch
        .put(ALERTS, "R/1", "no json")
        .put(OUTBOX, "sink/1", "{}")
        .put(META, LAST_TICK, "x");
    batch.put(OUTBOX, "no number", "").put(
        ALERTS,
        "R/2",
        r#"{"rule":"R","labels":{"a b":"c"},"active_at":0,"firing_since":null,"value":""}"#,
    );
    process.world.store.commit(batch).await.unwrap();
    process.pass(start(), 5, "x").await;
    assert_eq!(process.lines(), ["firing x"]);
}

/// A store that can't be read at the start loses no notification and no resolved alert.
#[tokio::test(start_paused = true)]
async fn a_failing_read_at_the_start_loses_nothing() {
    for failures in [1, 30] {
        let world = World::default();
        let start = start();
        // Three notifications that are not sent: there is no run.
        let alerts = world.alerts(0, 0);
        world.wrong("abc");
        alerts.tick(start).await;
        let store = Arc::new(Faulty::new(Arc::clone(&world.store)));
        store.failing_reads.store(failures, Ordering::Relaxed);
        let alerts = world.builder(0, 0).store(store).build().unwrap();
        world.wrong("cde");
        let mut now = start + seconds(10);
        for _ in 0..=failures {
            alerts.tick(now).await;
            now = now + seconds(5);
        }
        let alerts = world.alerts(0, 0);
        let running = run(&alerts);
        world.wrong("");
        alerts.tick(now).await;
        settle().await;
        let mut lines = world.channel.lines();
        lines.sort();
        lines.dedup();
        let expected = ["a", "b", "c", "d", "e"];
        let expected: Vec<_> = ["firing", "resolved"]
            .iter()
            .flat_map(|event| expected.map(|name| format!("{event} {name}")))
            .collect();
        assert_eq!(lines, expected, "{failures}");
        let keys = world.channel.arrived.lock().unwrap().len();
        // After one minute without the store, an alert that is still firing notifies again.
        assert_eq!(keys, if failures == 1 { 10 } else { 11 }, "{failures}");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_has_a_look_back_of_one_minute() {
    let world = World::default();
    let depth = Arc::new(Mutex::new(11.0));
    let build = || {
        let depth = Arc::clone(&depth);
        let rule = Rule::when("Deep", move |_: Now| {
            Some(*depth.lock().unwrap()).filter(|depth| *depth > 10.0)
        });
        let alerts = Alerts::builder().rule(rule).channel(world.channel.clone());
        alerts.store(world.store.clone()).build().unwrap()
    };
    let alerts = build();
    let running = run(&alerts);
    alerts.tick(start()).await;
    settle().await;
    running.abort();
    *depth.lock().unwrap() = 0.0;
    let alerts = build();
    let running = run(&alerts);
    for second in (10..30).step_by(5) {
        alerts.tick(start() + seconds(second)).await;
    }
    *depth.lock().unwrap() = 12.0;
    alerts.tick(start() + seconds(30)).await;
    settle().await;
    assert_eq!(world.channel.lines(), ["firing "]);
    running.abort();
}

/// Finds nothing, and reads nothing of the past.
struct Nothing;

impl crate::PreparedExpr for Nothing {
    fn look_back(&self) -> Duration {
        Duration::ZERO
    }

    fn at(&self, _: Now) -> BoxFuture<'_, Result<crate::Evaluation, EvalError>> {
        let answer = crate::Evaluation {
            samples: Vec::new(),
            history: Duration::ZERO,
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_back_applies_to_expressions() {
    let process = Restart::new(0, 0);
    process.pass(start(), 5, "x").await;
    process.running.abort();
    let rule = Rule::prepared("R", Arc::new(Nothing)).look_back(seconds(60));
    let world = &process.world;
    let alerts = Alerts::builder().rule(rule).channel(world.channel.clone());
    let alerts = alerts.store(world.store.clone()).build().unwrap();
    let running = run(&alerts);
    let first = start() + seconds(10);
    for (second, lines) in [
        (0, &["firing x"][..]),
        (55, &["firing x"]),
        (60, &["firing x", "resolved x"]),
    ] {
        alerts.tick(first + seconds(second)).await;
        settle().await;
        assert_eq!(process.lines(), lines, "{second}");
    }
    running.abort();
}
