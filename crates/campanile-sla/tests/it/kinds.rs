use std::convert::Infallible;

use campanile_http::{Observe, ObserveLayer, Route};
use campanile_sla::{Bound, RecorderError, ServiceLevels, SliObserver, Slo, SloStatus, Source};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use super::*;

/// Sends a request, with an immediate response.
pub(crate) async fn send(sla: &ServiceLevels, route: &'static str, status: u16, agent: &str) {
    respond(ObserveLayer::new(sla.observer()), route, status, agent).await;
}

/// Sends a request at a time.
pub(crate) async fn send_at(sla: &ServiceLevels, route: &'static str, status: u16, at: Instant) {
    let clock = campanile_http::Clock::new(move || at);
    let layer = ObserveLayer::builder(sla.observer()).clock(clock);
    respond(layer.build(), route, status, "curl").await;
}

async fn respond(layer: ObserveLayer<SliObserver>, route: &'static str, status: u16, agent: &str) {
    let service = layer.layer(tower::service_fn(move |_: Request<Full<&'static [u8]>>| {
        let mut response = Response::new(Full::new(&b""[..]));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    let service: Observe<_, SliObserver> = service;
    let request = Request::get("/").header("user-agent", agent);
    let request = request.extension(Route::from_static(route));
    let request = request.body(Full::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

fn counts(sla: &ServiceLevels, name: &str, now: Now) -> (u64, u64) {
    let report = sla.slo_report_at(name, now).unwrap();
    (report.samples - report.bad, report.bad)
}

#[tokio::test]
async fn requests_count_for_the_slos_that_match_them() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::availability("all", "99%"))
        .slo(
            Slo::availability("orders", "99%")
                .route("/orders")
                .route("/orders/{id}"),
        )
        .slo(Slo::availability("shed", "99%").good_if(|end| end.status() != 500))
        .slo(Slo::availability("paid", "99%").valid_if(|end| end.status() != 402))
        .slo(Slo::availability("bots", "99%").filter(|head| {
            let agent = head.headers().get("user-agent");
            agent.is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe"))
        }))
        .slo(Slo::error_rate("routes", "50%").per_route(2))
        .build_at(start)
        .unwrap();
    send(&sla, "/orders", 200, "curl").await;
    send(&sla, "/orders/{id}", 503, "curl").await;
    send(&sla, "/orders/{id}", 500, "curl").await;
    send(&sla, "/pay", 402, "curl").await;
    send(&sla, "/pay", 503, "curl").await;
    send(&sla, "/pay", 200, "kube-probe/1.31").await;
    send(&sla, "/pay", 500, "Prometheus/2.42.0").await;
    let now = start + MINUTE;
    assert_eq!(counts(&sla, "all", now), (2, 3));
    assert_eq!(counts(&sla, "orders", now), (1, 2));
    assert_eq!(counts(&sla, "shed", now), (4, 1));
    assert_eq!(counts(&sla, "paid", now), (1, 3));
    assert_eq!(counts(&sla, "bots", now), (1, 0));
    let routes = sla.slo_report_at("routes", now).unwrap().routes;
    let routes: Vec<_> = routes
        .iter()
        .map(|route| (&*route.route, route.samples, route.bad, route.consumed))
        .collect();
    // Half of the five requests may be bad.
    assert_eq!(
        routes,
        [
            ("/orders/{id}", 2, 2, 0.8),
            ("_other_", 2, 1, 0.4),
            ("/orders", 1, 0, 0.0)
        ]
    );
}

#[tokio::test]
async fn a_predicate_that_panics_excludes_one_request_from_one_slo() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::availability("broken", "99%").good_if(|_| panic!("no")))
        .slo(Slo::availability("whole", "99%").valid_if(|_| true))
        .build_at(start)
        .unwrap();
    send(&sla, "/", 200, "curl").await;
    assert_eq!(counts(&sla, "broken", start), (0, 0));
    assert_eq!(counts(&sla, "whole", start), (1, 0));
}

