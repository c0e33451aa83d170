use std::sync::atomic::{AtomicU16, Ordering};

use campanile_alerts::{Rule, Severity};
use campanile_health::{Check, Health};
use campanile_metrics::Registry;
use campanile_metrics::collectors::{BusinessCollector, BusinessMetrics};
use campanile_sla::{ServiceLevels, Slo};
use futures_util::FutureExt;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;
use crate::{Peer, Role, Sources, Token};

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
enum Who {
    Stranger,
    Local,
    LocalThroughProxy,
    BadToken,
    TwoTokens,
    Bearer(Role),
}

const EVERYBODY: [Who; 8] = [
    Who::Stranger,
    Who::Local,
    Who::LocalThroughProxy,
    Who::BadToken,
    Who::TwoTokens,
    Who::Bearer(Role::Viewer),
    Who::Bearer(Role::Operator),
    Who::Bearer(Role::Admin),
];

struct World {
    monitor: Monitor,
    secrets: [(Role, String); 3],
    asked: AtomicU16,
}

/// What a monitor is told of credentials.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Credentials {
    Tokens,
    Loopback,
    Nothing,
}

impl World {
    fn new() -> Self {
        Self::with(BusinessMetrics::default(), Credentials::Tokens)
    }

    fn with(business: BusinessMetrics, credentials: Credentials) -> Self {
        let sla = ServiceLevels::builder()
            .slo(Slo::availability("availability", "99.9%"))
            .slo(
                Slo::throughput("throughput", 1_000.0).over(std::time::Duration::from_secs(3_600)),
            );
        let check = Check::new("db", || async {
            Err::<(), _>("password authentication failed")
        });
        let sources = Sources::new(
            Registry::new(),
            Health::builder().check(check).build().unwrap(),
            sla.build_at(Now::system()).unwrap(),
        );
        let rule = Rule::when("Always", |_| true)
            .severity(Severity::High)
            .summary("it always is");
        let roles = [Role::Viewer, Role::Operator, Role::Admin];
        let tokens = roles.map(|role| Token::generate(role.as_str(), role).unwrap());
        let builder = Monitor::builder(sources).rule(rule).business(business);
        let builder = match credentials {
            Credentials::Tokens => tokens
                .iter()
                .fold(builder, |builder, (token, _)| builder.token(token.clone())),
            Credentials::Loopback => builder,
            Credentials::Nothing => builder.trust_loopback(false),
        };
        let secrets = tokens.map(|(token, secret)| (token.role(), secret));
        Self {
            monitor: builder.build().unwrap(),
            secrets,
            asked: AtomicU16::new(0),
        }
    }

    fn ask(&self, who: Who, method: &str, path: &str) -> Response<String> {
        let mut request = Request::new(());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("host", "localhost:8000".parse().unwrap());
        let bearer = |headers: &mut HeaderMap, secret: &str| {
            headers.append("authorization", format!("Bearer {secret}").parse().unwrap())
        };
        match who {
            Who::Stranger | Who::Local => {}
            Who::LocalThroughProxy => {
                drop(headers.insert("x-forwarded-for", "1.1.1.1".parse().unwrap()))
            }
            Who::BadToken => drop(bearer(headers, "0123456789")),
            Who::TwoTokens => {
                bearer(headers, &self.secrets[2].1);
                bearer(headers, &self.secrets[2].1);
            }
            Who::Bearer(role) => {
                let (_, secret) = self.secrets.iter().find(|(one, _)| *one == role).unwrap();
                bearer(headers, secret);
            }
        }
        // Each from another address, so that none has too many guesses.
        let [high, low] = self.asked.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let network = match who {
            Who::Local | Who::LocalThroughProxy | Who::BadToken | Who::TwoTokens => 127,
            Who::Stranger | Who::Bearer(_) => 10,
        };
        let peer = ([network, 0, high, low], 5_000).into();
        request.extensions_mut().insert(Peer(peer));
        whole(self.monitor.respond(&request.into_parts().0))
    }

    fn json(&self, who: Who, path: &str) -> Value {
        serde_json::from_str(self.ask(who, "GET", path).body()).unwrap()
    }
}

