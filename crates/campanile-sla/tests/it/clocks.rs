use std::time::UNIX_EPOCH;

use campanile_series::Now;
use campanile_sla::{Adjustment, Bound, MaintenanceWindow, Slo};

use crate::{DAY, HOUR, MINUTE, SECOND, one, record, start, tick_until};

/// The wall clock was two hours ahead until the process started.
fn set_right(start: Now, minutes: u32) -> Now {
    let now = start + MINUTE * minutes;
    Now {
        wall: now.wall - HOUR * 2,
        ..now
    }
}

#[test]
fn maintenance_applies_after_the_clock_was_set_right() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    let right = |minutes| set_right(start, minutes);
    sla.tick(right(5));
    let maintenance = MaintenanceWindow::new(right(6).wall, right(66).wall)
        .reason("an upgrade")
        .author("ada");
    sla.schedule_maintenance_at(maintenance, right(6)).unwrap();
    sla.tick(right(10));
    record(&sla, 0, 500, right(10));
    assert_eq!(sla.slo_report_at("a", right(11)).unwrap().bad, 0);
    assert_eq!(sla.clock_steps(), 1);
}

#[test]
fn maintenance_applies_after_a_restart_with_counts_from_the_future() {
    let start = start();
    let before = one(Slo::availability("a", "99.9%"), start);
    record(&before, 0, 10, start);
    let snapshot = before.snapshot_at(start);
    let right = |minutes| set_right(start, minutes);
    let sla = one(Slo::availability("a", "99.9%"), right(1));
    sla.restore_at(&snapshot, right(1)).unwrap();
    sla.tick(right(2));
    sla.tick(right(3));
    let maintenance = MaintenanceWindow::new(right(3).wall, right(63).wall)
        .reason("an upgrade")
        .author("ada");
    sla.schedule_maintenance_at(maintenance, right(3)).unwrap();
    record(&sla, 0, 500, right(10));
    assert_eq!(sla.slo_report_at("a", right(11)).unwrap().bad, 10);
}

#[test]
fn adjustments_and_incidents_are_shifted_with_the_counts() {
    let start = start();
    let sla = one(Slo::availability("a", "99%").over(DAY * 7), start);
    record(&sla, 0, 500, start);
    let now = start + MINUTE * 6;
    tick_until(&sla, start, now);
    let adjustment = Adjustment::new(start.wall, 400)
        .reason("a load test")
        .author("ada");
    sla.exclude_failures_at("a", adjustment, now).unwrap();
    assert_eq!(sla.slo_report_at("a", now).unwrap().incidents.len(), 1);
    for minute in 7..10 {
        sla.tick(set_right(start, minute));
    }
    let now = set_right(start, 10);
    let report = sla.slo_report_at("a", now).unwrap();
    assert_eq!(report.bad, 100);
    assert_eq!(report.adjustments[0].at, start.wall - HOUR * 2);
    assert!(report.incidents[0].from < now.wall, "{report:?}");
    // An hour later both the failures and their adjustment are older than an hour.
    let now = set_right(start, 65);
    record(&sla, 0, 100, now);
    let report = sla.slo_report_at("a", now + SECOND).unwrap();
    let rates = report.budget.unwrap().burn_rates;
    assert!(rates[0].rate.unwrap() > 99.0, "{rates:?}");
}

#[test]
fn a_gauge_continues_after_the_clock_was_set_back() {
    let start = start();
    let sla = one(Slo::gauge("queue", "99%", Bound::AtMost(10.0)), start);
    let queue = sla.gauge_recorder("queue").unwrap();
    for minute in 1..=60u32 {
        let now = start + MINUTE * minute;
        let now = Now {
            wall: now.wall - DAY * 10,
            ..now
        };
        queue.observe_at(1.0, now.mono);
        sla.tick(now);
    }
    let now = start + MINUTE * 61;
    let samples = sla.slo_report_at("queue", now).unwrap().samples;
    assert!((55..=60).contains(&samples), "{samples}");
}

#[test]
fn a_boot_at_1970_keeps_the_ages() {
    let start = start();
    let before = one(Slo::availability("a", "99%"), start);
    for hour in 0..480u32 {
        record(&before, 1, 0, start + HOUR * hour);
    }
    let end = start + HOUR * 480;
    let boot = Now {
        wall: UNIX_EPOCH,
        ..start
    };
    let after = one(Slo::availability("a", "99%"), boot);
    after.restore_at(&before.snapshot_at(end), boot).unwrap();
    let at = |second: u32| {
        let now = boot + SECOND * second;
        let wall = if second < 125 {
            now.wall
        } else {
            end.wall + SECOND * second
        };
        Now { wall, ..now }
    };
    for second in (0..=300).step_by(5) {
        after.tick(at(second));
    }
    let good = after.counts_at(DAY * 3, at(300)).good();
    assert!((70..=75).contains(&good), "{good}");
}
