use std::time::{SystemTime, UNIX_EPOCH};

use campanile_http::ObserveLayer;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use super::*;
use crate::adjustment::Adjustment;
use crate::error::RestoreError;
use crate::slo::Slo;
use crate::source::Source;
use crate::status::SloStatus;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A time at a full hour of the wall clock.
fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    let mono = Instant::now();
    Now {
        wall: UNIX_EPOCH + HOUR * 480_000,
        mono,
    }
}

fn sla(now: Now) -> ServiceLevels {
    let builder = ServiceLevels::builder()
        .slo(Slo::availability("availability", "99.9%"))
        .slo(Slo::mean_latency("response_time", Duration::from_millis(200)).over(DAY))
        .slo(Slo::error_rate("error_rate", "1%").over(DAY))
        .slo(Slo::throughput("throughput", 1_000.0).over(HOUR));
    builder.build_at(now).unwrap()
}

fn record(sla: &ServiceLevels, good: u64, bad: u64, at: Now) {
    for number in 0..good + bad {
        sla.record_at(number < good, Duration::from_millis(10), at.mono);
    }
}

fn counts(sla: &ServiceLevels, window: Duration, now: Now) -> (u64, u64) {
    let reading = sla.counts_at(window, now);
    (reading.good(), reading.bad())
}

#[test]
fn the_report_has_four_kinds_of_slos() {
    let start = start();
    let sla = sla(start);
    record(&sla, 1_999, 1, start + SECOND);
    let report = sla.report_at(start + SECOND * 100);
    let figures = report.slos.iter().map(|slo| {
        let figure = (slo.target, slo.current, slo.unit, slo.status);
        (slo.name.as_str(), figure)
    });
    let expected = [
        (
            "availability",
            (99.9, Some(99.95), "%", SloStatus::Compliant),
        ),
        (
            "response_time",
            (200.0, Some(10.0), "ms", SloStatus::Compliant),
        ),
        ("error_rate", (1.0, Some(0.05), "%", SloStatus::Compliant)),
        (
            "throughput",
            (1_000.0, Some(20.0), "req/s", SloStatus::Violated),
        ),
    ];
    assert_eq!(figures.collect::<Vec<_>>(), expected);
    assert_eq!(report.overall, SloStatus::Violated);
    assert_eq!(report.at, start.wall + SECOND * 100);
    let throughput = &report.slos[3];
    assert_eq!(
        (throughput.samples, throughput.coverage),
        (2_000, 100.0 / 3_600.0)
    );
    assert_eq!(
        sla.slo_report_at("throughput", start + SECOND * 100)
            .as_ref(),
        Ok(throughput)
    );
    assert!(sla.slo_report_at("nothing", start).is_err());
}

#[test]
fn without_requests_there_is_no_data() {
    let start = start();
    let report = sla(start).report_at(start + HOUR);
    let (throughput, shares) = report.slos.split_last().unwrap();
    for slo in shares {
        assert_eq!(
            (slo.current, slo.status, slo.samples),
            (None, SloStatus::NoData, 0)
        );
    }
    // The throughput without requests is 0.
    assert_eq!(
        (throughput.current, throughput.status),
        (Some(0.0), SloStatus::Violated)
    );
    let none = ServiceLevels::builder()
        .build_at(start)
        .unwrap()
        .report_at(start);
    assert_eq!((none.overall, none.slos.len()), (SloStatus::NoData, 0));
}

#[test]
fn a_request_leaves_each_window_after_its_length() {
    #[track_caller]
    fn check(window: Duration, bucket: Duration) {
        let start = start();
        let sla = sla(start);
        record(&sla, 3, 2, start);
        assert_eq!(counts(&sla, window, start + window), (3, 2));
        assert_eq!(counts(&sla, window, start + window + bucket), (0, 0));
    }
    check(SECOND, SECOND);
    check(MINUTE, SECOND);
    check(MINUTE * 2, SECOND);
    check(MINUTE * 5, SECOND * 10);
    check(HOUR, SECOND * 10);
    check(DAY, MINUTE * 5);
    check(DAY * 30, HOUR);
}

