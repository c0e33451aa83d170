use serde_json::{Value as Json, json};

use super::*;
use crate::{Check, Group, Outcome, Select};

/// A service whose checks have run once: well, slow, down and critical, down and not.
async fn health() -> Health {
    let failing = || async { Err::<(), _>("postgres://ada:s3cret@db/ refused\nat once") };
    let slow = || async { Ok::<_, &str>(Outcome::degraded("slow").detail("ms", 7)) };
    let health = Health::builder()
        .check(Check::new("well", || async {
            Ok::<_, &str>(Outcome::healthy().message("fine"))
        }))
        .check(Check::new("slow", slow).critical())
        .check(Check::new("down", failing).critical())
        .check(Check::new("less", failing).depends_on("down"))
        .group(Group::new(
            "some",
            Select::check("well").or(Select::check("slow")),
        ))
        .group(Group::new("none", Select::liveness()))
        .build()
        .unwrap();
    let ran = async {
        while health
            .report()
            .checks
            .iter()
            .any(|check| check.at.is_none())
        {
            tokio::task::yield_now().await;
        }
    };
    health.run(ran).await;
    health
}

fn request(method: &str, path: &str, accept: &str) -> Parts {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, accept);
    request.body(()).unwrap().into_parts().0
}

fn text(health: &Health, path: &str, errors: bool) -> (u16, String) {
    let details = ResponseDetail::new().errors(errors);
    let answer = health
        .respond_with(&request("GET", path, "text/plain"), &details)
        .unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    (answer.status().as_u16(), answer.into_body())
}

#[tokio::test]
async fn the_text_is_kubes() {
    let health = health().await;
    let failed = "[+]well ok\n[+]slow degraded: reason withheld\n[-]down failed: reason withheld\n\
        [+]less degraded: reason withheld\n";
    // It has ended, and so it is out as well.
    let readiness = format!("{failed}[-]stopped failed: reason withheld\nreadyz check failed\n");
    assert_eq!(text(&health, "/readyz", false), (503, readiness));
    assert_eq!(
        text(&health, "/health", false),
        (503, format!("{failed}health check failed\n"))
    );
    assert_eq!(
        text(&health, "/health?exclude=down", false),
        (200, "ok".to_owned())
    );
    let excluded = "[+]well ok\n[+]slow degraded: reason withheld\n[+]down excluded: ok\n\
        [+]less degraded: reason withheld\n\
        warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nhealth check passed\n";
    let path = "/health/?verbose&exclude=a&exclude=down&exclude=b";
    assert_eq!(text(&health, path, false), (200, excluded.to_owned()));
    assert_eq!(text(&health, "/health/some", false), (200, "ok".to_owned()));
    assert_eq!(text(&health, "/livez", false), (200, "ok".to_owned()));
    assert_eq!(
        text(&health, "/livez?verbose", false),
        (200, "[+]ping ok\nlivez check passed\n".to_owned())
    );
    assert_eq!(text(&health, "/readyz/well", false), (200, "ok".to_owned()));
    // One line is one line, whatever the error has, and no secret is in it.
    let reason = "[-]down failed: postgres://[redacted]@db/ refused at once\n";
    assert_eq!(
        text(&health, "/readyz/down", true),
        (503, reason.to_owned())
    );
}

