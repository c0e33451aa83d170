use std::time::Duration;

use campanile_series::Now;
use campanile_sla::{Adjustment, RestoreError, ServiceLevels, Slo, Source, apply_changes, merge};

use crate::kinds::{send, send_at};
use crate::{DAY, HOUR, SECOND, one, record, start};

fn within(milliseconds: u64) -> Slo {
    Slo::latency("l", "99%", Duration::from_millis(milliseconds)).source(Source::Manual)
}

#[test]
fn a_rollback_restores_its_counts() {
    let start = start();
    let v1 = one(within(300), start);
    v1.event_recorder("l")
        .unwrap()
        .record_at(true, SECOND, start.mono);
    let v2 = one(within(250), start);
    v2.restore_at(&v1.snapshot_at(start), start).unwrap();
    assert_eq!(v2.slo_report_at("l", start).unwrap().samples, 0);
    let written = v2.snapshot_at(start);
    let back = one(within(300), start);
    back.restore_at(&written, start).unwrap();
    assert_eq!(back.slo_report_at("l", start).unwrap().samples, 1);
}

#[test]
fn counts_of_an_unknown_slo_are_retained_for_93_days() {
    let start = start();
    let build = |now| one(Slo::availability("a", "99%").source(Source::Manual), now);
    let v1 = build(start);
    for _ in 0..500 {
        v1.event_recorder("a")
            .unwrap()
            .record_at(false, SECOND, start.mono);
    }
    crate::tick_until(&v1, start, start + HOUR);
    let now = start + HOUR;
    let adjustment = Adjustment::new(start.wall, 400)
        .reason("a load test")
        .author("ada");
    v1.exclude_failures_at("a", adjustment, now).unwrap();
    let incidents = v1.slo_report_at("a", now).unwrap().incidents;
    assert_eq!(incidents.len(), 1);
    let v2 = one(Slo::availability("b", "99%"), now);
    v2.restore_at(&v1.snapshot_at(now), now).unwrap();
    let back = build(now);
    back.restore_at(&v2.snapshot_at(now), now).unwrap();
    let report = back.slo_report_at("a", now).unwrap();
    assert_eq!((report.bad, report.adjustments.len()), (100, 1));
    assert_eq!(report.incidents, incidents);
    assert_eq!(v2.unused_counts(), ["manual:a"]);
    let later = now + DAY * 94;
    v2.tick(later);
    let fresh = one(Slo::availability("b", "99%"), later);
    fresh.restore_at(&v2.snapshot_at(later), later).unwrap();
    assert!(fresh.unused_counts().is_empty());
    let back = build(later);
    back.restore_at(&v2.snapshot_at(later), later).unwrap();
    let report = back.slo_report_at("a", later).unwrap();
    assert!(report.adjustments.is_empty() && report.incidents.is_empty());
}

#[test]
fn retained_streams_have_a_limit() {
    let start = start();
    let mut all = one(Slo::availability("a", "99%"), start).snapshot_at(start);
    for number in 0..100 {
        let one = one(within(100 + number), start);
        one.event_recorder("l")
            .unwrap()
            .record_at(true, SECOND, start.mono);
        all = merge(&all, &one.snapshot_at(start)).unwrap();
    }
    let sla = one(Slo::availability("a", "99%"), start);
    sla.restore_at(&all, start).unwrap();
    let written = sla.snapshot_at(start);
    let found = (0..100).filter(|number| {
        let one = one(within(100 + number), start);
        one.restore_at(&written, start).unwrap();
        one.slo_report_at("l", start).unwrap().samples == 1
    });
    assert_eq!(found.count(), 64);
}

#[tokio::test]
async fn an_unused_route_is_dropped_at_a_restart() {
    let build = |now| one(Slo::error_rate("r", "1%").per_route(1), now);
    let start = start();
    let before = build(start);
    send(&before, "/old", 200, "curl").await;
    let later = Now {
        wall: start.wall + DAY * 100,
        ..start
    };
    let after = build(later);
    after.restore_at(&before.snapshot_at(start), later).unwrap();
    send(&after, "/new", 500, "curl").await;
    assert_eq!(
        after.slo_report_at("r", later).unwrap().routes[0].route,
        "/new"
    );
}