#[test]
fn no_time_is_covered_twice_or_left_out() {
    let start = start();
    let sla = sla(start);
    for step in [1, 999, 1_000, 59_321, 3_600_000, 7, 86_400_000] {
        sla.counts_at(DAY, start + Duration::from_millis(step));
    }
    let now = start + DAY;
    for window in [SECOND * 5, MINUTE * 2, HOUR, DAY] {
        assert_eq!(sla.counts_at(window, now).covered(), window);
    }
    assert_eq!(sla.counts_at(DAY * 30, now).covered(), DAY);
    // A past time has no effect.
    sla.tick(start + MINUTE);
    assert_eq!(sla.counts_at(DAY, now).covered(), DAY);
}

#[test]
fn a_restart_leaves_a_gap() {
    let start = start();
    let before = sla(start);
    record(&before, 10, 5, start + MINUTE * 10);
    let snapshot = before.snapshot_at(start + MINUTE * 10);
    let now = Now {
        wall: start.wall + MINUTE * 30,
        ..start
    };
    let after = sla(now);
    after.restore_at(&snapshot, now).unwrap();
    record(&after, 1, 0, now + MINUTE * 10);
    let reading = after.counts_at(HOUR, now + MINUTE * 10);
    assert_eq!((reading.good(), reading.bad()), (11, 5));
    assert_eq!(reading.covered(), MINUTE * 20);
}

#[test]
fn counts_from_the_future_are_kept() {
    let start = start();
    let before = sla(start);
    record(&before, 10, 5, start);
    let snapshot = before.snapshot_at(start);
    // The wall clock was set back by a year.
    let now = Now {
        wall: start.wall - DAY * 365,
        ..start
    };
    let after = sla(now);
    after.restore_at(&snapshot, now).unwrap();
    record(&after, 1, 0, now + MINUTE);
    assert_eq!(counts(&after, HOUR, now + MINUTE), (11, 5));
    assert_eq!(counts(&after, HOUR, now + HOUR * 2), (0, 0));
}

/// A short deviation of the clock has no effect; after a lasting one the counts are shifted.
#[test]
fn counts_are_shifted_with_a_clock_that_was_set() {
    #[track_caller]
    fn check(set: impl Fn(SystemTime) -> SystemTime) {
        let start = start();
        let slo = Slo::latency_percentile("p", "99%", SECOND).over(HOUR);
        let month = Slo::availability("month", "99%").over(crate::Window::month("UTC"));
        let sla = ServiceLevels::builder()
            .slo(slo)
            .slo(month)
            .build_at(start)
            .unwrap();
        record(&sla, 10, 5, start);
        let half = |halves: u32| start + SECOND * 30 * halves;
        let at = |minutes: u32| half(minutes * 2);
        let elsewhere = |now: Now| Now {
            wall: set(now.wall),
            ..now
        };
        // The clock deviates once.
        for number in 0..10 {
            sla.tick(half(number));
        }
        sla.tick(elsewhere(at(5)));
        for number in 11..20 {
            sla.tick(half(number));
        }
        assert_eq!(counts(&sla, HOUR, at(6)), (10, 5));
        assert_eq!(sla.clock_steps(), 0);
        // The clock stays set.
        for number in 20..=40 {
            sla.tick(elsewhere(half(number)));
        }
        assert_eq!(sla.clock_steps(), 1);
        assert_eq!(counts(&sla, HOUR, at(20)), (10, 5));
        assert_eq!(sla.counts_at(HOUR, at(20)).covered(), MINUTE * 20);
        let p99 = sla.slo_report_at("p", at(20)).unwrap();
        assert!(p99.current.is_some(), "{p99:?}");
        let now = sla.slo_report_at("month", at(20)).unwrap();
        assert!(
            (now.from..now.until).contains(&elsewhere(at(20)).wall),
            "{now:?}"
        );
        // Then the counts leave the window.
        assert_eq!(counts(&sla, HOUR, at(75)), (0, 0));
    }
    check(|wall| wall + DAY * 365 * 80);
    check(|wall| wall - DAY * 365);
    check(|wall| wall - DAY * 2);
    check(|wall| wall + DAY * 8);
}

