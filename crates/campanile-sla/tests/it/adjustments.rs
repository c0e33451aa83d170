use campanile_sla::{
    AdjustError, Adjustment, MaintenanceWindow, RestoreError, ServiceLevels, Slo, SloStatus,
    Source, merge,
};

use super::*;

fn build(now: Now) -> ServiceLevels {
    let builder = ServiceLevels::builder()
        .slo(Slo::availability("a", "99.9%"))
        .slo(Slo::throughput("t", 1.0));
    builder.build_at(now).unwrap()
}

fn adjustment(at: Now, bad: u64) -> Adjustment {
    Adjustment::new(at.wall, bad)
        .reason("the payment provider was down")
        .author("ada")
}

#[test]
fn failures_are_excluded_from_the_windows_that_contain_them() {
    let start = start();
    let sla = build(start);
    record(&sla, 1_990, 10, start);
    let now = start + HOUR * 2;
    assert_eq!(
        sla.slo_report_at("a", now).unwrap().status,
        SloStatus::Warning
    );
    sla.exclude_failures_at("a", adjustment(start, 9), now)
        .unwrap();
    let report = sla.slo_report_at("a", now).unwrap();
    assert_eq!((report.samples, report.bad), (1_991, 1));
    assert_eq!(report.adjustments, [adjustment(start, 9)]);
    sla.exclude_failures_at("a", adjustment(start + MINUTE, 1), now)
        .unwrap();
    let report = sla.slo_report_at("a", now).unwrap();
    assert_eq!((report.samples, report.bad), (1_990, 0));
    assert_eq!(report.status, SloStatus::Compliant);
    // Totals still include excluded failures.
    assert_eq!(sla.totals_at(now)[0].1.bad(), 10);
    // Adjustments survive a restart, without duplicates.
    let snapshot = sla.snapshot_at(now);
    let after = build(now);
    after.restore_at(&snapshot, now).unwrap();
    assert_eq!(
        after.restore_at(&after.snapshot_at(now), now),
        Err(RestoreError::Duplicate)
    );
    let merged = merge(&snapshot, &after.snapshot_at(now)).unwrap();
    let both = build(now);
    both.restore_at(&merged, now).unwrap();
    assert_eq!(both.slo_report_at("a", now).unwrap().adjustments.len(), 2);
    assert_eq!(after.slo_report_at("a", now).unwrap().adjustments.len(), 2);
}

#[test]
fn adjustments_are_validated() {
    let start = start();
    let sla = build(start);
    let error = |name: &str, change: fn(&mut Adjustment)| {
        let mut adjustment = adjustment(start, 1);
        change(&mut adjustment);
        sla.exclude_failures_at(name, adjustment, start)
            .unwrap_err()
    };
    assert!(matches!(error("x", |_| ()), AdjustError::Unknown(_)));
    assert!(matches!(error("t", |_| ()), AdjustError::NoBudget { .. }));
    assert_eq!(error("a", |one| one.bad = 0), AdjustError::Nothing);
    assert!(matches!(
        error("a", |one| one.at += SECOND),
        AdjustError::At { .. }
    ));
    assert!(matches!(
        error("a", |one| one.at -= DAY * 94),
        AdjustError::At { .. }
    ));
    for change in [
        (|one| one.reason.clear()) as fn(&mut Adjustment),
        |one| one.reason = "r".repeat(1_025),
        |one| one.author = " ".to_owned(),
        |one| one.author = "a".repeat(129),
    ] {
        assert!(matches!(error("a", change), AdjustError::Text { .. }));
    }
    record(&sla, 0, 1_001, start);
    for number in 0..1_000 {
        let mut adjustment = adjustment(start, 1);
        adjustment.reason = number.to_string();
        sla.exclude_failures_at("a", adjustment, start).unwrap();
    }
    assert_eq!(
        error("a", |one| one.reason = "0".to_owned()),
        AdjustError::Duplicate
    );
    assert_eq!(error("a", |_| ()), AdjustError::TooMany);
    // Old adjustments are dropped.
    let later = start + DAY * 94;
    record(&sla, 0, 1, later);
    sla.exclude_failures_at("a", adjustment(later, 1), later)
        .unwrap();
}

