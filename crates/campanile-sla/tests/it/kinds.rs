use std::convert::Infallible;

use campanile_http::{Observe, ObserveLayer, Route};
use campanile_sla::{Bound, Sla, SliObserver, Slo, Standing, TrackError};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use super::*;

/// Sends a request that is answered at once.
pub(crate) async fn send(sla: &Sla, route: &'static str, status: u16, agent: &str) {
    respond(ObserveLayer::new(sla.observer()), route, status, agent).await;
}

/// Sends a request at a time.
pub(crate) async fn send_at(sla: &Sla, route: &'static str, status: u16, at: Instant) {
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

fn counts(sla: &Sla, name: &str, now: Now) -> (u64, u64) {
    let report = sla.objective(name, now).unwrap();
    (report.samples - report.bad, report.bad)
}

#[tokio::test]
async fn exchanges_count_where_they_are_asked_for() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::availability("all", "99%"))
        .objective(
            Slo::availability("orders", "99%")
                .route("/orders")
                .route("/orders/{id}"),
        )
        .objective(Slo::availability("shed", "99%").good(|end| end.status() != 500))
        .objective(Slo::availability("paid", "99%").valid(|end| end.status() != 402))
        .objective(Slo::availability("bots", "99%").requests(|head| {
            let agent = head.headers().get("user-agent");
            agent.is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe"))
        }))
        .objective(Slo::error_rate("routes", "50%").per_route(2))
        .build(start)
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
    let routes = sla.objective("routes", now).unwrap().routes;
    let routes: Vec<_> = routes
        .iter()
        .map(|route| (&*route.route, route.samples, route.bad, route.consumed))
        .collect();
    // Half of five may be bad.
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
async fn a_closure_that_panics_costs_one_objective_one_exchange() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::availability("broken", "99%").good(|_| panic!("no")))
        .objective(Slo::availability("whole", "99%").valid(|_| true))
        .build(start)
        .unwrap();
    send(&sla, "/", 200, "curl").await;
    assert_eq!(counts(&sla, "broken", start), (0, 0));
    assert_eq!(counts(&sla, "whole", start), (1, 0));
}

#[test]
fn latencies_are_compared_one_by_one() {
    let start = start();
    let bound = Duration::from_millis(250);
    let sla = Sla::builder()
        .objective(Slo::latency("fast", "99%", bound).tracked())
        .objective(Slo::combined("both", "99%", bound).tracked())
        .objective(Slo::percentile("p90", "90%", bound).tracked())
        .objective(Slo::response_time("mean", bound).tracked())
        .build(start)
        .unwrap();
    let tick = Duration::from_nanos(1);
    for (good, latency) in [
        (true, bound),
        (true, bound + tick),
        (false, Duration::ZERO),
        (false, bound + tick),
    ] {
        for name in ["fast", "both", "p90", "mean"] {
            sla.tracker(name).unwrap().record(good, latency, start.mono);
        }
    }
    assert_eq!(counts(&sla, "fast", start), (2, 2));
    assert_eq!(counts(&sla, "both", start), (1, 3));
    let p90 = sla.objective("p90", start).unwrap();
    assert!((p90.current.unwrap() - 250.0).abs() <= 2.5, "{p90:?}");
    assert_eq!(p90.unit, "ms");
    let mean = sla.objective("mean", start).unwrap();
    assert!((mean.current.unwrap() - 187.5).abs() < 0.001, "{mean:?}");
    // Exchanges are something else.
    sla.record(false, SECOND, start.mono);
    assert_eq!(counts(&sla, "fast", start), (2, 2));
}

#[test]
fn uptime_is_time() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::uptime("up", "99%").over(HOUR).tracked())
        .build(start)
        .unwrap();
    let up = sla.uptime("up").unwrap();
    let report = |now| sla.objective("up", now).unwrap();
    assert_eq!(report(start + MINUTE).standing, Standing::NoData);
    up.set(true, (start + MINUTE).mono);
    up.set(false, (start + MINUTE * 11).mono);
    up.set(false, (start + MINUTE * 11 + SECOND).mono);
    up.set(true, (start + MINUTE * 12).mono);
    up.set(None, (start + MINUTE * 21).mono);
    let now = start + MINUTE * 30;
    assert_eq!(counts(&sla, "up", now), (19 * 60_000, 60_000));
    let report = report(now);
    assert_eq!(report.current, Some(95.0));
    assert_eq!(report.standing, Standing::Violated);
    // All of it was watched, though it was not known what it was.
    assert_eq!(report.coverage, 0.5);
}