#[test]
fn each_latency_is_compared_with_the_limit() {
    let start = start();
    let bound = Duration::from_millis(250);
    let sla = ServiceLevels::builder()
        .slo(Slo::latency("fast", "99%", bound).source(Source::Manual))
        .slo(Slo::success_within("both", "99%", bound).source(Source::Manual))
        .slo(Slo::latency_percentile("p90", "90%", bound).source(Source::Manual))
        .slo(Slo::mean_latency("mean", bound).source(Source::Manual))
        .build_at(start)
        .unwrap();
    let tick = Duration::from_nanos(1);
    for (good, latency) in [
        (true, bound),
        (true, bound + tick),
        (false, Duration::ZERO),
        (false, bound + tick),
    ] {
        for name in ["fast", "both", "p90", "mean"] {
            sla.event_recorder(name)
                .unwrap()
                .record_at(good, latency, start.mono);
        }
    }
    assert_eq!(counts(&sla, "fast", start), (2, 2));
    assert_eq!(counts(&sla, "both", start), (1, 3));
    let p90 = sla.slo_report_at("p90", start).unwrap();
    assert!((p90.current.unwrap() - 250.0).abs() <= 2.5, "{p90:?}");
    assert_eq!(p90.unit, "ms");
    let mean = sla.slo_report_at("mean", start).unwrap();
    assert!((mean.current.unwrap() - 187.5).abs() < 0.001, "{mean:?}");
    // HTTP requests are not counted.
    sla.record_at(false, SECOND, start.mono);
    assert_eq!(counts(&sla, "fast", start), (2, 2));
}

#[test]
fn uptime_counts_time() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::uptime("up", "99%").over(HOUR).source(Source::Manual))
        .build_at(start)
        .unwrap();
    let up = sla.uptime_recorder("up").unwrap();
    let report = |now| sla.slo_report_at("up", now).unwrap();
    assert_eq!(report(start + MINUTE).status, SloStatus::NoData);
    up.set_at(true, (start + MINUTE).mono);
    up.set_at(false, (start + MINUTE * 11).mono);
    up.set_at(false, (start + MINUTE * 11 + SECOND).mono);
    up.set_at(true, (start + MINUTE * 12).mono);
    up.set_at(None, (start + MINUTE * 21).mono);
    let now = start + MINUTE * 30;
    assert_eq!(counts(&sla, "up", now), (19 * 60_000, 60_000));
    let report = report(now);
    assert_eq!(report.current, Some(95.0));
    assert_eq!(report.status, SloStatus::Violated);
    // The time is covered, although its state was unknown at first.
    assert_eq!(report.coverage, 0.5);
}

#[test]
fn the_time_without_a_process_counts_as_configured() {
    #[track_caller]
    fn check(slo: &Slo, good: u64, bad: u64) {
        let start = start();
        let build = |now| {
            ServiceLevels::builder()
                .slo(slo.clone())
                .build_at(now)
                .unwrap()
        };
        let before = build(start);
        before
            .uptime_recorder("up")
            .unwrap()
            .set_at(true, start.mono);
        let snapshot = before.snapshot_at(start + MINUTE * 10);
        // Only the wall clock shows the time of the restart.
        let back = Now {
            wall: start.wall + MINUTE * 15,
            ..start
        };
        let after = build(back);
        after.uptime_recorder("up").unwrap().set_at(true, back.mono);
        after.restore_at(&snapshot, back + MINUTE).unwrap();
        let now = back + MINUTE * 5;
        assert_eq!(counts(&after, "up", now), (good, bad));
        let report = after.slo_report_at("up", now).unwrap();
        assert_eq!(report.coverage, 15.0 / 60.0);
    }
    let up = Slo::uptime("up", "99%").over(HOUR).source(Source::Manual);
    check(&up, 900_000, 0);
    check(&up.count_restart_as_down(), 900_000, 300_000);
}

#[test]
fn a_gauge_counts_time_slices() {
    let start = start();
    let slo = Slo::gauge("queue", "99%", Bound::AtMost(10.0)).time_slice(SECOND * 10);
    let sla = ServiceLevels::builder().slo(slo).build_at(start).unwrap();
    let queue = sla.gauge_recorder("queue").unwrap();
    for (second, value) in [
        // The mean is 10.
        (0, 5.0),
        (9, 15.0),
        // A slice without a value, and one with NaN only.
        (25, f64::NAN),
        (30, 10.1),
        (45, f64::INFINITY),
        (50, f64::NEG_INFINITY),
        (60, 0.0),
    ] {
        let now = start + SECOND * second;
        sla.tick(now);
        queue.observe_at(value, now.mono);
    }
    assert_eq!(counts(&sla, "queue", start + SECOND * 65), (2, 2));
    sla.tick(start + SECOND * 70);
    assert_eq!(counts(&sla, "queue", start + SECOND * 70), (3, 2));
}