/// Figures that anybody who may read sees; what a query failed with only somebody with a credential.
#[tokio::test(start_paused = true)]
async fn what_a_collector_failed_with_is_for_credentials() {
    let fails = || async { Err::<Value, _>("password authentication failed") };
    let works = || async { Ok::<_, String>(serde_json::json!({"active": 5})) };
    let collectors = vec![
        BusinessCollector::new("orders", fails),
        BusinessCollector::new("users", works),
    ];
    let builder = collectors
        .into_iter()
        .fold(BusinessMetrics::builder(), |builder, collector| {
            builder.collector(collector)
        });
    let business = builder.register(&Registry::new()).unwrap();
    business
        .run(tokio::time::sleep(std::time::Duration::from_secs(1)))
        .await;
    for (credentials, who, error) in [
        (Credentials::Loopback, Who::Local, "failed"),
        (
            Credentials::Tokens,
            Who::Bearer(Role::Viewer),
            "password authentication failed",
        ),
    ] {
        let world = World::with(business.clone(), credentials);
        let body = world.json(who, "/metrics/business");
        assert_eq!(body["orders"]["error"], error);
        assert_eq!(
            (&body["users"]["active"], &body["users"]["stale"]),
            (&5.into(), &false.into())
        );
    }
}

/// Reads a body that waits for nothing.
fn whole(response: Response<Body>) -> Response<String> {
    response.map(|body| {
        let collected = body.collect().now_or_never().unwrap();
        let bytes = collected.unwrap_or_else(|never| match never {}).to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    })
}

/// Every route, with every way to configure credentials, by everybody, with every method, with and without a final slash.
#[test]
fn the_guard_stands_before_every_route() {
    for credentials in [
        Credentials::Tokens,
        Credentials::Loopback,
        Credentials::Nothing,
    ] {
        check_every_route(credentials);
    }
}

fn check_every_route(credentials: Credentials) {
    let world = World::with(BusinessMetrics::default(), credentials);
    let mut asked = 0;
    for route in Monitor::route_table() {
        let path = [
            ("{name}", "availability"),
            ("{group}", "readiness"),
            ("{check}", "db"),
        ]
        .into_iter()
        .fold(route.path().to_owned(), |path, (name, value)| {
            path.replace(name, value)
        });
        for (who, slash) in EVERYBODY
            .into_iter()
            .flat_map(|who| [(who, ""), (who, "/")])
        {
            let has_tokens = credentials == Credentials::Tokens;
            let may = match (route.access(), who) {
                (Access::Public, _) => true,
                (Access::Read, Who::Local) => credentials == Credentials::Loopback,
                (Access::Read, Who::Bearer(_)) => has_tokens,
                (Access::Role(least), Who::Bearer(role)) => has_tokens && role >= least,
                (Access::Read | Access::Role(_), _) => false,
            };
            for method in [
                "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
                "get", "JUNK",
            ] {
                let response = world.ask(who, method, &format!("{path}{slash}"));
                let status = response.status().as_u16();
                let told = (
                    response.headers().get("www-authenticate").is_some(),
                    response.headers().get("allow").is_some(),
                );
                let is_read = matches!(method, "GET" | "HEAD");
                let expected = match (may, is_read) {
                    (false, _) => (401, (true, false)),
                    (true, false) => (405, (false, true)),
                    // A restart does not repair a dependency.
                    (true, true) if ["/livez/db", "/startupz/db"].contains(&&*path) => {
                        (404, (false, false))
                    }
                    (true, true) => (200, (false, false)),
                };
                assert_eq!(
                    (status, told),
                    expected,
                    "{credentials:?} {who:?} {method} {path}{slash}"
                );
                asked += 1;
            }
        }
    }
    assert_eq!(
        asked,
        Monitor::route_table().len() * EVERYBODY.len() * 2 * 11
    );
}

/// A proxy on the same machine that adds no header sends just this.
#[test]
fn a_local_client_has_no_privilege_once_there_is_a_token() {
    for (credentials, status) in [
        (Credentials::Loopback, StatusCode::OK),
        (Credentials::Tokens, StatusCode::UNAUTHORIZED),
        (Credentials::Nothing, StatusCode::UNAUTHORIZED),
    ] {
        let world = World::with(BusinessMetrics::default(), credentials);
        let response = world.ask(Who::Local, "GET", "/metrics/business");
        assert_eq!(response.status(), status, "{credentials:?}");
    }
}

