use std::time::{SystemTime, UNIX_EPOCH};

use campanile_http::ObserveLayer;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

use super::*;
use crate::{RestoreError, Slo, Standing};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A moment whose wall clock says a full hour.
fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    let mono = Instant::now();
    Now {
        wall: UNIX_EPOCH + HOUR * 480_000,
        mono,
    }
}

fn sla(now: Now) -> Sla {
    let builder = Sla::builder()
        .objective(Slo::availability("availability", "99.9%"))
        .objective(Slo::response_time("response_time", Duration::from_millis(200)).over(DAY))
        .objective(Slo::error_rate("error_rate", "1%").over(DAY))
        .objective(Slo::throughput("throughput", 1_000.0).over(HOUR));
    builder.build(now).unwrap()
}

fn record(sla: &Sla, good: u64, bad: u64, at: Now) {
    for number in 0..good + bad {
        sla.record(number < good, Duration::from_millis(10), at.mono);
    }
}

fn counts(sla: &Sla, window: Duration, now: Now) -> (u64, u64) {
    let reading = sla.read(window, now);
    (reading.good(), reading.bad())
}

#[test]
fn the_report_has_000s_four() {
    let start = start();
    let sla = sla(start);
    record(&sla, 1_999, 1, start + SECOND);
    let report = sla.report(start + SECOND * 100);
    let figures = report.objectives.iter().map(|objective| {
        let figure = (
            objective.target,
            objective.current,
            objective.unit,
            objective.standing,
        );
        (objective.name.as_str(), figure)
    });
    let expected = [
        (
            "availability",
            (99.9, Some(99.95), "%", Standing::Compliant),
        ),
        (
            "response_time",
            (200.0, Some(10.0), "ms", Standing::Compliant),
        ),
        ("error_rate", (1.0, Some(0.05), "%", Standing::Compliant)),
        (
            "throughput",
            (1_000.0, Some(20.0), "req/s", Standing::Violated),
        ),
    ];
    assert_eq!(figures.collect::<Vec<_>>(), expected);
    assert_eq!(report.overall, Standing::Violated);
    assert_eq!(report.at, start.wall + SECOND * 100);
    let throughput = &report.objectives[3];
    assert_eq!(
        (throughput.samples, throughput.coverage),
        (2_000, 100.0 / 3_600.0)
    );
    assert_eq!(
        sla.objective("throughput", start + SECOND * 100).as_ref(),
        Some(throughput)
    );
    assert_eq!(sla.objective("nothing", start), None);
}

#[test]
fn without_exchanges_there_is_no_data() {
    let start = start();
    let report = sla(start).report(start + HOUR);
    let (throughput, shares) = report.objectives.split_last().unwrap();
    for objective in shares {
        assert_eq!(
            (objective.current, objective.standing, objective.samples),
            (None, Standing::NoData, 0)
        );
    }
    // Nothing is a rate too.
    assert_eq!(
        (throughput.current, throughput.standing),
        (Some(0.0), Standing::Violated)
    );
    let none = Sla::builder().build(start).unwrap().report(start);
    assert_eq!((none.overall, none.objectives.len()), (Standing::NoData, 0));
}