#[test]
fn a_month_starts_with_a_new_budget() {
    // 2026-11-30, 23:00 in Berlin.
    let start = Now {
        wall: start().wall + DAY * 9 + HOUR * 22,
        ..start()
    };
    let window = campanile_sla::Window::month("Europe/Berlin");
    let sla = ServiceLevels::builder()
        .slo(
            Slo::availability("month", "99%")
                .over(window)
                .source(Source::Manual),
        )
        .slo(Slo::availability("days", "99%").source(Source::Manual))
        .build_at(start)
        .unwrap();
    for name in ["month", "days"] {
        sla.event_recorder(name)
            .unwrap()
            .record_at(false, SECOND, start.mono);
    }
    assert_eq!(counts(&sla, "month", start + MINUTE * 59), (0, 1));
    let now = start + HOUR;
    assert_eq!(counts(&sla, "month", now), (0, 0));
    assert_eq!(counts(&sla, "days", now), (0, 1));
    let report = sla.slo_report_at("month", now + HOUR).unwrap();
    assert_eq!(report.from, now.wall);
    assert_eq!(report.until, now.wall + DAY * 31);
    assert_eq!(report.window.to_string(), "month in Europe/Berlin");
    assert_eq!(report.coverage, 1.0);
    // The past month has a report.
    let report = sla
        .monthly_report_at("2026-11", "Europe/Berlin", now + HOUR)
        .unwrap();
    assert!(report.is_final);
    assert_eq!(report.until, now.wall);
    let [month, days] = &report.report.slos[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (month.bad, days.bad, month.status),
        (1, 1, SloStatus::Violated)
    );
    assert_eq!(month.budget.as_ref().unwrap().consumed.round(), 100.0);
    let december = sla
        .monthly_report_at("2026-12", "Europe/Berlin", now + HOUR)
        .unwrap();
    assert!(!december.is_final);
    assert_eq!(december.report.slos[0].status, SloStatus::NoData);
    for (month, zone, said) in [
        (
            "2026-13",
            "UTC",
            "invalid month \"2026-13\": expected a year",
        ),
        ("nov", "UTC", "invalid month \"nov\": expected a year"),
        (
            "+026-11",
            "UTC",
            "invalid month \"+026-11\": expected a year",
        ),
        (
            "2027-01",
            "UTC",
            "invalid month \"2027-01\": expected the current",
        ),
        (
            "2026-08",
            "UTC",
            "invalid month \"2026-08\": expected the current",
        ),
        ("2026-11", "Berlin", "unknown time zone \"Berlin\""),
    ] {
        let error = sla
            .monthly_report_at(month, zone, now)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn a_recorder_of_another_kind_is_an_error() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::availability("a", "99%"))
        .slo(Slo::uptime("u", "99%"))
        .slo(Slo::gauge("g", "99%", Bound::AtLeast(1.0)))
        .slo(Slo::availability("t", "99%").source(Source::Manual))
        .build_at(start)
        .unwrap();
    assert!(
        sla.event_recorder("t").is_ok()
            && sla.uptime_recorder("u").is_ok()
            && sla.gauge_recorder("g").is_ok()
    );
    for name in ["a", "u", "g"] {
        let error = sla.event_recorder(name).unwrap_err();
        assert!(
            matches!(&error, RecorderError::Mismatch { name: of, .. } if of == name),
            "{error}"
        );
    }
    let error = sla.event_recorder("g").unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid recorder for SLO \"g\": expected `gauge_recorder`"
    );
    let error = sla.uptime_recorder("x").unwrap_err().to_string();
    assert_eq!(
        error,
        r#"unknown SLO "x": expected one of "a", "u", "g", "t""#
    );
}

#[test]
fn lints_report_alerts_that_can_never_fire() {
    let sla = ServiceLevels::builder()
        .slo(Slo::availability("strict", "99.9%"))
        .slo(Slo::availability("loose", "90%"))
        .slo(Slo::availability("third", "83.333%").over(DAY * 7))
        .slo(Slo::error_rate("day", "50%").over(DAY))
        .slo(Slo::gauge("coarse", "99%", Bound::AtMost(1.0)).time_slice(MINUTE * 20))
        .build_at(start())
        .unwrap();
    let lints: Vec<_> = sla.lints().iter().map(ToString::to_string).collect();
    assert_eq!(
        lints,
        [
            r#"unreachable burn rate 14.4 of SLO "loose" over 1h: expected a target of at least 93.056%"#,
            r#"too long time slice 20m of SLO "coarse" for the alert over 1h: expected a shorter one"#,
        ]
    );
    let alerts = sla.burn_alerts_at(start());
    let of = |name: &str| alerts.iter().filter(|one| one.slo == name).count();
    assert_eq!(
        (of("strict"), of("loose"), of("third"), of("coarse")),
        (4, 3, 4, 3)
    );
}