#[tokio::test]
async fn a_route_without_requests_in_the_window_is_dropped() {
    let start = start();
    let sla = one(Slo::error_rate("r", "1%").over(DAY).per_route(2), start);
    let routes = |now| {
        let report = sla.slo_report_at("r", now).unwrap();
        let mut routes: Vec<_> = report.routes.into_iter().map(|one| one.route).collect();
        routes.sort();
        routes
    };
    for route in ["/a", "/b", "/c", "/d"] {
        send_at(&sla, route, 500, start.mono).await;
    }
    let now = start + SECOND;
    sla.tick(now);
    assert_eq!(routes(now), ["/a", "/b", "_other_"]);
    let later = start + DAY * 2;
    sla.tick(later);
    assert!(routes(later).is_empty(), "{:?}", routes(later));
    for route in ["/d", "/c", "/a"] {
        send_at(&sla, route, 500, later.mono).await;
    }
    assert_eq!(routes(later), ["/c", "/d", "_other_"]);
    // A dropped route frees a place while others exist.
    let last = later + HOUR * 23;
    send_at(&sla, "/d", 500, last.mono).await;
    send_at(&sla, "/a", 500, last.mono).await;
    sla.tick(later + DAY + HOUR);
    send_at(&sla, "/e", 500, (later + DAY + HOUR).mono).await;
    assert_eq!(routes(later + DAY + HOUR), ["/d", "/e", "_other_"]);
}

#[test]
fn many_pods_have_one_report() {
    let start = start();
    let pod = |hour: u32| {
        let begin = Now {
            wall: start.wall + HOUR * 2 * hour,
            ..start
        };
        let sla = one(Slo::availability("a", "99%"), begin);
        record(&sla, 1, 0, begin);
        sla.tick(begin + HOUR * 2);
        sla.snapshot_at(begin + HOUR * 2)
    };
    let all = (1..40).fold(pod(0), |all, hour| merge(&all, &pod(hour)).unwrap());
    let now = Now {
        wall: start.wall + HOUR * 82,
        ..start
    };
    let sla = one(Slo::availability("a", "99%"), now);
    sla.restore_at(&all, now).unwrap();
    assert_eq!(sla.slo_report_at("a", now).unwrap().samples, 40);
    assert!(all.len() < 40_000, "{}", all.len());
}

/// SLOs of all kinds, one of them with routes.
fn several(now: Now) -> ServiceLevels {
    let builder = ServiceLevels::builder()
        .slo(Slo::availability("a", "99.9%").per_route(2))
        .slo(within(300))
        .slo(Slo::latency_percentile("p", "99%", SECOND).source(Source::Manual))
        .slo(Slo::uptime("u", "99%").source(Source::Manual));
    builder.build_at(now).unwrap()
}

/// A snapshot with its changes is equal to the later snapshot.
#[tokio::test]
async fn changes_turn_a_snapshot_into_the_later_one() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = start();
        let (sla, mut now) = (several(start), start);
        let mut base = sla.snapshot_at(now);
        for _ in 0..random.usize(1..60) {
            now = now + SECOND.mul_f64(10f64.powf(random.f64() * 5.5));
            match random.u8(..12) {
                // The clock is set.
                0 => now.wall += HOUR * 200,
                1 => now.wall -= HOUR,
                2 => base = sla.snapshot_at(now),
                3 => {
                    let route = ["/0", "/1", "/2", "/3"][random.usize(..4)];
                    send(&sla, route, 500, "curl").await;
                }
                _ => {}
            }
            for name in ["l", "p"] {
                let late = SECOND * random.u32(..4_000);
                let at = now.mono.checked_sub(late).unwrap_or(now.mono);
                let tracker = sla.event_recorder(name).unwrap();
                tracker.record_at(random.bool(), SECOND.mul_f64(random.f64()), at);
            }
            sla.uptime_recorder("u")
                .unwrap()
                .set_at(random.bool(), now.mono);
            sla.tick(now);
        }
        let changes = sla.changes_at(&base, now).unwrap();
        let (restored, expected) = (several(now), several(now));
        let whole = apply_changes(&base, &changes).unwrap();
        restored.restore_at(&whole, now).unwrap();
        expected.restore_at(&sla.snapshot_at(now), now).unwrap();
        assert_eq!(restored.report_at(now), expected.report_at(now), "{seed}");
        assert_eq!(
            restored.snapshot_at(now),
            expected.snapshot_at(now),
            "{seed}"
        );
    }
}

