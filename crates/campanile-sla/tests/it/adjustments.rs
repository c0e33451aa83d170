use campanile_sla::{AdjustError, Adjustment, Maintenance, Sla, Slo, Standing};

use super::*;

fn build(now: Now) -> Sla {
    let builder = Sla::builder()
        .objective(Slo::availability("a", "99.9%"))
        .objective(Slo::throughput("t", 1.0));
    builder.build(now).unwrap()
}

fn record(sla: &Sla, good: u64, bad: u64, now: Now) {
    for number in 0..good + bad {
        sla.record(number < good, SECOND, now.mono);
    }
}

fn adjustment(at: Now, bad: u64) -> Adjustment {
    Adjustment {
        at: at.wall,
        bad,
        reason: "the payment provider was down".to_owned(),
        author: "ada".to_owned(),
    }
}

#[test]
fn failures_are_forgiven_in_the_windows_that_have_them() {
    let start = start();
    let sla = build(start);
    record(&sla, 990, 10, start);
    let now = start + HOUR * 2;
    assert_eq!(
        sla.objective("a", now).unwrap().standing,
        Standing::Violated
    );
    sla.adjust("a", adjustment(start, 9), now).unwrap();
    let report = sla.objective("a", now).unwrap();
    assert_eq!((report.samples, report.bad), (991, 1));
    assert_eq!(report.adjustments, [adjustment(start, 9)]);
    sla.adjust("a", adjustment(start + MINUTE, 5), now).unwrap();
    let report = sla.objective("a", now).unwrap();
    // No more than there were.
    assert_eq!((report.samples, report.bad), (990, 0));
    assert_eq!(report.standing, Standing::Compliant);
    // What is kept as it was counted stays.
    assert_eq!(sla.totals(now)[0].1.bad(), 10);
    // It survives, once.
    let snapshot = sla.snapshot(now);
    let after = build(now);
    after.restore(&snapshot, now).unwrap();
    after.restore(&after.snapshot(now), now).unwrap();
    assert_eq!(after.objective("a", now).unwrap().adjustments.len(), 2);
}

#[test]
fn adjustments_are_checked() {
    let start = start();
    let sla = build(start);
    let error = |name: &str, change: fn(&mut Adjustment)| {
        let mut adjustment = adjustment(start, 1);
        change(&mut adjustment);
        sla.adjust(name, adjustment, start).unwrap_err()
    };
    assert!(matches!(error("x", |_| ()), AdjustError::Unknown(_)));
    assert!(matches!(error("t", |_| ()), AdjustError::NoBudget { .. }));
    assert_eq!(error("a", |one| one.bad = 0), AdjustError::Adjustment);
    assert_eq!(error("a", |one| one.at += SECOND), AdjustError::Adjustment);
    assert_eq!(
        error("a", |one| one.at -= DAY * 94),
        AdjustError::Adjustment
    );
    for change in [
        (|one| one.reason.clear()) as fn(&mut Adjustment),
        |one| one.reason = "r".repeat(1_025),
        |one| one.author = " ".to_owned(),
        |one| one.author = "a".repeat(129),
    ] {
        assert!(matches!(error("a", change), AdjustError::Text { .. }));
    }
    for _ in 0..1_000 {
        sla.adjust("a", adjustment(start, 1), start).unwrap();
    }
    assert_eq!(error("a", |_| ()), AdjustError::TooMany);
    // Old ones make room.
    let later = start + DAY * 94;
    sla.adjust("a", adjustment(later, 1), later).unwrap();
}

#[test]
fn nothing_counts_while_something_is_maintained() {
    let start = start();
    let sla = build(start);
    let maintenance = Maintenance {
        from: start.wall + MINUTE * 10,
        until: start.wall + MINUTE * 20,
        reason: "moving the database".to_owned(),
        author: "ada".to_owned(),
    };
    sla.maintain(maintenance.clone(), start).unwrap();
    for minute in 0..30 {
        let now = start + MINUTE * minute;
        sla.advance(now);
        record(&sla, 1, u64::from((10..20).contains(&minute)), now);
    }
    let now = start + MINUTE * 30;
    let report = sla.report(now);
    assert_eq!(
        (report.objectives[0].samples, report.objectives[0].bad),
        (20, 0)
    );
    assert_eq!(sla.read(HOUR, now).covered(), MINUTE * 20);
    assert_eq!(report.maintenance, std::slice::from_ref(&maintenance));
    let refused = |change: fn(&mut Maintenance)| {
        let mut maintenance = maintenance.clone();
        maintenance.from += HOUR;
        maintenance.until += HOUR;
        change(&mut maintenance);
        sla.maintain(maintenance, now).unwrap_err()
    };
    // What has happened is adjusted.
    assert_eq!(refused(|one| one.from -= HOUR), AdjustError::Maintenance);
    assert_eq!(
        refused(|one| one.until = one.from),
        AdjustError::Maintenance
    );
    assert_eq!(
        refused(|one| one.until += DAY * 31),
        AdjustError::Maintenance
    );
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
    let maintenance = Maintenance {
        from,
        until: from + HOUR,
        reason: "moving the database".to_owned(),
        author: "ada".to_owned(),
    };
    sla.maintain(maintenance, start).unwrap();
    assert!(!sla.end_maintenance(start));
    assert!(sla.end_maintenance(start + MINUTE * 5));
    assert!(!sla.end_maintenance(start + MINUTE * 5));
    record(&sla, 1, 0, start + MINUTE * 6);
    let now = start + MINUTE * 7;
    assert_eq!(sla.objective("a", now).unwrap().samples, 1);
    assert_eq!(sla.read(HOUR, now).covered(), MINUTE * 3);
}

#[test]
fn incidents_are_remembered() {
    let start = start();
    let sla = build(start);
    let at = |minute| start + MINUTE * minute;
    for minute in 0..60 {
        sla.advance(at(minute));
        let bad = u64::from((20..30).contains(&minute)) * 50;
        record(&sla, 100 - bad, bad, at(minute));
    }
    sla.advance(at(60));
    let report = sla.objective("a", at(60)).unwrap();
    let [incident] = &report.incidents[..] else {
        panic!("{report:?}");
    };
    assert_eq!(incident.from, at(21).wall);
    // The short windows, of 5 and 30 minutes, have to forget it.
    assert_eq!(incident.until, Some(at(60).wall));
    assert_eq!(incident.bad, 500);
    assert!(incident.burn_rate.unwrap() > 100.0, "{incident:?}");
    let snapshot = sla.snapshot(at(60));
    let after = build(at(60));
    after.restore(&snapshot, at(60)).unwrap();
    assert_eq!(
        after.objective("a", at(60)).unwrap().incidents,
        report.incidents
    );
}