#[test]
fn metrics_and_health_are_all_that_is_public() {
    for route in Monitor::route_table() {
        let is_public = route.path() == "/metrics"
            || ["/health", "/livez", "/readyz", "/startupz"]
                .iter()
                .any(|begin| route.path().starts_with(begin));
        assert_eq!(
            route.access() == Access::Public,
            is_public,
            "{}",
            route.path()
        );
    }
}

#[test]
fn only_the_paths_of_the_table_are_served() {
    let world = World::new();
    for path in [
        "/",
        "//",
        "/metric",
        "/METRICS",
        "//metrics",
        "/metrics//",
        "/metrics/x",
        "/metrics;a=b",
        "/%6detrics",
        "/./metrics",
        "/health/x/../../metrics",
        "/health/nothing",
        "/health/readiness/nothing",
        "/health/readiness/db/x",
        "/livez/db",
        "/readyz//",
        "/monitoring/sla/a/b",
        "/monitoring/sla//",
        "/monitoring",
        "/api/v1/monitor/alerts",
        "/api/v1/monitor/alerts/active/x",
        "*",
    ] {
        for who in EVERYBODY {
            assert_eq!(
                world.ask(who, "GET", path).status(),
                StatusCode::NOT_FOUND,
                "{who:?} {path}"
            );
        }
    }
    // A query is no part of the path.
    assert_eq!(
        world
            .ask(Who::Stranger, "GET", "/monitoring/sla?/metrics")
            .status(),
        StatusCode::UNAUTHORIZED
    );
}

#[test]
fn no_answer_has_a_secret() {
    let world = World::new();
    for route in Monitor::route_table() {
        let response = world.ask(Who::Bearer(Role::Admin), "GET", route.path());
        for (_, secret) in &world.secrets {
            assert!(
                !format!("{response:?} {:?}", world.monitor).contains(secret),
                "{}",
                route.path()
            );
        }
    }
}

#[test]
fn refusals_are_counted() {
    let world = World::new();
    world.ask(Who::Stranger, "GET", "/monitoring/sla");
    world.ask(Who::LocalThroughProxy, "GET", "/monitoring/sla");
    world.ask(Who::BadToken, "GET", "/monitoring/sla");
    world.ask(Who::TwoTokens, "GET", "/monitoring/sla");
    // A scraper that sends `Basic`, or two headers, to a public route is no attack. A guess is one on every route.
    world.ask(Who::TwoTokens, "GET", "/metrics");
    for path in ["/metrics", "/health/detailed", "/livez"] {
        world.ask(Who::BadToken, "GET", path);
    }
    let page = world.ask(Who::Stranger, "GET", "/metrics");
    for (reason, count) in [
        ("missing", 2),
        ("malformed", 1),
        ("unknown", 4),
        ("forbidden", 0),
        ("rate_limited", 0),
    ] {
        let line = format!("campanile_auth_failures_total{{reason=\"{reason}\"}} {count}\n");
        assert!(
            page.body().contains(&line),
            "{line} is not in {}",
            page.body()
        );
    }
}

/// A public route doesn't tell whether a secret is right for longer than a minute's guesses.
#[test]
fn too_many_guesses_get_no_answer() {
    let world = World::new();
    let ask = |path: &str, secret: &str| {
        let request = Request::get(path)
            .header("authorization", format!("Bearer {secret}"))
            .extension(Peer("10.0.0.9:1".parse().unwrap()));
        let request = request.body(()).unwrap().into_parts().0;
        whole(world.monitor.respond(&request))
    };
    for _ in 0..30 {
        assert_eq!(ask("/health/detailed", "guess").status(), StatusCode::OK);
    }
    for secret in ["guess", &world.secrets[2].1] {
        // The public answer is that to a stranger, so that a probe with a foreign credential goes on.
        let answer = ask("/health/detailed", secret);
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.body().contains("message"), "{}", answer.body());
        let response = ask("/monitoring/sla", secret);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let retry_after = response.headers()["retry-after"].to_str().unwrap();
        assert!(
            (1..=60).contains(&retry_after.parse().unwrap()),
            "{retry_after}"
        );
    }
    let page = world.ask(Who::Stranger, "GET", "/metrics").into_body();
    for (reason, count) in [("unknown", 30), ("rate_limited", 4)] {
        let line = format!("campanile_auth_failures_total{{reason=\"{reason}\"}} {count}\n");
        assert!(page.contains(&line), "{page}");
    }
}

