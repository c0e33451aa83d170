use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::advance;

use super::*;
use crate::{Details, Group, Outcome, Select};

/// What a check does next; it can be changed.
#[derive(Clone)]
struct Dependency(Arc<Mutex<Answer>>, Arc<AtomicUsize>);

#[derive(Clone, Copy)]
enum Answer {
    Well,
    Fail,
    Panic,
    Hang,
}

impl Dependency {
    fn new(answer: Answer) -> Self {
        Self(Arc::new(Mutex::new(answer)), Arc::default())
    }

    fn set(&self, answer: Answer) {
        *self.0.lock().unwrap() = answer;
    }

    fn calls(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    fn check(&self, name: &str) -> Check {
        let this = self.clone();
        Check::new(name, move || {
            this.1.fetch_add(1, Ordering::Relaxed);
            let answer = *this.0.lock().unwrap();
            async move {
                match answer {
                    Answer::Well => Ok(()),
                    Answer::Fail => Err("secret-host:5432 refused"),
                    Answer::Panic => panic!("on purpose"),
                    Answer::Hang => std::future::pending().await,
                }
            }
        })
    }
}

/// Builds, and runs in the background until the sender is dropped.
fn run(checks: Vec<Check>) -> (Health, oneshot::Sender<()>) {
    run_with(
        checks
            .into_iter()
            .fold(Health::builder(), HealthBuilder::check),
    )
}

fn run_with(builder: HealthBuilder) -> (Health, oneshot::Sender<()>) {
    let health = builder.jitter(0.0).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = health.clone();
    tokio::spawn(async move {
        running.run(async { drop(stopped.await) }).await;
    });
    (health, stop)
}

/// Lets time pass, and everything happen that is due.
async fn pass(time: Duration) {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    advance(time).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn status(health: &Health, path: &str) -> (u16, Value) {
    let answer = health.ask(path);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut body: Value = serde_json::from_str(answer.body()).unwrap();
    if let Some(timestamp) = body.as_object_mut().unwrap().remove("timestamp") {
        assert!(
            timestamp
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
    }
    (answer.status().as_u16(), body)
}

#[tokio::test(start_paused = true)]
async fn answers_follow_the_checks() {
    let (critical, other) = (Dependency::new(Answer::Well), Dependency::new(Answer::Well));
    let (health, _stop) = run(vec![critical.check("db").critical(), other.check("mail")]);
    // Nothing has run yet, and so nobody knows.
    assert_eq!(
        status(&health, "/health"),
        (503, json!({"status": "unhealthy"}))
    );
    assert_eq!(
        status(&health, "/health/ready"),
        (503, json!({"status": "not_ready", "phase": "starting"}))
    );
    assert_eq!(
        status(&health, "/health/live"),
        (200, json!({"status": "alive"}))
    );

    pass(Duration::ZERO).await;
    assert_eq!(
        status(&health, "/health"),
        (200, json!({"status": "healthy"}))
    );
    assert_eq!(
        status(&health, "/health/ready"),
        (200, json!({"status": "ready"}))
    );

    other.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        status(&health, "/health"),
        (200, json!({"status": "degraded"}))
    );
    assert_eq!(
        status(&health, "/health/readiness/"),
        (200, json!({"status": "ready"}))
    );

    critical.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        status(&health, "/health/"),
        (503, json!({"status": "unhealthy"}))
    );
    assert_eq!(
        status(&health, "/health/ready/"),
        (503, json!({"status": "not_ready"}))
    );
    assert_eq!(
        status(&health, "/health/liveness"),
        (200, json!({"status": "alive"}))
    );

    critical.set(Answer::Well);
    pass(Duration::from_secs(30)).await;
    let (code, mut detailed) = status(&health, "/health/detailed");
    assert!(
        detailed
            .as_object_mut()
            .unwrap()
            .remove("uptime")
            .unwrap()
            .as_f64()
            .unwrap()
            >= 90.0
    );
    let expected = json!({
        "status": "degraded",
        "phase": "ready",
        "checks": [
            {"name": "db", "status": "healthy", "critical": true},
            {"name": "mail", "status": "degraded", "critical": false},
        ],
        "failed_checks": ["mail"],
        "total_checks": 2,
        "passed_checks": 1,
    });
    assert_eq!((code, detailed), (200, expected));
    // What it failed with is for the host.
    assert_eq!(
        health.report().checks[1].message.as_deref(),
        Some("secret-host:5432 refused")
    );
    for path in [
        "/health/other",
        "/",
        "/health//",
        "/healthz",
        "/readyz/other",
        "/readyz/db/x",
        "/livez/db",
    ] {
        assert_eq!(health.ask(path).status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_timeout_are_failures() {
    let dependency = Dependency::new(Answer::Panic);
    let check = dependency
        .check("db")
        .critical()
        .timeout(Duration::from_secs(2))
        .period(Duration::from_secs(10));
    let (health, _stop) = run(vec![check]);
    let error = || health.report().checks[0].message.clone();
    pass(Duration::ZERO).await;
    assert_eq!(error().as_deref(), Some("the check panicked"));

    dependency.set(Answer::Hang);
    pass(Duration::from_secs(10)).await;
    assert_eq!(error().as_deref(), Some("the check panicked"));
    pass(Duration::from_secs(2)).await;
    assert_eq!(error().as_deref(), Some("no answer within 2s"));
    assert_eq!(
        health.report().checks[0].duration,
        Some(Duration::from_secs(2))
    );

    dependency.set(Answer::Well);
    pass(Duration::from_secs(10)).await;
    assert_eq!((error(), health.report().status), (None, Status::Healthy));
}

#[tokio::test(start_paused = true)]
async fn probes_run_no_check_and_old_results_are_unknown() {
    let dependency = Dependency::new(Answer::Well);
    let (health, stop) = run(vec![dependency.check("db").critical()]);
    pass(Duration::ZERO).await;
    for _ in 0..1_000 {
        health.ask("/health/ready");
    }
    assert_eq!(dependency.calls(), 1);

    drop(stop);
    // Three periods and the timeout.
    pass(Duration::from_secs(95)).await;
    assert_eq!(
        (health.report().status, health.report().is_running),
        (Status::Healthy, false)
    );
    pass(Duration::from_secs(1)).await;
    assert_eq!(health.report().checks[0].status, Status::Unknown);
    assert_eq!(
        status(&health, "/health/ready").0,
        StatusCode::SERVICE_UNAVAILABLE.as_u16()
    );
    assert!(
        status(&health, "/health/detailed").1["warning"]
            .as_str()
            .unwrap()
            .contains("run is not running")
    );
    assert_eq!(dependency.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_run_is_enough() {
    let dependency = Dependency::new(Answer::Hang);
    let (health, _stop) = run(vec![dependency.check("db")]);
    pass(Duration::ZERO).await;
    let second = tokio::spawn({
        let health = health.clone();
        async move { health.run(tokio::time::sleep(Duration::from_secs(1))).await }
    });
    pass(Duration::from_secs(2)).await;
    assert!(second.is_finished() && health.report().is_running);
    assert_eq!(dependency.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn thresholds_keep_what_fails_now_and_then() {
    let dependency = Dependency::new(Answer::Well);
    let check = dependency.check("db").critical().steady();
    let (health, _stop) = run(vec![check.period(Duration::from_secs(10))]);
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
    let (well, ill) = (Status::Healthy, Status::Unhealthy);
    assert_eq!(statuses, [well, well, ill, ill, well]);
}

#[tokio::test(start_paused = true)]
async fn informational_checks_and_degraded_outcomes() {
    let outcome = || async { Ok::<_, &str>(Outcome::degraded("slow").detail("latency_ms", 7)) };
    let failing = || async { Err::<(), _>("down") };
    let builder = Health::builder().check(Check::new("news", failing).informational());
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.report().status, Status::Healthy);
    assert_eq!(health.report().checks[0].status, Status::Degraded);
    let (health, _stop) = run_with(Health::builder().check(Check::new("db", outcome).critical()));
    pass(Duration::ZERO).await;
    assert_eq!(health.report().status, Status::Degraded);
    let details = Details {
        messages: true,
        ..Details::default()
    };
    let request = http::Request::get("/health/readiness/db")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let answer = health.respond_with(&request, &details).unwrap();
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(body["details"], json!({"latency_ms": 7}));
    // A text of what isn't well needs more than that.
    assert_eq!(
        (body.get("message"), &body["duration"]),
        (None, &json!(0.0))
    );
}

#[tokio::test(start_paused = true)]
async fn the_root_cause_is_to_blame() {
    let all: Vec<_> = ["network", "db", "cache", "orders", "news"]
        .map(|name| (name, Dependency::new(Answer::Well)))
        .into();
    let check = |name: &str| {
        let found = all.iter().find(|(of, _)| *of == name).unwrap();
        found.1.check(name).period(Duration::from_secs(1))
    };
    let (health, _stop) = run(vec![
        check("network"),
        check("db").depends_on("network"),
        check("cache").depends_on("network"),
        check("orders").depends_on("db").depends_on("cache"),
        check("news"),
    ]);
    let blamed = || -> Vec<String> {
        let checks = health.report().checks.into_iter();
        let blamed = checks.map(|check| check.impaired_by.join(","));
        blamed.collect()
    };
    for (down, expected) in [
        (&["orders"] as &[_], ["", "", "", "", ""]),
        (&["db", "orders", "news"], ["", "", "", "db", ""]),
        (&["db", "cache", "orders"], ["", "", "", "db,cache", ""]),
        (
            &["network", "db", "cache", "orders"],
            ["", "network", "network", "network", ""],
        ),
        // What is between them is well.
        (&["network", "orders"], ["", "", "", "network", ""]),
    ] {
        for (name, dependency) in &all {
            dependency.set(if down.contains(name) {
                Answer::Fail
            } else {
                Answer::Well
            });
        }
        pass(Duration::from_secs(1)).await;
        assert_eq!(blamed(), expected, "{down:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_have_their_checks_and_their_codes() {
    let (db, mail) = (Dependency::new(Answer::Well), Dependency::new(Answer::Fail));
    let storage = Select::tag("storage")
        .and(Select::all())
        .except(Select::check("cache"));
    let builder = Health::builder()
        .check(db.check("db").tag("storage").critical())
        .check(mail.check("mail"))
        .check(mail.check("cache").tag("storage"))
        .group(Group::new("storage", storage))
        .group(
            Group::new("readiness", Select::check("db").or(Select::check("mail")))
                .code(Status::Degraded, StatusCode::IM_A_TEAPOT),
        );
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.group("storage"), Some(Status::Healthy));
    assert_eq!(health.group("nothing"), None);
    assert_eq!(health.ask("/health/storage").status(), StatusCode::OK);
    assert_eq!(
        health.ask("/health/storage/mail").status(),
        StatusCode::NOT_FOUND
    );
    // The other codes are as they were.
    assert_eq!(health.ask("/readyz").status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(health.ask("/readyz?exclude=mail").status(), StatusCode::OK);
    assert_eq!(health.ask("/health").status(), StatusCode::OK);
    db.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        health.ask("/readyz").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        health.ask("/health/storage/db").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_starts_works_drains_and_stops() {
    let dependency = Dependency::new(Answer::Fail);
    let (health, stop) = run(vec![dependency.check("db").critical()]);
    let hold = health.hold_startup();
    let codes =
        || ["/startupz", "/readyz", "/livez"].map(|path| health.ask(path).status().as_u16());
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
    let draining = tokio::spawn({
        let health = health.clone();
        let signalled = async { drop(signalled.await) };
        async move { health.drain_after(signalled, Duration::from_secs(5)).await }
    });
    pass(Duration::from_secs(1)).await;
    assert_eq!(codes(), [200, 200, 200]);
    drop(signal);
    pass(Duration::ZERO).await;
    assert_eq!(
        (health.phase(), codes()),
        (Phase::Draining, [200, 503, 200])
    );
    let body: Value = serde_json::from_str(health.ask("/health/ready").body()).unwrap();
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

#[tokio::test(start_paused = true)]
async fn what_becomes_of_checks_is_told() {
    let dependency = Dependency::new(Answer::Well);
    let (health, _stop) = run(vec![
        dependency
            .check("db")
            .critical()
            .period(Duration::from_secs(1)),
    ]);
    let mut transitions = health.transitions();
    pass(Duration::ZERO).await;
    dependency.set(Answer::Fail);
    pass(Duration::from_secs(1)).await;
    pass(Duration::from_secs(1)).await;
    // 3 s and the timeout later nobody knows.
    dependency.set(Answer::Hang);
    pass(Duration::from_secs(1)).await;
    let (well, ill, unknown) = (Status::Healthy, Status::Unhealthy, Status::Unknown);
    for (from, to, reason) in [
        (unknown, well, None),
        (well, ill, Some("secret-host:5432 refused")),
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

/// Real threads have real time.
#[tokio::test]
async fn a_call_that_blocks_too_long_is_not_repeated() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (calls, wait) = (Arc::new(AtomicUsize::new(0)), Mutex::new(wait));
    let count = Arc::clone(&calls);
    let check = Check::blocking("stuck", move || {
        if count.fetch_add(1, Ordering::Relaxed) > 0 {
            // Until nobody wants it any more.
            let _ = wait.lock().unwrap().recv();
        }
        Ok::<_, &str>(())
    });
    let check = check
        .period(Duration::from_millis(10))
        .timeout(Duration::from_millis(50));
    let (health, _stop) = run(vec![check.staleness(Duration::from_millis(200))]);
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
    assert!(health.hurry("db") && !health.hurry("other"));
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 2);
    // A stranger is shown what there is.
    health.ask("/readyz/db?refresh=true");
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 2);
    let request = http::Request::get("/readyz/db?verbose&refresh=true");
    let request = request.body(()).unwrap().into_parts().0;
    let details = Details {
        errors: true,
        ..Details::default()
    };
    // Many ask for one call.
    for _ in 0..10 {
        health.respond_with(&request, &details).unwrap();
    }
    pass(Duration::ZERO).await;
    assert_eq!(dependency.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_stops_fails_liveness() {
    let heartbeat = crate::Heartbeat::new("consumer", Duration::from_secs(10));
    let (health, _stop) = run_with(Health::builder().heartbeat(&heartbeat));
    let mut transitions = health.transitions();
    pass(Duration::from_secs(10)).await;
    assert_eq!(health.ask("/livez").status(), StatusCode::OK);
    heartbeat.beat();
    pass(Duration::from_secs(10)).await;
    assert_eq!(health.ask("/livez").status(), StatusCode::OK);
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        health.ask("/livez").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(transitions.next().await.unwrap().to, Status::Healthy);
    let reason = transitions.next().await.unwrap().reason.unwrap();
    assert!(reason.starts_with("silent for 1"), "{reason}");
    heartbeat.beat();
    assert_eq!(health.ask("/livez").status(), StatusCode::OK);
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
        .check(stuck.timeout(short).period(short))
        .check(other.period(short));
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
            Some("no answer within 10ms")
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
    let check = dependency.check("db").critical().thresholds(3, 1);
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

#[tokio::test(start_paused = true)]
async fn a_second_run_goes_on_where_the_first_ends() {
    let dependency = Dependency::new(Answer::Well);
    let (health, first) = run(vec![dependency.check("db")]);
    pass(Duration::ZERO).await;
    let (second, stopped) = oneshot::channel::<()>();
    let other = health.clone();
    tokio::spawn(async move { other.run(async { drop(stopped.await) }).await });
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

#[tokio::test(start_paused = true)]
async fn what_an_answer_says_is_what_its_code_says() {
    let (db, mail) = (Dependency::new(Answer::Well), Dependency::new(Answer::Fail));
    let group = Group::new("readiness", Select::all())
        .code(Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
        .code(Status::Unhealthy, StatusCode::OK);
    let builder = Health::builder()
        .check(db.check("db").critical())
        .check(mail.check("mail"));
    let (health, _stop) = run_with(builder.group(group));
    pass(Duration::ZERO).await;
    let asked = |accept: &str| {
        let request = http::Request::get("/health/ready").header("accept", accept);
        let request = request.body(()).unwrap().into_parts().0;
        let answer = health.respond(&request).unwrap();
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        (answer.status().as_u16(), body["status"].clone())
    };
    assert_eq!(asked("*/*"), (503, "not_ready".into()));
    assert_eq!(asked("application/health+json"), (503, "fail".into()));
    db.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(asked("*/*"), (200, "ready".into()));
    assert_eq!(asked("application/health+json"), (200, "warn".into()));
    // But none is ready that drains.
    health.drain();
    assert_eq!(asked("*/*"), (503, "not_ready".into()));
    let of_one = health.ask("/health/ready/db?exclude=db");
    assert!(
        of_one.body().contains(r#""name":"db""#),
        "{}",
        of_one.body()
    );
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
            "no answer within 1s",
            "the check panicked",
            "the check panicked"
        ]
    );
    pass(Duration::from_secs(2)).await;
    while calls.load(Ordering::Relaxed) < 6 {
        pass(Duration::from_millis(1)).await;
    }
}

/// An expression that selects checks, as code and as the checks' numbers.
fn select(random: &mut fastrand::Rng, tags: &[Vec<usize>], depth: usize) -> (Select, Vec<bool>) {
    let all = tags.len();
    let both = |random: &mut fastrand::Rng| {
        (
            select(random, tags, depth - 1),
            select(random, tags, depth - 1),
        )
    };
    let merged = |one: Vec<bool>, other: Vec<bool>, merge: fn(bool, bool) -> bool| -> Vec<bool> {
        one.into_iter()
            .zip(other)
            .map(|(one, other)| merge(one, other))
            .collect()
    };
    match random.usize(..if depth == 0 { 3 } else { 6 }) {
        0 => (Select::all(), vec![true; all]),
        1 => {
            let number = random.usize(..all);
            let only = (0..all).map(|other| other == number).collect();
            (Select::check(format!("c{number}")), only)
        }
        2 => {
            let tag = random.usize(..3);
            let tagged = tags.iter().map(|tags| tags.contains(&tag)).collect();
            (Select::tag(format!("t{tag}")), tagged)
        }
        3 => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.or(other),
                merged(ones, others, |one, other| one || other),
            )
        }
        4 => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.and(other),
                merged(ones, others, |one, other| one && other),
            )
        }
        _ => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.except(other),
                merged(ones, others, |one, other| one && !other),
            )
        }
    }
}

#[test]
fn groups_agree_with_the_rule_read_off_a_list() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let count = random.usize(3..9);
        // Each tag has one check at least.
        let tags: Vec<Vec<usize>> = (0..count)
            .map(|number| {
                (0..3)
                    .filter(|tag| number == *tag || random.bool())
                    .collect()
            })
            .collect();
        let importances: Vec<usize> = (0..count).map(|_| random.usize(..3)).collect();
        let mut builder = Health::builder();
        for number in 0..count {
            let check = Check::new(format!("c{number}"), || async { Ok::<_, &str>(()) });
            let check = tags[number]
                .iter()
                .fold(check, |check, tag| check.tag(format!("t{tag}")));
            builder = builder.check(match importances[number] {
                0 => check.critical(),
                1 => check,
                _ => check.informational(),
            });
        }
        let (selected, members) = select(&mut random, &tags, 3);
        let health = builder.group(Group::new("some", selected)).build().unwrap();
        // 0 for no result, else how bad it is.
        let results: Vec<usize> = (0..count).map(|_| random.usize(..4)).collect();
        for (number, result) in results.iter().enumerate() {
            let outcome = match result {
                0 => continue,
                1 => Outcome::healthy(),
                2 => Outcome::degraded("slow"),
                _ => Outcome::unhealthy("down"),
            };
            let now = clock::now();
            health.inner().checks[number].note(outcome, Duration::ZERO, now, clock::wall());
        }
        let judged = |is_member: &dyn Fn(usize) -> bool| {
            let of = |number: usize| match (importances[number], results[number]) {
                (2, _) | (_, 1) => Status::Healthy,
                (0, 0 | 3) => Status::Unhealthy,
                _ => Status::Degraded,
            };
            let members = (0..count).filter(|number| is_member(*number));
            members.map(of).max().unwrap_or(Status::Healthy)
        };
        assert_eq!(health.report().status, judged(&|_| true));
        let expected = judged(&|number| members[number]);
        assert_eq!(health.group("some"), Some(expected));
        let excluded = random.usize(..count);
        let expected = judged(&|number| members[number] && number != excluded);
        let code = health
            .ask(&format!("/health/some?exclude=c{excluded}"))
            .status();
        assert_eq!(code == StatusCode::OK, expected != Status::Unhealthy);
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn routes_answer_with_and_without_a_final_slash() {
    use tower::ServiceExt;

    let watched = Health::builder().watchdog(crate::Watchdog::new());
    let routes = watched.build().unwrap().routes();
    for path in Health::PATHS {
        let path = path
            .replace("{group}", "liveness")
            .replace("{check}", "executor");
        for (method, expected) in [("GET", 200), ("HEAD", 200), ("POST", 405)] {
            let request = http::Request::builder()
                .method(method)
                .uri(&path)
                .body(axum::body::Body::empty())
                .unwrap();
            let response = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), expected, "{method} {path}");
        }
    }
}

#[test]
fn types_can_be_shared() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(Health, HealthBuilder, Check, Report, crate::BuildError)>();
}
