//! How checks are called.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_timeout_are_failures() {
    let dependency = Dependency::new(Answer::Panic);
    let check = dependency
        .check("db")
        .critical()
        .timeout(Duration::from_secs(2))
        .interval(Duration::from_secs(10));
    let (health, _stop) = run(vec![check]);
    let error = || health.report().checks[0].message.clone();
    pass(Duration::ZERO).await;
    assert_eq!(error().as_deref(), Some("the check panicked"));

    dependency.set(Answer::Hang);
    pass(Duration::from_secs(10)).await;
    assert_eq!(error().as_deref(), Some("the check panicked"));
    pass(Duration::from_secs(2)).await;
    assert_eq!(error().as_deref(), Some("timed out after 2s"));
    assert_eq!(
        health.report().checks[0].duration,
        Some(Duration::from_secs(2))
    );

    dependency.set(Answer::Well);
    pass(Duration::from_secs(10)).await;
    assert_eq!((error(), health.report().status), (None, Status::Healthy));
}

#[tokio::test(start_paused = true)]
async fn thresholds_keep_what_fails_now_and_then() {
    let dependency = Dependency::new(Answer::Well);
    let check = dependency
        .check("db")
        .critical()
        .failure_threshold(3)
        .success_threshold(2);
    let (health, _stop) = run(vec![check.interval(Duration::from_secs(10))]);
    pass(Duration::ZERO).await;
    let mut statuses = Vec::new();
    for answer in [
        Answer::Fail,
        Answer::Fail,
        Answer::Fail,
        Answer::Well,
        Answer::Well,
    ] {
        dependency.set(answer);
        pass(Duration::from_secs(10)).await;
        statuses.push(health.report().checks[0].status);
    }
    let (well, failed) = (Status::Healthy, Status::Unhealthy);
    assert_eq!(statuses, [well, well, failed, failed, well]);
}

/// Real threads have real time.
#[tokio::test]
async fn a_call_that_blocks_too_long_is_not_repeated() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (calls, wait) = (Arc::new(AtomicUsize::new(0)), Mutex::new(wait));
    let count = Arc::clone(&calls);
    let check = Check::blocking("stuck", move || {
        if count.fetch_add(1, Ordering::Relaxed) > 0 {
            // Until the call is cancelled.
            let _ = wait.lock().unwrap().recv();
        }
        Ok::<_, &str>(())
    });
    let check = check
        .interval(Duration::from_millis(10))
        .timeout(Duration::from_millis(50));
    let (health, _stop) = run(vec![check.stale_after(Duration::from_millis(200))]);
    let mut transitions = health.transitions();
    for expected in [Status::Healthy, Status::Degraded, Status::Unknown] {
        assert_eq!(transitions.next().await.unwrap().to, expected);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    drop(go_on);
    assert_eq!(transitions.next().await.unwrap().to, Status::Healthy);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_are_called_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let check = |number: usize| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        Check::new(format!("c{number}"), move || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, &str>(())
            }
        })
    };
    let builder = (0..10)
        .map(check)
        .fold(Health::builder(), HealthBuilder::check);
    let (health, _stop) = run_with(builder.concurrency(3));
    for _ in 0..4 {
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(health.report().status, Status::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_check_can_be_hurried() {
    let dependency = Dependency::new(Answer::Well);
    let (health, _stop) = run(vec![dependency.check("db")]);
    pass(Duration::ZERO).await;
    assert!(health.refresh("db") && !health.refresh("other"));
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 2);
    // A stranger is shown what there is.
    health.get("/readyz/db?refresh=true");
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 2);
    let request = http::Request::get("/readyz/db?verbose&refresh=true");
    let request = request.body(()).unwrap().into_parts().0;
    let details = ResponseDetail::new().errors(true);
    // Many requests share one call.
    for _ in 0..10 {
        health.respond_with(&request, &details).unwrap();
    }
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 3);
}