#[test]
fn slos_are_rendered() {
    let world = World::new();
    let sla = world.monitor.sources().sla();
    let now = Now::system();
    for good in [true, true, true, false] {
        sla.record_at(good, std::time::Duration::from_millis(5), now.mono);
    }
    let report = world.json(Who::Bearer(Role::Viewer), "/monitoring/sla");
    assert_eq!(report["overall_status"], "provisional");
    assert!(report["timestamp"].as_str().unwrap().ends_with('Z'));
    let availability = &report["metrics"]["availability"];
    let named = [
        "name",
        "target",
        "current",
        "unit",
        "status",
        "measurement_period",
        "samples",
    ]
    .map(|name| availability[name].clone());
    assert_eq!(
        named,
        [
            json!("availability"),
            json!(99.9),
            json!(75.0),
            json!("%"),
            json!("provisional"),
            json!("30d"),
            json!(4)
        ]
    );
    assert_eq!(availability["samples_needed"], 1_000);
    assert_eq!(availability["is_estimated"], true);
    assert!(availability["coverage"].as_f64().unwrap() < 0.001);
    assert_eq!(
        report["sla_definitions"]["throughput"],
        json!({"target": 1000.0, "unit": "req/s", "period": "1h"})
    );
    let one = world.json(Who::Bearer(Role::Viewer), "/monitoring/sla/availability");
    assert_eq!(one["samples"], availability["samples"]);
    let response = world.ask(Who::Bearer(Role::Viewer), "GET", "/monitoring/sla/nothing");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body: Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(
        (&body["code"], &body["known"]),
        (&json!("not_found"), &json!(["availability", "throughput"]))
    );
}