/// A later snapshot no longer has the oldest buckets of its base.
#[test]
fn changes_of_short_windows_are_small_and_exact() {
    for minutes in [3, 90] {
        let (start, window) = (start(), SECOND * 60 * minutes);
        let sla = one(Slo::availability("a", "99%").over(window), start);
        let record = |steps: std::ops::Range<u32>| {
            for step in steps {
                let now = start + SECOND * 10 * step;
                sla.record_at(step % 7 > 0, SECOND, now.mono);
                sla.tick(now);
            }
        };
        record(0..50_000);
        let base = sla.snapshot_at(start + SECOND * 10 * 50_000);
        record(50_000..50_006);
        let now = start + SECOND * 10 * 50_006;
        let (changes, later) = (sla.changes_at(&base, now).unwrap(), sla.snapshot_at(now));
        let (part, whole) = (changes.len(), later.len());
        assert!(part * 3 < whole, "{minutes} min: {part} of {whole} bytes");
        let applied = apply_changes(&base, &changes).unwrap();
        assert!(applied == later, "{minutes} min");
    }
}

#[test]
fn changes_of_some_seconds_are_small() {
    let start = start();
    let sla = several(start);
    let record = |from: u32, until: u32| {
        for step in from..until {
            let now = start + SECOND * 60 * step;
            sla.record_at(step % 7 > 0, SECOND, now.mono);
            sla.tick(now);
        }
    };
    record(0, 10_000);
    let now = start + SECOND * 60 * 10_000;
    let base = sla.snapshot_at(now);
    record(10_000, 10_005);
    let changes = sla.changes_at(&base, now + SECOND * 300).unwrap();
    assert!(
        changes.len() * 10 < base.len(),
        "{} {}",
        changes.len(),
        base.len()
    );
}

#[test]
fn changes_of_another_snapshot_are_rejected() {
    let start = start();
    let sla = several(start);
    let base = sla.snapshot_at(start);
    sla.record_at(false, SECOND, start.mono);
    let other = sla.snapshot_at(start);
    let changes = sla.changes_at(&base, start).unwrap();
    assert_eq!(
        apply_changes(&other, &changes),
        Err(RestoreError::OtherBase)
    );
    assert_eq!(apply_changes(&changes, &base), Err(RestoreError::Unknown));
    for at in 0..changes.len() {
        let mut damaged = changes.clone();
        damaged[at] ^= 1;
        assert!(apply_changes(&base, &damaged).is_err(), "{at}");
        assert!(apply_changes(&base, &changes[..at]).is_err(), "{at}");
    }
}

#[test]
fn counts_that_no_slo_uses_can_be_dropped() {
    let start = start();
    let v1 = one(within(300), start);
    v1.event_recorder("l")
        .unwrap()
        .record_at(true, SECOND, start.mono);
    let v2 = one(within(250), start);
    v2.restore_at(&v1.snapshot_at(start), start).unwrap();
    let large = v2.snapshot_at(start).len();
    assert!(v2.discard_unused_counts());
    assert!(v2.unused_counts().is_empty() && v2.snapshot_at(start).len() < large);
    assert!(!v2.discard_unused_counts());
}

/// The old process may still run while the new one waits for the store.
#[test]
fn counts_of_a_process_that_ran_beside_this_one_can_be_stored_again() {
    let start = start();
    let (old, new) = (several(start), several(start));
    let later = start + HOUR;
    for sla in [&old, &new] {
        sla.record_at(true, SECOND, later.mono);
        crate::tick_until(sla, start, later);
    }
    new.restore_at(&old.snapshot_at(later), later).unwrap();
    let after = several(later);
    after.restore_at(&new.snapshot_at(later), later).unwrap();
    let report = after.slo_report_at("a", later).unwrap();
    assert_eq!(report.samples, 2);
}