#[test]
fn nothing_counts_during_maintenance() {
    let start = start();
    let sla = build(start);
    let maintenance = MaintenanceWindow::new(start.wall + MINUTE * 10, start.wall + MINUTE * 20)
        .reason("moving the database")
        .author("ada");
    sla.schedule_maintenance_at(maintenance.clone(), start)
        .unwrap();
    for minute in 0..30 {
        let now = start + MINUTE * minute;
        tick_until(&sla, start + MINUTE * minute.saturating_sub(1), now);
        record(&sla, 1, u64::from((10..20).contains(&minute)), now);
    }
    let now = start + MINUTE * 30;
    tick_until(&sla, start + MINUTE * 29, now);
    let report = sla.report_at(now);
    assert_eq!((report.slos[0].samples, report.slos[0].bad), (20, 0));
    assert_eq!(sla.counts_at(HOUR, now).covered(), MINUTE * 20);
    assert_eq!(report.maintenance, std::slice::from_ref(&maintenance));
    let refused = |change: fn(&mut MaintenanceWindow)| {
        let mut maintenance = maintenance.clone();
        maintenance.from += HOUR;
        maintenance.until += HOUR;
        change(&mut maintenance);
        sla.schedule_maintenance_at(maintenance, now).unwrap_err()
    };
    // The past can't be maintained.
    let from = refused(|one| one.from -= HOUR);
    assert!(matches!(from, AdjustError::From { .. }), "{from}");
    for until in [
        refused(|one| one.until = one.from),
        refused(|one| one.until += DAY * 31),
    ] {
        assert!(matches!(until, AdjustError::Until { .. }), "{until}");
    }
    assert!(matches!(
        refused(|one| one.author.clear()),
        AdjustError::Text { .. }
    ));
}

#[test]
fn maintenance_may_end_early() {
    let start = start();
    let sla = build(start);
    let from = start.wall + MINUTE;
    let maintenance = MaintenanceWindow::new(from, from + HOUR)
        .reason("moving the database")
        .author("ada");
    sla.schedule_maintenance_at(maintenance, start).unwrap();
    assert!(!sla.end_maintenance_at(start));
    assert!(sla.end_maintenance_at(start + MINUTE * 5));
    assert!(!sla.end_maintenance_at(start + MINUTE * 5));
    record(&sla, 1, 0, start + MINUTE * 6);
    let now = start + MINUTE * 7;
    assert_eq!(sla.slo_report_at("a", now).unwrap().samples, 1);
    assert_eq!(sla.counts_at(HOUR, now).covered(), MINUTE * 3);
}

#[test]
fn incidents_survive_a_restart() {
    let start = start();
    let sla = build(start);
    tick_until(&sla, start, start + HOUR);
    let at = |minute| start + HOUR + MINUTE * minute;
    for minute in 0..60 {
        sla.tick(at(minute));
        let bad = u64::from((20..30).contains(&minute)) * 50;
        record(&sla, 100 - bad, bad, at(minute));
    }
    sla.tick(at(60));
    let report = sla.slo_report_at("a", at(60)).unwrap();
    let [incident] = &report.incidents[..] else {
        panic!("{report:?}");
    };
    assert_eq!(incident.from, at(21).wall);
    // The short windows, of 5 and 30 minutes, must be clear of failures.
    assert_eq!(incident.until, Some(at(60).wall));
    assert_eq!(incident.bad, 500);
    assert!(incident.burn_rate.unwrap() > 100.0, "{incident:?}");
    let snapshot = sla.snapshot_at(at(60));
    let after = build(at(60));
    after.restore_at(&snapshot, at(60)).unwrap();
    assert_eq!(
        after.slo_report_at("a", at(60)).unwrap().incidents,
        report.incidents
    );
}

#[test]
fn maintenance_may_start_now() {
    let start = start();
    let sla = build(start);
    let maintenance = MaintenanceWindow::new(start.wall, start.wall + HOUR)
        .reason("moving the database")
        .author("ada");
    // The caller has read the clock before.
    sla.schedule_maintenance_at(maintenance.clone(), start + SECOND)
        .unwrap();
    assert_eq!(
        sla.report_at(start).maintenance[0].from,
        start.wall + SECOND
    );
    let late = sla
        .schedule_maintenance_at(maintenance, start + SECOND * 6)
        .unwrap_err();
    assert!(matches!(late, AdjustError::From { .. }), "{late}");
}