/// Real threads have real time.
#[tokio::test]
async fn a_call_that_blocks_keeps_no_place_and_no_process() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let wait = Mutex::new(wait);
    let (count, peak) = (Arc::clone(&now), Arc::clone(&most));
    let stuck = Check::blocking("stuck", move || {
        peak.fetch_max(count.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let _ = wait.lock().unwrap().recv();
        count.fetch_sub(1, Ordering::Relaxed);
        Ok::<_, &str>(())
    });
    let dependency = Dependency::new(Answer::Well);
    let (short, other) = (Duration::from_millis(10), dependency.check("other"));
    let builder = Health::builder().concurrency(1);
    let builder = builder
        .check(stuck.timeout(short).interval(short))
        .check(other.interval(short));
    let health = builder.build().unwrap();
    // One run after the other: the call of the first is in progress still.
    for _ in 0..2 {
        let before = dependency.calls();
        let ran = async {
            while dependency.calls() < before + 5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        health.run(ran).await;
        assert_eq!(
            health.report().checks[0].message.as_deref(),
            Some("timed out after 10ms")
        );
    }
    assert_eq!(
        (now.load(Ordering::Relaxed), most.load(Ordering::Relaxed)),
        (1, 1)
    );
    drop(go_on);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_is_not_taken_up_again_once_it_is_too_old() {
    let dependency = Dependency::new(Answer::Well);
    let check = dependency
        .check("db")
        .critical()
        .failure_threshold(3)
        .success_threshold(1);
    let (health, stop) = run(vec![check]);
    pass(Duration::ZERO).await;
    drop(stop);
    pass(Duration::from_secs(600)).await;
    assert_eq!(health.report().checks[0].status, Status::Unknown);
    dependency.set(Answer::Fail);
    let (stop, stopped) = oneshot::channel::<()>();
    let again = health.clone();
    tokio::spawn(async move { again.run(async { drop(stopped.await) }).await });
    pass(Duration::ZERO).await;
    assert_eq!(health.report().checks[0].status, Status::Unhealthy);
    drop(stop);
}

/// A future whose end is no good either.
struct PanicsInDrop;

impl Future for PanicsInDrop {
    type Output = Result<(), &'static str>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::task::Poll::Pending
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn no_panic_ends_a_check_for_good() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let in_drop = Check::new("drop", move || {
        count.fetch_add(1, Ordering::Relaxed);
        PanicsInDrop
    });
    let count = Arc::clone(&calls);
    let in_call = Check::new("call", move || -> std::future::Ready<Result<(), &str>> {
        count.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    });
    let count = Arc::clone(&calls);
    let blocking = Check::blocking("blocking", move || -> Result<(), &str> {
        count.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    });
    let (health, _stop) = run(vec![
        in_drop.timeout(Duration::from_secs(1)),
        in_call,
        blocking,
    ]);
    let said = |number: usize| {
        health.report().checks[number]
            .message
            .clone()
            .unwrap_or_default()
    };
    while said(2).is_empty() {
        pass(Duration::from_millis(1)).await;
    }
    pass(Duration::from_secs(29)).await;
    assert_eq!(
        [said(0), said(1), said(2)],
        [
            "timed out after 1s",
            "the check panicked",
            "the check panicked"
        ]
    );
    pass(Duration::from_secs(2)).await;
    while calls.load(Ordering::Relaxed) < 6 {
        pass(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_is_retried_before_its_period_is_over() {
    let dependency = Dependency::new(Answer::Fail);
    let (health, _stop) = run(vec![dependency.check("db").critical()]);
    pass(Duration::from_secs(1)).await;
    dependency.set(Answer::Well);
    pass(Duration::from_secs(2)).await;
    assert_eq!(health.get("/readyz").status(), 200);
    // A check that succeeds is called once a period.
    let calls = dependency.calls();
    pass(Duration::from_secs(29)).await;
    assert_eq!(dependency.calls(), calls);
    // The delay starts at 2 s and doubles up to the period.
    dependency.set(Answer::Fail);
    pass(Duration::from_secs(4)).await;
    let calls = dependency.calls();
    for (seconds, expected) in [(1, 0), (2, 1), (4, 2), (8, 3), (16, 4), (30, 5), (30, 6)] {
        pass(Duration::from_secs(seconds)).await;
        assert!(
            dependency.calls() - calls <= expected,
            "{} calls after {seconds} s more, expected at most {expected}",
            dependency.calls() - calls
        );
    }
    assert!(dependency.calls() - calls >= 5);
}

/// With thresholds of 3 and 2 and a period of 30 s, three failures take seconds.
#[tokio::test(start_paused = true)]
async fn thresholds_are_reached_by_retries() {
    let dependency = Dependency::new(Answer::Well);
    let (health, _stop) = run(vec![
        dependency
            .check("db")
            .critical()
            .failure_threshold(3)
            .success_threshold(2),
    ]);
    pass(Duration::ZERO).await;
    dependency.set(Answer::Fail);
    let seconds = async |seconds| {
        for _ in 0..seconds {
            pass(Duration::from_secs(1)).await;
        }
    };
    seconds(35).await;
    assert_eq!(health.get("/readyz").status(), 200);
    seconds(2).await;
    assert_eq!(health.get("/readyz").status(), 503);
    dependency.set(Answer::Well);
    seconds(12).await;
    assert_eq!(health.get("/readyz").status(), 200);
}

/// A call that blocks its thread can't be cancelled, and the stop does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_blocks_its_thread_does_not_delay_the_stop() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let begun = Arc::new(Notify::new());
    let check = Check::new("pool", {
        let begun = Arc::clone(&begun);
        move || {
            let (released, begun) = (Arc::clone(&released), Arc::clone(&begun));
            async move {
                begun.notify_one();
                let _ = released.lock().unwrap().recv();
                Ok::<_, String>(())
            }
        }
    });
    let health = Health::builder().check(check).build().unwrap();
    let stop = async move { begun.notified().await };
    let stopped = timeout(Duration::from_secs(30), health.run(stop)).await;
    assert!(stopped.is_ok(), "the stop waits for the check");
    drop(release);
}