#[test]
fn any_time_of_the_clock_is_accepted() {
    let start = start();
    for wall in [
        UNIX_EPOCH,
        UNIX_EPOCH - HOUR,
        UNIX_EPOCH + DAY * 366 * 10_000,
    ] {
        let sla = sla(Now { wall, ..start });
        record(&sla, 1, 1, start);
        for wall in [
            wall,
            UNIX_EPOCH,
            start.wall,
            wall + HOUR,
            UNIX_EPOCH + DAY * 366 * 20_000,
        ] {
            sla.tick(Now { wall, ..start } + SECOND);
        }
        record(&sla, 1, 0, start + SECOND);
        let reading = sla.counts_at(DAY * 30, start + SECOND);
        assert!(reading.good() >= 1, "{wall:?}: {reading:?}");
        assert!(reading.covered() <= SECOND * 2, "{wall:?}: {reading:?}");
    }
}

#[test]
fn a_suspend_leaves_a_gap_and_a_step_back_does_not() {
    let start = start();
    let sla = sla(start);
    record(&sla, 1, 0, start);
    let mut now = start + MINUTE;
    now.wall += HOUR * 8;
    sla.tick(now);
    assert_eq!(counts(&sla, HOUR * 7, now), (0, 0));
    assert_eq!(counts(&sla, HOUR * 9, now), (1, 0));
    assert_eq!(sla.counts_at(DAY, now).covered(), MINUTE);
    now.wall -= HOUR * 8;
    for _ in 0..2 {
        now = now + SECOND * 30;
        sla.tick(now);
    }
    assert_eq!(sla.counts_at(DAY, now).covered(), MINUTE * 2);
    assert_eq!(counts(&sla, HOUR * 7, now), (0, 0));
}

#[test]
fn damaged_snapshots_are_rejected() {
    let start = start();
    let full = sla(start);
    for hour in 0..30 * 24 {
        record(&full, 1, 0, start + HOUR * hour);
    }
    let now = start + HOUR * 30 * 24;
    for second in 0..3_600 {
        record(&full, 1, 0, now + SECOND * second);
    }
    let snapshot = full.snapshot_at(now + HOUR);
    assert!(snapshot.len() < 20_000, "{}", snapshot.len());
    let empty = sla(now);
    for number in 0..snapshot.len() {
        let mut damaged = snapshot.clone();
        damaged[number] ^= 1;
        let error = empty.restore_at(&damaged, now).unwrap_err();
        assert_eq!(error == RestoreError::Unknown, number < 5, "{number}");
        assert!(empty.restore_at(&snapshot[..number], now).is_err());
    }
    assert!(empty.restore_at(b"", now).is_err());
    assert_eq!(counts(&empty, DAY * 30, now), (0, 0));
    assert_eq!(empty.restore_at(&snapshot, now), Ok(()));
    assert_eq!(
        counts(&empty, DAY * 30, now),
        counts(&full, DAY * 30, now + HOUR)
    );
}

#[test]
fn threads_lose_nothing() {
    let start = start();
    let sla = sla(start);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..50_000u32 {
                    let at = start + Duration::from_millis(2) * number;
                    sla.record_at(number % 10 > 0, SECOND, at.mono);
                }
            });
        }
        for second in 0..100 {
            sla.tick(start + SECOND * second);
        }
    });
    assert_eq!(counts(&sla, HOUR, start + SECOND * 100), (180_000, 20_000));
}

#[tokio::test]
async fn requests_count_by_their_outcome() {
    let now = start();
    let sla = sla(now);
    let layer = ObserveLayer::new(sla.observer());
    let send = async |status: u16, content_type: &'static str, grpc: Option<&'static str>| {
        let answer = move |_: Request<Full<&'static [u8]>>| {
            let mut response = Response::new(Full::new(&b"x"[..]));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let headers = response.headers_mut();
            headers.insert("content-type", content_type.try_into().unwrap());
            if let Some(grpc) = grpc {
                headers.insert("grpc-status", grpc.try_into().unwrap());
            }
            std::future::ready((status != 599).then_some(response).ok_or("failed"))
        };
        let service = layer.layer(tower::service_fn(answer));
        let request = Request::post("/pkg.Service/Method").header("content-type", content_type);
        service
            .oneshot(request.body(Full::default()).unwrap())
            .await
    };
    let mut expected = (0, 0);
    for (status, content_type, grpc, good) in [
        (200, "text/plain", None, true),
        (404, "text/plain", None, true),
        (500, "text/plain", None, false),
        (503, "text/plain", None, false),
        (599, "text/plain", None, false),
        (200, "application/grpc", Some("0"), true),
        (200, "application/grpc", Some("5"), true),
        (200, "application/grpc", Some("14"), false),
        (200, "application/grpc", None, false),
    ] {
        if let Ok(response) = send(status, content_type, grpc).await {
            response.into_body().collect().await.unwrap();
        }
        if good {
            expected.0 += 1
        } else {
            expected.1 += 1
        }
        assert_eq!(
            counts(&sla, DAY, now + HOUR),
            expected,
            "{status} {content_type} {grpc:?}"
        );
    }
    // A request whose client cancels is not valid.
    drop(send(200, "text/plain", None).await.unwrap());
    drop(send(500, "text/plain", None).await.unwrap());
    assert_eq!(counts(&sla, DAY, now + HOUR), expected);
}