#[tokio::test]
async fn json_has_what_is_allowed() {
    let health = health().await;
    let json = |path: &str, messages: bool, errors: bool| -> Json {
        let details = ResponseDetail::new().messages(messages).errors(errors);
        let details = details.note("store", "memory");
        let answer = health
            .respond_with(&request("GET", path, "*/*"), &details)
            .unwrap();
        let text = answer.into_body();
        assert!(!text.contains("s3cret"));
        serde_json::from_str(&text).unwrap()
    };
    let names = |body: &Json, member: &str| -> Vec<String> {
        let checks = body["checks"].as_array().unwrap().iter();
        let with = checks.filter(|check| check.get(member).is_some());
        with.map(|check| check["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let body = json("/health/detailed", false, false);
    assert_eq!(
        (&body["status"], &body["phase"], &body["store"]),
        (&json!("unhealthy"), &json!("stopped"), &json!("memory"))
    );
    assert_eq!(body["failed_checks"], json!(["slow", "down", "less"]));
    assert_eq!(
        (&body["total_checks"], &body["passed_checks"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(
        body["checks"][3],
        json!({"name": "less", "status": "degraded", "critical": false, "root_causes": ["down"]})
    );
    for member in ["message", "details", "duration", "timestamp"] {
        assert!(names(&body, member).is_empty(), "{member}");
    }
    let body = json("/health/detailed", true, false);
    assert_eq!(names(&body, "message"), ["well"]);
    assert_eq!(names(&body, "details"), ["slow"]);
    assert_eq!(names(&body, "duration").len(), 4);
    let body = json("/health/detailed", true, true);
    assert_eq!(names(&body, "message").len(), 4);
    assert_eq!(
        body["checks"][2]["message"],
        "postgres://[redacted]@db/ refused\nat once"
    );
    let body = json("/health/some?exclude=slow", false, false);
    assert_eq!(
        (&body["status"], &body["excluded_checks"]),
        (&json!("healthy"), &json!(["slow"]))
    );
    assert_eq!(body["checks"].as_array().unwrap().len(), 1);
    assert!(body.get("uptime").is_none() && body.get("store").is_none());
    assert_eq!(
        json("/health/ready/down", false, false),
        json!({"name": "down", "status": "unhealthy", "critical": true})
    );
}

#[tokio::test]
async fn health_json_is_the_drafts() {
    let health = health().await;
    let json = |path: &str, details: &ResponseDetail| -> (u16, Json) {
        let request = request("GET", path, "application/health+json");
        let answer = health.respond_with(&request, details).unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/health+json");
        (
            answer.status().as_u16(),
            serde_json::from_str(answer.body()).unwrap(),
        )
    };
    let (code, body) = json("/health", &ResponseDetail::new());
    let expected = json!({"status": "fail", "checks": {
        "well": [{"status": "pass"}], "slow": [{"status": "warn"}],
        "down": [{"status": "fail"}], "less": [{"status": "warn"}],
    }});
    assert_eq!((code, body), (503, expected));
    assert_eq!(
        json("/livez", &ResponseDetail::new()),
        (200, json!({"status": "pass"}))
    );
    let all = ResponseDetail::new().messages(true).errors(true);
    let (_, body) = json("/health", &all);
    let down = &body["checks"]["down:responseTime"][0];
    assert_eq!(
        (&down["observedUnit"], &down["output"]),
        (
            &json!("ms"),
            &json!("postgres://[redacted]@db/ refused\nat once")
        )
    );
    assert!(down["observedValue"].is_f64() && down["time"].is_string());
    assert!(
        body["checks"]["well:responseTime"][0]
            .get("output")
            .is_none()
    );
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there() {
    let health = health().await;
    let head = health.respond(&request("HEAD", "/health/detailed", "*/*"));
    assert!(head.body().is_empty() && head.headers()[CONTENT_LENGTH] != "0");
    assert_eq!(head.headers()[CACHE_CONTROL], "no-store");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        let answer = health.respond(&request(method, "/livez", "*/*"));
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[ALLOW]),
            (405, &HeaderValue::from_static("GET,HEAD"))
        );
    }
    for path in [
        "/",
        "/healthz",
        "//health",
        "/health//",
        "/Health",
        "/HEALTH",
        "/health/x",
        "/health/some/down",
        "/health/some/well/x",
        "/health/detailed/well",
        "/health/%73ome",
        "/health/..%2fmetrics",
        "/health/../metrics",
        "/health/some;a=b",
        "/livez/well",
        "/readyz/%00",
        "/api/health",
        "/health/ready/",
    ] {
        let request = request("GET", path, "*/*");
        let found = health.respond_with(&request, &ResponseDetail::new());
        assert_eq!(found.is_some(), path == "/health/ready/", "{path}");
        let is_found = health.respond(&request).status() != StatusCode::NOT_FOUND;
        assert_eq!(is_found, path == "/health/ready/", "{path}");
    }
    let long = format!("/health/{}", "x".repeat(16_000));
    assert_eq!(
        health.respond(&request("GET", &long, "*/*")).status(),
        StatusCode::NOT_FOUND
    );
    let many = format!("/health?{}", "exclude=x&".repeat(5_000));
    assert_eq!(
        health.respond(&request("GET", &many, "*/*")).status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn the_version_is_in_the_detailed_forms() {
    let shown = |health: &Health, path: &str, accept: &str| -> Json {
        let answer = health.respond(&request("GET", path, accept));
        let body: Json = serde_json::from_str(answer.body()).unwrap();
        body.get("version").cloned().unwrap_or_default()
    };
    let health = Health::builder().version("1.2.3").build().unwrap();
    let standard = "application/health+json";
    assert_eq!(shown(&health, "/health/detailed", "*/*"), "1.2.3");
    assert_eq!(shown(&health, "/health", standard), "1.2.3");
    assert_eq!(shown(&health, "/readyz", standard), "1.2.3");
    assert_eq!(shown(&health, "/health", "*/*"), Json::Null);
    let none = Health::builder().build().unwrap();
    assert_eq!(shown(&none, "/health", standard), Json::Null);
}