#[test]
fn an_exchange_leaves_each_window_after_its_time() {
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
fn no_time_is_watched_twice_or_left_out() {
    let start = start();
    let sla = sla(start);
    for step in [1, 999, 1_000, 59_321, 3_600_000, 7, 86_400_000] {
        sla.read(DAY, start + Duration::from_millis(step));
    }
    let now = start + DAY;
    for window in [SECOND * 5, MINUTE * 2, HOUR, DAY] {
        assert_eq!(sla.read(window, now).covered(), window);
    }
    assert_eq!(sla.read(DAY * 30, now).covered(), DAY);
    // A time before the last one changes nothing.
    sla.advance(start + MINUTE);
    assert_eq!(sla.read(DAY, now).covered(), DAY);
}

#[test]
fn a_restart_leaves_a_gap() {
    let start = start();
    let before = sla(start);
    record(&before, 10, 5, start + MINUTE * 10);
    let snapshot = before.snapshot(start + MINUTE * 10);
    let now = Now {
        wall: start.wall + MINUTE * 30,
        ..start
    };
    let after = sla(now);
    after.restore(&snapshot, now).unwrap();
    record(&after, 1, 0, now + MINUTE * 10);
    let reading = after.read(HOUR, now + MINUTE * 10);
    assert_eq!((reading.good(), reading.bad()), (11, 5));
    assert_eq!(reading.covered(), MINUTE * 20);
}

#[test]
fn counts_from_the_future_are_kept() {
    let start = start();
    let before = sla(start);
    record(&before, 10, 5, start);
    let snapshot = before.snapshot(start);
    // The wall clock was set back by a year.
    let now = Now {
        wall: start.wall - DAY * 365,
        ..start
    };
    let after = sla(now);
    after.restore(&snapshot, now).unwrap();
    record(&after, 1, 0, now + MINUTE);
    assert_eq!(counts(&after, HOUR, now + MINUTE), (11, 5));
    assert_eq!(counts(&after, HOUR, now + HOUR * 2), (0, 0));
}

/// A clock that is somewhere else for a moment costs nothing; one that stays there takes the counts along.
#[test]
fn a_clock_that_is_set_is_followed_with_all_that_was_counted() {
    #[track_caller]
    fn check(set: impl Fn(SystemTime) -> SystemTime) {
        let start = start();
        let slo = Slo::percentile("p", "99%", SECOND).over(HOUR);
        let month = Slo::availability("month", "99%").over(crate::Window::month("UTC"));
        let sla = Sla::builder()
            .objective(slo)
            .objective(month)
            .build(start)
            .unwrap();
        record(&sla, 10, 5, start);
        let half = |halves: u32| start + SECOND * 30 * halves;
        let at = |minutes: u32| half(minutes * 2);
        let elsewhere = |now: Now| Now {
            wall: set(now.wall),
            ..now
        };
        // Once, and then it is right again.
        for number in 0..10 {
            sla.advance(half(number));
        }
        sla.advance(elsewhere(at(5)));
        for number in 11..20 {
            sla.advance(half(number));
        }
        assert_eq!(counts(&sla, HOUR, at(6)), (10, 5));
        assert_eq!(sla.clock_steps(), 0);
        // For good.
        for number in 20..=40 {
            sla.advance(elsewhere(half(number)));
        }
        assert_eq!(sla.clock_steps(), 1);
        assert_eq!(counts(&sla, HOUR, at(20)), (10, 5));
        assert_eq!(sla.read(HOUR, at(20)).covered(), MINUTE * 20);
        let p99 = sla.objective("p", at(20)).unwrap();
        assert!(p99.current.is_some(), "{p99:?}");
        let now = sla.objective("month", at(20)).unwrap();
        assert!(
            (now.from..now.until).contains(&elsewhere(at(20)).wall),
            "{now:?}"
        );
        // And no longer than that.
        assert_eq!(counts(&sla, HOUR, at(75)), (0, 0));
    }
    check(|wall| wall + DAY * 365 * 80);
    check(|wall| wall - DAY * 365);
    check(|wall| wall - DAY * 2);
    check(|wall| wall + DAY * 8);
}

#[test]
fn clocks_may_say_anything() {
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
            sla.advance(Now { wall, ..start } + SECOND);
        }
        record(&sla, 1, 0, start + SECOND);
        let reading = sla.read(DAY * 30, start + SECOND);
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
    sla.advance(now);
    assert_eq!(counts(&sla, HOUR * 7, now), (0, 0));
    assert_eq!(counts(&sla, HOUR * 9, now), (1, 0));
    assert_eq!(sla.read(DAY, now).covered(), MINUTE);
    now.wall -= HOUR * 8;
    for _ in 0..2 {
        now = now + SECOND * 30;
        sla.advance(now);
    }
    assert_eq!(sla.read(DAY, now).covered(), MINUTE * 2);
    assert_eq!(counts(&sla, HOUR * 7, now), (0, 0));
}

#[test]
fn damaged_snapshots_are_refused() {
    let start = start();
    let full = sla(start);
    for hour in 0..30 * 24 {
        record(&full, 1, 0, start + HOUR * hour);
    }
    let now = start + HOUR * 30 * 24;
    for second in 0..3_600 {
        record(&full, 1, 0, now + SECOND * second);
    }
    let snapshot = full.snapshot(now + HOUR);
    assert!(snapshot.len() < 20_000, "{}", snapshot.len());
    let empty = sla(now);
    for number in 0..snapshot.len() {
        let mut damaged = snapshot.clone();
        damaged[number] ^= 1;
        let error = empty.restore(&damaged, now).unwrap_err();
        assert_eq!(error == RestoreError::Unknown, number < 5, "{number}");
        assert!(empty.restore(&snapshot[..number], now).is_err());
    }
    assert!(empty.restore(b"", now).is_err());
    assert_eq!(counts(&empty, DAY * 30, now), (0, 0));
    assert_eq!(empty.restore(&snapshot, now), Ok(()));
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
                    sla.record(number % 10 > 0, SECOND, at.mono);
                }
            });
        }
        for second in 0..100 {
            sla.advance(start + SECOND * second);
        }
    });
    assert_eq!(counts(&sla, HOUR, start + SECOND * 100), (180_000, 20_000));
}

#[tokio::test]
async fn exchanges_count_by_how_they_ended() {
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
    // A client that leaves is not valid.
    drop(send(200, "text/plain", None).await.unwrap());
    drop(send(500, "text/plain", None).await.unwrap());
    assert_eq!(counts(&sla, DAY, now + HOUR), expected);
}

#[test]
fn a_state_is_that_of_the_last_look() {
    let start = start();
    let sla = sla(start);
    let slo = sla.slo("availability").unwrap();
    let state = slo.state();
    assert_eq!((state.standing, state.current), (Standing::NoData, None));
    assert_eq!((state.budget_remaining(), state.burn_rate()), (1.0, None));
    for number in 0..1_000 {
        sla.record(number > 1, SECOND, start.mono);
    }
    // There was no call of `advance` yet.
    assert_eq!(slo.state(), state);
    sla.advance(start + SECOND * 5);
    let state = slo.state();
    assert_eq!(
        (state.standing, state.current),
        (Standing::Warning, Some(99.8))
    );
    assert!((state.budget_remaining() + 1.0).abs() < 1e-9);
    assert!(
        state
            .burn_rate()
            .is_some_and(|rate| (rate - 2.0).abs() < 1e-9)
    );
    // One without a budget uses none.
    let state = sla.slo("throughput").unwrap().state();
    assert_eq!((state.budget_remaining(), state.burn_rate()), (1.0, None));
    let error = sla.slo("other").unwrap_err().to_string();
    assert!(
        error.starts_with(r#"there is no objective "other": there are availability, "#),
        "{error}"
    );
}