#[test]
fn the_time_without_a_process_is_what_the_host_says() {
    #[track_caller]
    fn check(slo: &Slo, good: u64, bad: u64) {
        let start = start();
        let build = |now| Sla::builder().objective(slo.clone()).build(now).unwrap();
        let before = build(start);
        before.uptime("up").unwrap().set(true, start.mono);
        let snapshot = before.snapshot(start + MINUTE * 10);
        // The wall clock says when it comes back.
        let back = Now {
            wall: start.wall + MINUTE * 15,
            ..start
        };
        let after = build(back);
        after.uptime("up").unwrap().set(true, back.mono);
        after.restore(&snapshot, back + MINUTE).unwrap();
        let now = back + MINUTE * 5;
        assert_eq!(counts(&after, "up", now), (good, bad));
        let report = after.objective("up", now).unwrap();
        assert_eq!(report.coverage, 15.0 / 60.0);
    }
    let up = Slo::uptime("up", "99%").over(HOUR).tracked();
    check(&up, 900_000, 0);
    check(&up.down_while_gone(), 900_000, 300_000);
}

#[test]
fn a_gauge_counts_by_the_slice() {
    let start = start();
    let slo = Slo::gauge("queue", "99%", Bound::AtMost(10.0)).slice(SECOND * 10);
    let sla = Sla::builder().objective(slo).build(start).unwrap();
    let queue = sla.slices("queue").unwrap();
    for (second, value) in [
        // On average 10.
        (0, 5.0),
        (9, 15.0),
        // A slice without a value, and one with none that is a number.
        (25, f64::NAN),
        (30, 10.1),
        (45, f64::INFINITY),
        (50, f64::NEG_INFINITY),
        (60, 0.0),
    ] {
        let now = start + SECOND * second;
        sla.advance(now);
        queue.observe(value, now.mono);
    }
    assert_eq!(counts(&sla, "queue", start + SECOND * 65), (2, 2));
    sla.advance(start + SECOND * 70);
    assert_eq!(counts(&sla, "queue", start + SECOND * 70), (3, 2));
}

#[test]
fn a_month_begins_anew() {
    // 2026-11-30, 23:00 in Berlin.
    let start = Now {
        wall: start().wall + DAY * 9 + HOUR * 22,
        ..start()
    };
    let window = campanile_sla::Window::month("Europe/Berlin");
    let sla = Sla::builder()
        .objective(Slo::availability("month", "99%").over(window).tracked())
        .objective(Slo::availability("days", "99%").tracked())
        .build(start)
        .unwrap();
    for name in ["month", "days"] {
        sla.tracker(name).unwrap().record(false, SECOND, start.mono);
    }
    assert_eq!(counts(&sla, "month", start + MINUTE * 59), (0, 1));
    let now = start + HOUR;
    assert_eq!(counts(&sla, "month", now), (0, 0));
    assert_eq!(counts(&sla, "days", now), (0, 1));
    let report = sla.objective("month", now + HOUR).unwrap();
    assert_eq!(report.from, now.wall);
    assert_eq!(report.until, now.wall + DAY * 31);
    assert_eq!(report.window.to_string(), "month in Europe/Berlin");
    assert_eq!(report.coverage, 1.0);
    // What was is told by a statement.
    let statement = sla
        .statement("2026-11", "Europe/Berlin", now + HOUR)
        .unwrap();
    assert!(statement.is_final);
    assert_eq!(statement.until, now.wall);
    let [month, days] = &statement.report.objectives[..] else {
        panic!("{statement:?}");
    };
    assert_eq!(
        (month.bad, days.bad, month.standing),
        (1, 1, Standing::Violated)
    );
    assert_eq!(month.budget.as_ref().unwrap().consumed.round(), 100.0);
    let december = sla
        .statement("2026-12", "Europe/Berlin", now + HOUR)
        .unwrap();
    assert!(!december.is_final);
    assert_eq!(december.report.objectives[0].standing, Standing::NoData);
    for (month, zone, said) in [
        ("2026-13", "UTC", "the month \"2026-13\" is not valid"),
        ("nov", "UTC", "the month \"nov\" is not valid"),
        ("+026-11", "UTC", "the month \"+026-11\" is not valid"),
        ("2027-01", "UTC", "nothing is kept of the month"),
        ("2026-08", "UTC", "nothing is kept of the month"),
        ("2026-11", "Berlin", "the time zone \"Berlin\" is not known"),
    ] {
        let error = sla.statement(month, zone, now).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn what_counts_something_else_is_refused() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::availability("a", "99%"))
        .objective(Slo::uptime("u", "99%"))
        .objective(Slo::gauge("g", "99%", Bound::AtLeast(1.0)))
        .objective(Slo::availability("t", "99%").tracked())
        .build(start)
        .unwrap();
    assert!(sla.tracker("t").is_ok() && sla.uptime("u").is_ok() && sla.slices("g").is_ok());
    for name in ["a", "u", "g"] {
        let error = sla.tracker(name).unwrap_err();
        assert!(
            matches!(&error, TrackError::Other { name: of, .. } if of == name),
            "{error}"
        );
    }
    let error = sla.tracker("g").unwrap_err().to_string();
    assert_eq!(
        error,
        "the objective \"g\" counts slices of time: ask for its `slices`"
    );
    let error = sla.uptime("x").unwrap_err().to_string();
    assert_eq!(error, "there is no objective \"x\": there are a, u, g, t");
}