#[test]
fn failures_stay_excluded_until_they_leave_the_window() {
    // In the middle of a bucket of an hour.
    let start = start() + MINUTE * 5;
    let sla = build(start);
    record(&sla, 990, 10, start);
    sla.exclude_failures_at("a", adjustment(start, 10), start)
        .unwrap();
    for minutes in [0, 30, 54, 56, 120] {
        let now = start + DAY * 30 + MINUTE * minutes;
        let report = sla.slo_report_at("a", now).unwrap();
        assert_eq!(report.bad, 0, "{minutes}");
        // The adjustment applies as long as the window contains the failures.
        assert_eq!(
            report.adjustments.is_empty(),
            report.samples == 0,
            "{minutes}"
        );
    }
}

#[test]
fn the_latest_failures_can_be_excluded_at_once() {
    let start = start();
    let sla = build(start);
    record(&sla, 990, 10, start);
    // The wall clock is ahead by less than a detected step.
    let ahead = Now {
        wall: start.wall + SECOND,
        ..start
    };
    sla.exclude_failures_at("a", adjustment(ahead, 4), ahead)
        .unwrap();
    assert_eq!(sla.slo_report_at("a", start).unwrap().bad, 6);
    let error = sla
        .exclude_failures_at("a", adjustment(ahead, 7), ahead)
        .unwrap_err();
    assert_eq!(
        error,
        AdjustError::TooManyBad {
            bad: 7,
            available: 6
        }
    );
}

#[test]
fn only_counted_failures_can_be_excluded() {
    let start = start();
    let sla = build(start);
    record(&sla, 10_000, 50, start);
    let error = sla
        .exclude_failures_at("a", adjustment(start, 5_000), start)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "too many bad events 5000: expected at most 50, the failures around that time that are not excluded yet"
    );
    assert_eq!(sla.slo_report_at("a", start).unwrap().bad, 50);
    sla.exclude_failures_at("a", adjustment(start, 50), start)
        .unwrap();
    let outage = start + MINUTE * 30;
    tick_until(&sla, start, outage);
    record(&sla, 6_000, 4_000, outage);
    let now = outage + SECOND * 30;
    assert_eq!(sla.slo_report_at("a", now).unwrap().bad, 4_000);
    assert!(sla.burn_alerts_at(now).iter().any(|alert| alert.is_firing));
    // Failures are found at their time, in the narrowest buckets.
    for (minutes, bad, is_taken) in [(29, 1, false), (30, 4_001, false), (30, 4_000, true)] {
        let adjustment = adjustment(start + MINUTE * minutes, bad);
        let taken = sla.exclude_failures_at("a", adjustment, now);
        assert_eq!(taken.is_ok(), is_taken, "{minutes} {bad}: {taken:?}");
    }
    assert_eq!(sla.slo_report_at("a", now).unwrap().bad, 0);
}

#[test]
fn maintenance_applies_to_late_and_restored_events() {
    let start = start();
    let slo = Slo::uptime("up", "99%")
        .over(HOUR)
        .source(Source::Manual)
        .count_restart_as_down();
    let percentile = Slo::latency_percentile("p", "99%", SECOND)
        .over(HOUR)
        .source(Source::Manual);
    let build = |now| {
        let builder = ServiceLevels::builder()
            .slo(slo.clone())
            .slo(percentile.clone());
        builder.build_at(now).unwrap()
    };
    let before = build(start);
    let maintenance = MaintenanceWindow::new(start.wall + MINUTE * 10, start.wall + MINUTE * 20)
        .reason("an upgrade")
        .author("ada");
    before.schedule_maintenance_at(maintenance, start).unwrap();
    before
        .uptime_recorder("up")
        .unwrap()
        .set_at(true, start.mono);
    let tracker = before.event_recorder("p").unwrap();
    tracker.record_at(true, SECOND, start.mono);
    let during = start + MINUTE * 12;
    tick_until(&before, start, during);
    tracker.record_at(true, HOUR, during.mono);
    // The percentile has no latency of that time.
    let current = before.slo_report_at("p", during).unwrap().current.unwrap();
    assert!(current < 1_100.0, "{current}");
    // The process is down from minute 12 to 25, of which 5 minutes are not maintenance.
    let snapshot = before.snapshot_at(during);
    let back = Now {
        wall: start.wall + MINUTE * 25,
        ..start
    };
    let after = build(back);
    after.restore_at(&snapshot, back).unwrap();
    let report = after.slo_report_at("up", back).unwrap();
    assert_eq!(
        (report.samples - report.bad, report.bad),
        (600_000, 300_000)
    );
    // The total excludes the time before this process.
    assert_eq!(after.totals_at(back)[0].1.bad(), 0);
}
