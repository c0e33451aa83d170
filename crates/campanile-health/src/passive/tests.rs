use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::advance;

use super::*;
use crate::outcome::Level;

#[tokio::test(start_paused = true)]
async fn enough_requests_replace_the_probe() {
    let passive = PassiveCheck::new();
    let probes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&probes);
    let check = passive.check("payments", move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>("refused") }
    });
    let found = async || crate::checks::called(&check).await;
    // There are no requests, so the probe is called.
    assert_eq!(found().await.level, Level::Unhealthy);
    for (good, bad, level) in [
        (9, 0, Level::Healthy),
        (0, 1, Level::Degraded),
        (80, 0, Level::Healthy),
        (0, 80, Level::Degraded),
        (0, 10, Level::Unhealthy),
    ] {
        (0..good).for_each(|_| passive.record(true));
        (0..bad).for_each(|_| passive.record(false));
        assert_eq!(found().await.level, level, "{good} {bad}");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(probes.load(Ordering::Relaxed), 1);
    advance(Duration::from_secs(60)).await;
    assert_eq!(found().await.message.as_deref(), Some("refused"));
    assert_eq!(probes.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn settings_decide_how_many_failures_count() {
    let second = Duration::from_secs(1);
    let passive = PassiveCheck::builder()
        .window(second * 300)
        .min_requests(20)
        .degraded_from(0.25)
        .unhealthy_from(0.75)
        .build()
        .unwrap();
    let level = || passive.outcome().map(|outcome| outcome.level);
    (0..19).for_each(|_| passive.record(false));
    assert_eq!(level(), None);
    passive.record(false);
    assert_eq!(level(), Some(Level::Unhealthy));
    (0..7).for_each(|_| passive.record(true));
    assert_eq!(level(), Some(Level::Degraded));
    (0..54).for_each(|_| passive.record(true));
    assert_eq!(level(), Some(Level::Healthy));
    advance(second * 299).await;
    assert_eq!(level(), Some(Level::Healthy));
    advance(second).await;
    assert_eq!(level(), None);
}

#[test]
fn a_setting_beyond_its_limit_is_an_error() {
    let build = || PassiveCheck::builder();
    let second = Duration::from_secs(1);
    for (builder, expected) in [
        (
            build().window(Duration::ZERO),
            "invalid window 0ns: expected 1 s to 10 min",
        ),
        (
            build().window(second * 601),
            "invalid window 601s: expected 1 s to 10 min",
        ),
        (
            build().min_requests(0).degraded_from(0.6),
            "invalid min_requests 0: expected at least 1; \
             invalid degraded_from 0.6: expected a share above 0, at most `unhealthy_from`",
        ),
        (
            build().unhealthy_from(1.5),
            "invalid unhealthy_from 1.5: expected a share above 0, at most 1",
        ),
        (
            build().unhealthy_from(f64::NAN),
            "invalid unhealthy_from NaN: expected a share above 0, at most 1",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
}

/// A service that is not ready gets no requests, so only the probe can show the recovery.
#[tokio::test(start_paused = true)]
async fn a_successful_probe_ends_a_failure_without_requests() {
    let passive = PassiveCheck::new();
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let probed = Arc::clone(&works);
    let check = passive.check("payments", move || {
        let works = probed.load(Ordering::Relaxed);
        async move { works.then_some(()).ok_or("refused") }
    });
    let found = async || crate::checks::called(&check).await;
    (0..10).for_each(|_| passive.record(false));
    assert_eq!(found().await.level, Level::Unhealthy);
    // Failed requests outweigh a successful probe.
    works.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        advance(Duration::from_secs(1)).await;
        passive.record(false);
        assert_eq!(found().await.level, Level::Unhealthy);
    }
    // There are no more requests.
    advance(Duration::from_secs(10)).await;
    assert_eq!(found().await.level, Level::Healthy);
    // The failures before the probe no longer count.
    passive.record(true);
    assert_eq!(found().await.level, Level::Healthy);
    (0..5).for_each(|_| passive.record(false));
    assert_eq!(found().await.level, Level::Unhealthy);
}

#[tokio::test]
async fn the_head_determines_the_result() {
    use campanile_http::ObserveLayer;
    use tower::{Layer, ServiceExt, service_fn};

    let passive = PassiveCheck::new();
    let service = service_fn(async |_: http::Request<String>| {
        let answer = http::Response::builder()
            .status(503)
            .body("try later".to_owned());
        Ok::<_, std::convert::Infallible>(answer.expect("a response"))
    });
    let service = ObserveLayer::new(passive.clone()).layer(service);
    for _ in 0..5 {
        // The body is not read.
        let answer = service
            .clone()
            .oneshot(http::Request::new(String::new()))
            .await;
        drop(answer);
    }
    assert_eq!(
        passive.outcome().map(|outcome| outcome.level),
        Some(Level::Unhealthy)
    );
    let never = service_fn(async |_: http::Request<String>| {
        std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>().await
    });
    let other = PassiveCheck::new();
    let service = ObserveLayer::new(other.clone()).layer(never);
    let request = service.oneshot(http::Request::new(String::new()));
    assert!(
        tokio::time::timeout(Duration::from_millis(1), request)
            .await
            .is_err()
    );
    assert!(other.outcome().is_none());
}