#[test]
fn the_target_that_a_lint_recommends_has_the_alert() {
    for percent in [10, 50, 66, 70, 80, 83, 90, 93] {
        let build = |target: String| {
            let slo = Slo::availability("a", target);
            ServiceLevels::builder().slo(slo).build_at(start()).unwrap()
        };
        let sla = build(format!("{percent}%"));
        for lint in &sla.lints() {
            let text = lint.to_string();
            let (_, target) = text.split_once("at least ").unwrap();
            let campanile_sla::Lint::UnreachableBurnRate { long, .. } = lint else {
                panic!("{lint}");
            };
            let better = build(target.to_owned()).burn_alerts_at(start());
            assert!(better.iter().any(|alert| alert.long == *long), "{text}");
        }
    }
}

#[test]
fn routes_are_reported_for_slos_that_track_them() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::error_rate("asked", "1%").over(DAY).per_route(20))
        .slo(Slo::availability("not", "99.9%"))
        .build_at(start)
        .unwrap();
    sla.record_at(false, SECOND, start.mono);
    // `record_at` has no route.
    assert!(sla.slo_report_at("asked", start).unwrap().routes.is_empty());
    assert!(sla.slo_report_at("not", start).unwrap().routes.is_empty());
}

#[tokio::test]
async fn unmatched_routes_are_reported() {
    let start = start();
    let build = || {
        ServiceLevels::builder()
            .slo(Slo::availability("a", "99%").route("/v1/a"))
            .slo(Slo::availability("b", "99%").route("/svc/v1/a"))
            .slo(Slo::availability("c", "99%").route("/c").route("/c/{id}"))
            .build_at(start)
            .unwrap()
    };
    let sla = build();
    for _ in 0..99 {
        send(&sla, "/svc/v1/a", 200, "curl").await;
    }
    assert_eq!(sla.lints(), []);
    send(&sla, "/svc/v1/a", 200, "curl").await;
    let texts =
        |sla: &ServiceLevels| -> Vec<_> { sla.lints().iter().map(ToString::to_string).collect() };
    let rest = "expected a full route template, including the prefix of `nest`, as in the label `endpoint` of the HTTP metrics";
    assert_eq!(
        texts(&sla),
        [
            format!(r#"unmatched route "/v1/a" of SLO "a" after 100 requests: {rest}"#),
            format!(r#"unmatched routes "/c", "/c/{{id}}" of SLO "c" after 100 requests: {rest}"#),
        ]
    );
    let unmatched = |name| sla.slo_report_at(name, start).unwrap().unmatched_routes;
    assert_eq!(unmatched("a"), ["/v1/a"]);
    assert!(unmatched("b").is_empty());
    assert_eq!(unmatched("c"), ["/c", "/c/{id}"]);
    // Requests before a restart count as matches.
    send(&sla, "/v1/a", 200, "curl").await;
    send(&sla, "/c", 200, "curl").await;
    assert_eq!(sla.lints(), []);
    let after = build();
    let snapshot = sla.snapshot_at(start + SECOND * 5);
    after.restore_at(&snapshot, start + SECOND * 5).unwrap();
    for _ in 0..100 {
        send(&after, "/svc/v1/a", 200, "curl").await;
    }
    assert_eq!(after.lints(), []);
}

#[tokio::test]
async fn probes_and_scrapes_do_not_count() {
    let start = start();
    let sla = one(Slo::availability("a", "99%"), start);
    for agent in [
        "kube-probe/1.31",
        "Prometheus/3.1.0",
        "vm_promscrape",
        "ELB-HealthChecker/2.0",
        "GoogleHC/1.0",
    ] {
        send(&sla, "/", 200, agent).await;
    }
    assert_eq!(counts(&sla, "a", start + SECOND), (0, 0));
    send(&sla, "/", 200, "curl/8 GoogleHC/1.0").await;
    assert_eq!(counts(&sla, "a", start + SECOND), (1, 0));
}
