use super::*;

fn retry(after: Option<u64>) -> ChannelError {
    ChannelError::Retry {
        reason: "down".into(),
        after: after.map(seconds),
    }
}

fn clock() -> tokio::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "a test measures a duration")]
    tokio::time::Instant::now()
}

async fn fire(world: &World, alerts: &Alerts, names: &str) {
    world.wrong(names);
    alerts.tick(start()).await;
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_retried_with_backoff() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    let running = run(&alerts);
    world
        .channel
        .failures
        .lock()
        .unwrap()
        .extend((0..10).map(|_| retry(None)));
    let begin = clock();
    fire(&world, &alerts, "x").await;
    while world.channel.lines().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60 + 60 s, each by up to a fifth more or less.
    let took = begin.elapsed().as_secs_f64();
    assert!(
        (0.8 * 303.0..=1.2 * 303.0 + 1.0).contains(&took),
        "{took} s"
    );
    let stats = alerts.stats().channels.remove(0);
    assert_eq!((stats.failed, stats.sent, stats.queued), (10, 1, 0));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn retry_after_sets_the_pause() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    let running = run(&alerts);
    world
        .channel
        .failures
        .lock()
        .unwrap()
        .push_back(retry(Some(120)));
    fire(&world, &alerts, "x").await;
    tokio::time::sleep(seconds(119)).await;
    assert_eq!(world.channel.lines(), Vec::<String>::new());
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(world.channel.lines(), ["firing x"]);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_clamped() {
    for (after, wait) in [(0, 1), (1_000_000_000, 3_600)] {
        let world = World::default();
        let alerts = world.alerts(0, 0);
        let running = run(&alerts);
        let failure = retry(Some(after));
        world.channel.failures.lock().unwrap().push_back(failure);
        let begin = clock();
        fire(&world, &alerts, "x").await;
        while world.channel.lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let took = begin.elapsed();
        assert!(
            took >= seconds(wait) && took < seconds(wait + 1),
            "{took:?}"
        );
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_notification_does_not_block_the_queue() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    let running = run(&alerts);
    world
        .channel
        .failures
        .lock()
        .unwrap()
        .push_back(ChannelError::Rejected {
            reason: "gone".into(),
        });
    fire(&world, &alerts, "xy").await;
    settle().await;
    assert_eq!(world.channel.lines(), ["firing y"]);
    assert_eq!(world.journal().await[2..], ["rejected x", "sent y"]);
    assert_eq!(alerts.stats().channels[0].rejected, 1);
    assert_eq!(world.store.scan(OUTBOX, None, 10).await.unwrap(), []);
    running.abort();
}

/// A channel that panics, then never ends.
#[derive(Default)]
struct Broken(AtomicU64);

impl Channel for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn send<'a>(&'a self, _: &'a Notification) -> BoxFuture<'a, Result<(), ChannelError>> {
        assert!(
            self.0.fetch_add(1, Ordering::Relaxed) > 0,
            "as the test wants it"
        );
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_channel_delays_no_other() {
    let world = World::default();
    let alerts = world
        .builder(0, 0)
        .channel(Broken::default())
        .build()
        .unwrap();
    let running = run(&alerts);
    fire(&world, &alerts, "x").await;
    settle().await;
    assert_eq!(world.channel.lines(), ["firing x"]);
    tokio::time::sleep(seconds(34)).await;
    let stats = alerts.stats().channels.remove(1);
    assert_eq!((stats.failed, stats.queued), (2, 1));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drains_the_queues_for_a_limited_time() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    world
        .channel
        .failures
        .lock()
        .unwrap()
        .push_back(retry(None));
    fire(&world, &alerts, "x").await;
    let begin = clock();
    alerts.run(std::future::ready(())).await;
    assert_eq!(world.channel.lines(), ["firing x"]);
    assert!(begin.elapsed() < seconds(2));
    world
        .channel
        .failures
        .lock()
        .unwrap()
        .extend((0..9).map(|_| retry(None)));
    fire(&world, &alerts, "xy").await;
    let begin = clock();
    alerts.run(std::future::ready(())).await;
    assert_eq!(
        (world.channel.lines().len(), begin.elapsed().as_secs()),
        (1, 5)
    );
    assert_eq!(world.store.scan(OUTBOX, None, 10).await.unwrap().len(), 1);
    // Without a channel there is nothing to wait for but the stop.
    let none = Alerts::builder().build().unwrap();
    none.run(tokio::time::sleep(seconds(7))).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    let mut now = start();
    for round in 0..5_200 {
        world.wrong(if round % 2 == 0 { "xy" } else { "" });
        now = now + seconds(5);
        alerts.tick(now).await;
    }
    let stats = alerts.stats().channels.remove(0);
    assert_eq!((stats.queued, stats.dropped), (10_000, 400));
    assert_eq!(
        world.store.scan(OUTBOX, None, 20_000).await.unwrap().len(),
        10_000
    );
}

/// A channel that takes a while.
#[derive(Clone, Default)]
struct Slow(Sink);

impl Channel for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn send<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), ChannelError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.0.send(notification).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_run_waits_for_the_first() {
    let world = World::default();
    let slow = Slow::default();
    let alerts = world.builder(0, 0).channel(slow.clone()).build().unwrap();
    let (first, second) = (run(&alerts), run(&alerts));
    fire(&world, &alerts, "abcdefghij").await;
    // In the middle of the fifth.
    tokio::time::sleep(Duration::from_millis(225)).await;
    let expected: Vec<_> = "abcdefghij"
        .chars()
        .map(|name| format!("firing {name}"))
        .collect();
    assert_eq!(slow.0.lines(), expected[..4]);
    first.abort();
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(slow.0.lines(), expected);
    assert_eq!(world.channel.lines(), expected);
    // Nothing waits, and nothing was taken off that was not sent.
    for channel in alerts.stats().channels {
        assert_eq!((channel.queued, channel.sent), (0, 10), "{channel:?}");
    }
    assert_eq!(world.store.scan("outbox", None, 100).await.unwrap(), []);
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_run_ends_with_its_shutdown() {
    let world = World::default();
    let alerts = world.alerts(0, 0);
    let running = run(&alerts);
    settle().await;
    alerts.run(tokio::time::sleep(seconds(1))).await;
    assert!(!running.is_finished());
    running.abort();
}