#[test]
fn lints_tell_what_can_never_ring() {
    let sla = Sla::builder()
        .objective(Slo::availability("strict", "99.9%"))
        .objective(Slo::availability("loose", "90%"))
        .objective(Slo::availability("third", "83.333%").over(DAY * 7))
        .objective(Slo::error_rate("day", "50%").over(DAY))
        .objective(Slo::gauge("coarse", "99%", Bound::AtMost(1.0)).slice(MINUTE * 20))
        .build(start())
        .unwrap();
    let lints: Vec<_> = sla.lints().iter().map(ToString::to_string).collect();
    assert_eq!(
        lints,
        [
            "the objective \"loose\" allows so many failures that a burn rate of 14.4 can't be reached: there is no alert over 1h; a target of at least 93.056% has it",
            "the objective \"coarse\" has slices of 20m that are too few in some windows: there is no alert over 1h; shorter slices have it",
        ]
    );
    let alerts = sla.burn_alerts(start());
    let of = |name: &str| alerts.iter().filter(|one| one.objective == name).count();
    assert_eq!(
        (of("strict"), of("loose"), of("third"), of("coarse")),
        (4, 3, 4, 3)
    );
}

#[test]
fn a_target_that_a_lint_recommends_helps() {
    for percent in [10, 50, 66, 70, 80, 83, 90, 93] {
        let build = |target: String| {
            let slo = Slo::availability("a", target);
            Sla::builder().objective(slo).build(start()).unwrap()
        };
        let sla = build(format!("{percent}%"));
        for lint in &sla.lints() {
            let text = lint.to_string();
            let (_, target) = text.split_once("at least ").unwrap();
            let (target, _) = target.split_once(' ').unwrap();
            let campanile_sla::Lint::UnreachableBurnRate { long, .. } = lint else {
                panic!("{lint}");
            };
            let better = build(target.to_owned()).burn_alerts(start());
            assert!(better.iter().any(|alert| alert.long == *long), "{text}");
        }
    }
}

#[test]
fn routes_are_told_to_who_asked_for_them() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::error_rate("asked", "1%").over(DAY).per_route(20))
        .objective(Slo::availability("not", "99.9%"))
        .build(start)
        .unwrap();
    sla.record(false, SECOND, start.mono);
    // `record` knows no route.
    assert!(sla.objective("asked", start).unwrap().routes.is_empty());
    assert!(sla.objective("not", start).unwrap().routes.is_empty());
}

#[tokio::test]
async fn routes_that_match_nothing_are_reported() {
    let start = start();
    let build = || {
        Sla::builder()
            .objective(Slo::availability("a", "99%").route("/v1/a"))
            .objective(Slo::availability("b", "99%").route("/svc/v1/a"))
            .objective(Slo::availability("c", "99%").route("/c").route("/c/{id}"))
            .build(start)
            .unwrap()
    };
    let sla = build();
    for _ in 0..99 {
        send(&sla, "/svc/v1/a", 200, "curl").await;
    }
    assert_eq!(sla.lints(), []);
    send(&sla, "/svc/v1/a", 200, "curl").await;
    let texts = |sla: &Sla| -> Vec<_> { sla.lints().iter().map(ToString::to_string).collect() };
    let rest = "expected a full route template, including the prefix of `nest`, as in the label `endpoint` of the HTTP metrics";
    assert_eq!(
        texts(&sla),
        [
            format!(
                "no request of the last 100 matched the route \"/v1/a\" of the objective \"a\": {rest}"
            ),
            format!(
                "no request of the last 100 matched the routes \"/c\", \"/c/{{id}}\" of the objective \"c\": {rest}"
            ),
        ]
    );
    let unmatched = |name| sla.objective(name, start).unwrap().unmatched_routes;
    assert_eq!(unmatched("a"), ["/v1/a"]);
    assert!(unmatched("b").is_empty());
    assert_eq!(unmatched("c"), ["/c", "/c/{id}"]);
    // A route that was asked for before a restart is one.
    send(&sla, "/v1/a", 200, "curl").await;
    send(&sla, "/c", 200, "curl").await;
    assert_eq!(sla.lints(), []);
    let after = build();
    let snapshot = sla.snapshot(start + SECOND * 5);
    after.restore(&snapshot, start + SECOND * 5).unwrap();
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