#[test]
fn a_handle_has_the_state_of_the_last_tick() {
    let start = start();
    let sla = sla(start);
    let slo = sla.slo("availability").unwrap();
    let state = |slo: &SloHandle| (slo.status(), slo.current(), slo.burn_rate());
    assert_eq!(state(&slo), (SloStatus::NoData, None, None));
    assert_eq!(slo.budget_remaining(), 1.0);
    for number in 0..1_000 {
        sla.record_at(number > 1, SECOND, start.mono);
    }
    // `tick` was not called yet.
    assert_eq!(state(&slo), (SloStatus::NoData, None, None));
    sla.tick(start + SECOND * 5);
    assert_eq!(
        (slo.status(), slo.current()),
        (SloStatus::Warning, Some(99.8))
    );
    assert!((slo.budget_remaining() + 1.0).abs() < 1e-9);
    let burn_rate = slo.burn_rate();
    assert!(burn_rate.is_some_and(|rate| (rate - 2.0).abs() < 1e-9));
    assert_eq!(slo.exhausted_in(), Some(Duration::ZERO));
    // An SLO without a budget consumes none.
    let throughput = sla.slo("throughput").unwrap();
    assert_eq!(throughput.budget_remaining(), 1.0);
    assert_eq!(
        (throughput.burn_rate(), throughput.exhausted_in()),
        (None, None)
    );
    let error = sla.slo("other").unwrap_err().to_string();
    let expected = r#"unknown SLO "other": expected one of "availability", "#;
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_handle_counts_the_events_of_a_manual_slo_only() {
    let levels = ServiceLevels::builder()
        .slo(Slo::availability("jobs", "99%").source(Source::Manual))
        .slo(Slo::success_within("fast", "99%", SECOND).source(Source::Manual))
        .slo(Slo::uptime("up", "99%").source(Source::Manual))
        .slo(Slo::availability("http", "99%"))
        .build()
        .unwrap();
    for name in ["jobs", "fast", "up", "http"] {
        let slo = levels.slo(name).unwrap();
        slo.good(SECOND);
        slo.good(SECOND * 2);
        slo.bad(SECOND);
    }
    let counts = |name: &str| {
        let report = levels.slo_report(name).unwrap();
        (report.samples, report.bad)
    };
    assert_eq!((counts("jobs"), counts("fast")), ((3, 1), (3, 2)));
    assert_eq!((counts("up"), counts("http")), ((0, 0), (0, 0)));
    let ignored = |name: &str| Lint::IgnoredEvents {
        slo: name.to_owned(),
    };
    assert_eq!(levels.lints(), [ignored("up"), ignored("http")]);
}

#[test]
fn applications_need_no_clock() {
    let build = || {
        let slo = Slo::availability("a", "99%");
        ServiceLevels::builder().slo(slo).build().unwrap()
    };
    let levels = build();
    record(&levels, 9, 1, Now::system());
    assert_eq!(levels.report().slos, [levels.slo_report("a").unwrap()]);
    assert_eq!(levels.counts(HOUR).bad(), 1);
    assert_eq!(levels.totals()[0].1.valid(), 10);
    assert_eq!(levels.burn_alerts().len(), 4);
    assert!(!levels.end_maintenance());
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    let now = SystemTime::now();
    let adjustment = Adjustment::new(now, 1).reason("a test").author("ada");
    levels.exclude_failures("a", adjustment).unwrap();
    let after = build();
    after.restore(&levels.snapshot()).unwrap();
    assert_eq!(after.slo_report("a").unwrap().current, Some(100.0));
}
