//! The life of a service.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_run_is_enough() {
    let dependency = Dependency::new(Answer::Hang);
    let (health, _stop) = run(vec![dependency.check("db")]);
    pass(Duration::ZERO).await;
    let second = tokio::spawn(health.run(tokio::time::sleep(Duration::from_secs(1))));
    pass(Duration::from_secs(2)).await;
    assert!(second.is_finished() && health.report().is_running);
    assert_eq!(dependency.calls(), 1);
}

/// Kubernetes restarts a container whose startup probe fails for too long; no restart repairs a
/// database.
#[tokio::test(start_paused = true)]
async fn a_failed_dependency_fails_readiness_and_never_startup() {
    let dependency = Dependency::new(Answer::Fail);
    let (health, _stop) = run(vec![dependency.check("db").critical()]);
    for _ in 0..300 {
        pass(Duration::from_secs(2)).await;
        assert_eq!(health.get("/startupz").status(), 200);
        assert_eq!(health.get("/readyz").status(), 503);
    }
}

/// A service can still choose to let its startup depend on a check.
#[tokio::test(start_paused = true)]
async fn a_startup_group_of_the_application_is_waited_for() {
    let dependency = Dependency::new(Answer::Fail);
    let builder = Health::builder()
        .check(dependency.check("migrations").critical())
        .group(Group::new("startup", Select::check("migrations")));
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.get("/startupz").status(), 503);
    dependency.set(Answer::Well);
    pass(Duration::from_secs(4)).await;
    assert_eq!(health.get("/startupz").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_run_after_a_run_is_ready_again() {
    let dependency = Dependency::new(Answer::Well);
    let check = dependency.check("db").critical();
    let health = Health::builder().check(check).build().unwrap();
    health.run(std::future::ready(())).await;
    assert_eq!(health.phase(), Phase::Stopped);
    let running = tokio::spawn(health.run(std::future::pending()));
    pass(Duration::from_secs(1)).await;
    assert_eq!(health.phase(), Phase::Ready);
    assert_eq!(health.get("/readyz").status(), 200);
    // A second run beside the first does not end a drain.
    health.drain();
    let _second = tokio::spawn(health.run(std::future::pending()));
    pass(Duration::from_secs(1)).await;
    assert_eq!(health.phase(), Phase::Draining);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_service_starts_works_drains_and_stops() {
    let dependency = Dependency::new(Answer::Fail);
    let (health, stop) = run(vec![dependency.check("db").critical()]);
    let hold = health.hold_startup();
    let codes =
        || ["/startupz", "/readyz", "/livez"].map(|path| health.get(path).status().as_u16());
    pass(Duration::ZERO).await;
    assert_eq!(
        (health.phase(), codes()),
        (Phase::Starting, [503, 503, 200])
    );
    dependency.set(Answer::Well);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        (health.phase(), codes()),
        (Phase::Starting, [503, 503, 200])
    );
    drop(hold);
    assert_eq!((health.phase(), codes()), (Phase::Ready, [200, 200, 200]));
    // It has started, whatever comes.
    dependency.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!((health.phase(), codes()), (Phase::Ready, [200, 503, 200]));
    dependency.set(Answer::Well);
    pass(Duration::from_secs(30)).await;

    let (signal, signalled) = oneshot::channel::<()>();
    let signalled = async { drop(signalled.await) };
    let draining = tokio::spawn(health.drain_after(signalled, Duration::from_secs(5)));
    pass(Duration::from_secs(1)).await;
    assert_eq!(codes(), [200, 200, 200]);
    drop(signal);
    pass(Duration::ZERO).await;
    assert_eq!(
        (health.phase(), codes()),
        (Phase::Draining, [200, 503, 200])
    );
    let body: Value = serde_json::from_str(health.get("/health/ready").body()).unwrap();
    assert_eq!(body, json!({"status": "not_ready", "phase": "draining"}));
    // The checks go on meanwhile.
    assert_eq!(health.report().status, Status::Healthy);
    pass(Duration::from_millis(4_999)).await;
    assert!(!draining.is_finished());
    pass(Duration::from_millis(1)).await;
    assert!(draining.is_finished());
    drop(stop);
    pass(Duration::ZERO).await;
    assert_eq!((health.phase(), codes()), (Phase::Stopped, [200, 503, 200]));
}

/// A drain is no start: kubelet and operators must not see `started` for a migration that was cut
/// off.
#[tokio::test(start_paused = true)]
async fn a_service_that_drains_while_it_starts_has_not_started() {
    let (health, _stop) = run(Vec::new());
    let hold = health.hold_startup();
    health.drain();
    let answer = health.get("/startupz");
    assert_eq!(
        (health.phase(), answer.status()),
        (Phase::Draining, StatusCode::SERVICE_UNAVAILABLE)
    );
    let body: Value = serde_json::from_str(health.get("/health/startup").body()).unwrap();
    assert_eq!(
        (&body["status"], &body["phase"]),
        (&json!("starting"), &json!("draining"))
    );
    drop(hold);
    assert_eq!(
        health.get("/startupz").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    // One that was never probed has started all the same.
    let (health, _stop) = run(Vec::new());
    health.drain();
    assert_eq!(health.get("/startupz").status(), StatusCode::OK);
}

/// A stall ends with an evaluation of the present, not of the time at which it was due.
#[tokio::test(start_paused = true)]
async fn an_outdated_result_is_reported_right_after_a_stall() {
    let second = Duration::from_secs(1);
    let (db, other) = (Dependency::new(Answer::Well), Dependency::new(Answer::Well));
    let outdated = db.check("db").interval(second * 10).timeout(second);
    let builder = Health::builder()
        .check(outdated.stale_after(second * 12))
        .check(
            other
                .check("other")
                .interval(second)
                .timeout(second * 3_600),
        )
        .concurrency(1);
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.transitions_so_far(), 2);
    // From now on this one keeps the only place, so that the first one is not called again.
    other.set(Answer::Hang);
    pass(second * 2).await;
    advance(second * 60).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(health.transitions_so_far() > 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_wait_for_the_drain() {
    let (health, _stop) = run(Vec::new());
    let waiting = tokio::spawn(health.draining());
    pass(Duration::from_secs(60)).await;
    assert!(!waiting.is_finished());
    health.drain();
    waiting.await.unwrap();
    // In a service that drains already, it completes at once.
    health.draining().await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_checks_is_told() {
    let dependency = Dependency::new(Answer::Well);
    let (health, _stop) = run(vec![
        dependency
            .check("db")
            .critical()
            .interval(Duration::from_secs(1)),
    ]);
    let mut transitions = health.transitions();
    pass(Duration::ZERO).await;
    dependency.set(Answer::Fail);
    pass(Duration::from_secs(1)).await;
    pass(Duration::from_secs(1)).await;
    // 3 s and the timeout later the status is unknown.
    dependency.set(Answer::Hang);
    pass(Duration::from_secs(1)).await;
    let (well, failed, unknown) = (Status::Healthy, Status::Unhealthy, Status::Unknown);
    for (from, to, reason) in [
        (unknown, well, None),
        (well, failed, Some("secret-host:5432 refused")),
    ] {
        let transition = transitions.next().await.unwrap();
        assert_eq!((transition.from, transition.to), (from, to));
        assert_eq!(
            (&*transition.check, transition.reason.as_deref()),
            ("db", reason)
        );
    }
    assert_eq!((health.transitions_so_far(), transitions.missed()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_stops_fails_liveness() {
    let heartbeat = crate::Heartbeat::new("consumer", Duration::from_secs(10));
    let (health, _stop) = run_with(Health::builder().heartbeat(&heartbeat));
    let mut transitions = health.transitions();
    pass(Duration::from_secs(10)).await;
    assert_eq!(health.get("/livez").status(), StatusCode::OK);
    heartbeat.beat();
    pass(Duration::from_secs(10)).await;
    assert_eq!(health.get("/livez").status(), StatusCode::OK);
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        health.get("/livez").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(transitions.next().await.unwrap().to, Status::Healthy);
    let reason = transitions.next().await.unwrap().reason.unwrap();
    assert!(reason.starts_with("no heartbeat for 1"), "{reason}");
    heartbeat.beat();
    assert_eq!(health.get("/livez").status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_goes_on_where_the_first_ends() {
    let dependency = Dependency::new(Answer::Well);
    let (health, first) = run(vec![dependency.check("db")]);
    pass(Duration::ZERO).await;
    let (second, stopped) = oneshot::channel::<()>();
    tokio::spawn(health.run(async { drop(stopped.await) }));
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 1);
    drop(first);
    pass(Duration::ZERO).await;
    assert_eq!((dependency.calls(), health.phase()), (2, Phase::Ready));
    assert!(health.report().is_running);
    drop(second);
    pass(Duration::ZERO).await;
    assert_eq!(
        (health.report().is_running, health.phase()),
        (false, Phase::Stopped)
    );
}
