use super::*;

/// A rule that finds the samples that a test sets.
#[derive(Clone, Default)]
struct Tenants {
    samples: Arc<Mutex<Vec<Sample>>>,
    world: World,
}

impl Tenants {
    fn alerts(&self, pending_for: u64) -> Alerts {
        let samples = Arc::clone(&self.samples);
        let rule = Rule::when("TenantDown", move |_| samples.lock().unwrap().clone())
            .pending_for(seconds(pending_for))
            .label("team", "ops")
            .summary("a tenant is down")
            .annotations_with(|labels, _| vec![("tenant".to_owned(), labels.to_string())]);
        Alerts::builder()
            .rule(rule)
            .channel(self.world.channel.clone())
            .store(self.world.store.clone())
            .build()
            .unwrap()
    }

    /// Sets the samples: the number of each tenant, and its value.
    fn set(&self, tenants: impl Iterator<Item = (u32, f64)>) {
        let sample = |(number, value)| {
            let tenant = format!("{number:04}");
            Sample::new(LabelSet::new([("tenant", tenant)]).unwrap(), value)
        };
        *self.samples.lock().unwrap() = tenants.map(sample).collect();
    }
}

/// Returns the tenants whose alerts are active, and the value of the overflow alert.
fn active(alerts: &Alerts) -> (Vec<u32>, Option<f64>) {
    let (mut tenants, mut overflow) = (Vec::new(), None);
    for alert in alerts.active() {
        match alert.labels.get("tenant") {
            Some(tenant) => tenants.push(tenant.parse().unwrap()),
            None => overflow = Some(alert.value),
        }
    }
    (tenants, overflow)
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_the_highest_ranks_fire_and_one_alert_counts_the_others() {
    let tenants = Tenants::default();
    let alerts = tenants.alerts(0);
    let running = run(&alerts);
    let start = start();
    // The largest by magnitude come first, and NaN last.
    let value = |number: u32| match number {
        1_499 => -900.0,
        1_498 => 800.0,
        0 => f64::NAN,
        _ => 7.0,
    };
    tenants.set((0..1_500).map(|number| (number, value(number))));
    alerts.tick(start).await;
    settle().await;
    let first: Vec<u32> = (1..=998).chain([1_498, 1_499]).collect();
    assert_eq!(active(&alerts), (first.clone(), Some(500.0)));
    assert_eq!(
        (alerts.stats().overflow, alerts.stats().firing),
        (500, 1_001)
    );
    assert_eq!(alerts.rules()[0].error, None);
    let notification = {
        let arrived = tenants.world.channel.arrived.lock().unwrap();
        assert_eq!(arrived.len(), 1_001);
        let is_overflow =
            |notification: &&Notification| notification.labels.get("overflow").is_some();
        let overflow: Vec<_> = arrived.iter().filter(is_overflow).cloned().collect();
        let [notification] = &overflow[..] else {
            panic!("{}", overflow.len())
        };
        notification.clone()
    };
    assert_eq!(
        notification.labels.to_string(),
        r#"{alertname="TenantDown", overflow="true", severity="medium", team="ops"}"#
    );
    let annotations: Vec<_> = notification.annotations.iter().collect();
    let summary = "TenantDown: 500 more series match, beyond the limit of 1000 alerts";
    assert_eq!(annotations, [(&"summary".to_owned(), &summary.to_owned())]);

    // Firing alerts stay, even if there are larger values. Those without a sample resolve, and the largest values replace them.
    tenants.set(
        (1..2_000)
            .filter(|number| *number != 998)
            .map(|n| (n, f64::from(n))),
    );
    alerts.tick(start + seconds(5)).await;
    settle().await;
    let second: Vec<u32> = (1..=997).chain([1_498, 1_499, 1_999]).collect();
    assert_eq!(active(&alerts), (second, Some(998.0)));
    let sent = |event: AlertEvent| {
        let arrived = tenants.world.channel.arrived.lock().unwrap();
        arrived
            .iter()
            .filter(|notification| notification.event == event)
            .count()
    };
    assert_eq!(
        (sent(AlertEvent::Firing), sent(AlertEvent::Resolved)),
        (1_002, 1)
    );

    // At the limit there is no overflow.
    tenants.set((1..=1_000).map(|number| (number, 1.0)));
    alerts.tick(start + seconds(10)).await;
    settle().await;
    assert_eq!(active(&alerts), ((1..=1_000).collect(), None));
    assert_eq!(alerts.stats().overflow, 0);
    // Three tenants and the overflow resolve, and three tenants fire.
    assert_eq!(
        (sent(AlertEvent::Firing), sent(AlertEvent::Resolved)),
        (1_005, 5)
    );
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn pending_alerts_stay_beyond_the_limit() {
    let tenants = Tenants::default();
    let alerts = tenants.alerts(10);
    let start = start();
    for second in [0, 5, 10] {
        // Each time others are the largest.
        let value = move |n: u32| f64::from((n + 100 * second as u32) % 1_200);
        tenants.set((0..1_200).map(|number| (number, value(number))));
        alerts.tick(start + seconds(second)).await;
        assert_eq!(active(&alerts).0.len(), 1_000);
    }
    assert_eq!((alerts.stats().firing, alerts.stats().pending), (1_001, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_firing_alerts_beyond_the_limit() {
    let tenants = Tenants::default();
    let alerts = tenants.alerts(0);
    let start = start();
    tenants.set((0..1_100).map(|number| (number, f64::from(number))));
    alerts.tick(start).await;
    let before = active(&alerts);
    assert_eq!(before, ((100..1_100).collect(), Some(100.0)));
    drop(alerts);
    let alerts = tenants.alerts(0);
    tenants.set((0..1_100).map(|number| (number, -f64::from(number % 7))));
    alerts.tick(start + seconds(60)).await;
    assert_eq!(active(&alerts), before);
    // Each change is in the store once.
    let record = tenants.world.store.scan("outbox", None, 5_000).await;
    assert_eq!(record.unwrap().len(), 1_001);
}

/// An expression that looks for low values.
struct Low(Vec<Sample>);

impl crate::PreparedExpr for Low {
    fn look_back(&self) -> Duration {
        Duration::ZERO
    }

    fn rank(&self, value: f64) -> f64 {
        -value
    }

    fn at(&self, _: Now) -> BoxFuture<'_, Result<crate::Evaluation, EvalError>> {
        let answer = crate::Evaluation {
            samples: self.0.clone(),
            history: Duration::ZERO,
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[tokio::test(start_paused = true)]
async fn an_expression_ranks_values() {
    let tenants = Tenants::default();
    // Low values rank high: the negative one is first, and NaN last.
    let value = |number: u32| match number {
        1_199 => -50.0,
        0 => -f64::NAN,
        _ => f64::from(number),
    };
    tenants.set((0..1_200).map(|number| (number, value(number))));
    let samples = tenants.samples.lock().unwrap().clone();
    let rule = Rule::prepared("TenantLow", Arc::new(Low(samples)));
    let alerts = Alerts::builder().rule(rule).build().unwrap();
    alerts.tick(start()).await;
    let expected = (1..=999).chain([1_199]).collect();
    assert_eq!(active(&alerts), (expected, Some(200.0)));
}