#[tokio::test]
async fn active_alerts_are_shown() {
    let world = World::new();
    let none = world.json(Who::Bearer(Role::Viewer), "/api/v1/monitor/alerts/active");
    assert_eq!((&none["total"], &none["alerts"]), (&json!(0), &json!([])));
    world.monitor.alerts().tick(Now::system()).await;
    let body = world.json(Who::Bearer(Role::Viewer), "/api/v1/monitor/alerts/active");
    let alert = &body["alerts"][0];
    let fingerprint = alert["fingerprint"].as_str().unwrap();
    let id = alert["id"].as_str().unwrap();
    assert!(
        id.strip_prefix(fingerprint).unwrap()[1..]
            .parse::<u64>()
            .unwrap()
            > 1_700_000_000_000,
        "{id}"
    );
    let named = [
        "name",
        "severity",
        "status",
        "message",
        "value",
        "awaiting_history",
    ]
    .map(|name| alert[name].clone());
    assert_eq!(
        named,
        [
            json!("Always"),
            json!("high"),
            json!("firing"),
            json!("it always is"),
            json!(1.0),
            json!(false)
        ]
    );
    assert_eq!(
        alert["labels"],
        json!({"alertname": "Always", "severity": "high"})
    );
    assert_eq!(alert["starts_at"], alert["active_at"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_check_failed_with_is_for_credentials() {
    let world = World::new();
    let health = world.monitor.sources().health().clone();
    let running = tokio::spawn(health.run(std::future::pending()));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for who in EVERYBODY {
        let body = world.json(who, "/health/detailed");
        assert_eq!(body["checks"][0]["status"], "degraded", "{who:?}");
        assert_eq!(body["store"], "memory: its contents end with the process");
        let is_bearer = matches!(who, Who::Bearer(_));
        assert_eq!(
            body["checks"][0]["message"] == "password authentication failed",
            is_bearer,
            "{who:?}"
        );
        assert_eq!(body.to_string().contains("password"), is_bearer, "{who:?}");
        assert!(!world.ask(who, "GET", "/health").body().contains("password"));
    }
    running.abort();
}

/// Asks as a viewer, with an `Accept`.
fn ask_for(world: &World, path: &str, accept: &str) -> (StatusCode, String, String) {
    let request = Request::get(path)
        .header("host", "localhost")
        .header("accept", accept)
        .header("authorization", format!("Bearer {}", world.secrets[0].1));
    let request = request.body(()).unwrap().into_parts().0;
    let response = whole(world.monitor.respond(&request));
    let media_type = response.headers()["content-type"].to_str().unwrap();
    let media_type = media_type.to_owned();
    (response.status(), media_type, response.into_body())
}

#[test]
fn service_levels_are_shown_in_three_forms() {
    let world = World::new();
    let sla = world.monitor.sources().sla();
    let now = Now::system();
    for number in 0..1_001 {
        sla.record_at(number > 0, std::time::Duration::from_millis(5), now.mono);
    }
    let adjustment = campanile_sla::Adjustment::new(now.wall, 1)
        .reason("<b>\"a\" & 'b'</b>")
        .author("ada");
    sla.exclude_failures_at("availability", adjustment, Now::system())
        .unwrap();
    let (_, media_type, html) = ask_for(&world, "/monitoring/sla", "text/html,*/*;q=0.8");
    assert_eq!(media_type, "text/html; charset=utf-8");
    assert!(
        html.contains("<td>availability<td>99.9 %<td>100.0000 %<td class=\"compliant\">compliant (the window is not full yet)"),
        "{html}"
    );
    assert!(
        html.contains("&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;"),
        "{html}"
    );
    let (_, media_type, csv) = ask_for(&world, "/monitoring/sla", "text/csv");
    assert_eq!(media_type, "text/csv; charset=utf-8");
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("name,target,current,unit,status,window,from,until,samples,bad,"));
    assert!(
        lines[1].starts_with("availability,99.9,100,%,compliant,30d,"),
        "{csv}"
    );
    assert!(
        lines
            .iter()
            .take(3)
            .all(|line| line.split(',').count() == 16),
        "{csv}"
    );
    let (_, media_type, _) = ask_for(&world, "/monitoring/sla", "*/*");
    assert_eq!(media_type, "application/json");
    let (_, _, one) = ask_for(&world, "/monitoring/sla/throughput", "text/csv");
    assert_eq!(one.lines().count(), 2);
    let (_, _, html) = ask_for(&world, "/monitoring/sla/throughput", "text/html");
    assert!(html.contains("throughput") && !html.contains("availability"));
    // Its verdict is its own, and not that of all.
    let (_, _, html) = ask_for(&world, "/monitoring/sla/availability", "text/html");
    assert!(html.contains(": compliant.</p>"), "{html}");
}

#[test]
fn a_month_has_a_report() {
    let world = World::new();
    let now = Now::system();
    world
        .monitor
        .sources()
        .sla()
        .record_at(false, std::time::Duration::ZERO, now.mono);
    let month = &response::timestamp(now.wall)[..7];
    let path = format!("/monitoring/sla?month={month}&zone=Etc%2FUTC");
    let (status, _, body) = ask_for(&world, &path, "application/json");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["monthly_report"]["month"], *month);
    assert_eq!(body["monthly_report"]["is_final"], false);
    assert_eq!(body["metrics"]["availability"]["bad"], 1);
    let (_, _, html) = ask_for(
        &world,
        &format!("/monitoring/sla?month={month}"),
        "text/html",
    );
    assert!(
        html.contains(&format!("Service levels in {month}")),
        "{html}"
    );
    let path = format!("/monitoring/sla/availability?month={month}&zone=Etc%2FGMT%2B5");
    let (_, _, body) = ask_for(&world, &path, "application/json");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["measurement_period"], "month in Etc/GMT+5");
    for query in [
        "month=2026",
        "month",
        "month=1999-01",
        "month=2026-11&zone=Mars",
        "zone=UTC",
        "mont=2026-11",
        "month=%2",
        "month=%ff",
    ] {
        let path = format!("/monitoring/sla?{query}");
        let (status, _, body) = ask_for(&world, &path, "application/json");
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], "bad_request");
    }
}
