use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{advance, timeout};

use super::*;
use crate::{Group, HealthBuilder, Outcome, Phase, Report, ResponseDetail, Select};

mod calls;
mod groups;
mod life;

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
    let answer = health.get(path);
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
    // No check has run yet.
    assert_eq!(
        status(&health, "/health"),
        (503, json!({"status": "unhealthy"}))
    );
    assert_eq!(
        status(&health, "/health/ready"),
        (503, json!({"status": "not_ready"}))
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
    // The error is in the report only.
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
        assert_eq!(health.get(path).status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_run_no_check_and_old_results_are_unknown() {
    let dependency = Dependency::new(Answer::Well);
    let (health, stop) = run(vec![dependency.check("db").critical()]);
    pass(Duration::ZERO).await;
    for _ in 0..1_000 {
        health.get("/health/ready");
    }
    assert_eq!(dependency.calls(), 1);

    drop(stop);
    // Three intervals and the timeout.
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
            .contains("not running")
    );
    assert_eq!(dependency.calls(), 1);
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
