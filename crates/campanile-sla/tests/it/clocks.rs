use std::time::UNIX_EPOCH;

use campanile_series::Now;
use campanile_sla::{Adjustment, Bound, Maintenance, Slo};

use crate::{DAY, HOUR, MINUTE, SECOND, one, record, start, watch};

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
    sla.advance(right(5));
    let maintenance = Maintenance {
        from: right(6).wall,
        until: right(66).wall,
        reason: "an upgrade".to_owned(),
        author: "ada".to_owned(),
    };
    sla.maintain(maintenance, right(6)).unwrap();
    sla.advance(right(10));
    record(&sla, 0, 500, right(10));
    assert_eq!(sla.objective("a", right(11)).unwrap().bad, 0);
    assert_eq!(sla.clock_steps(), 1);
}

#[test]
fn maintenance_applies_after_a_restart_with_counts_from_the_future() {
    let start = start();
    let before = one(Slo::availability("a", "99.9%"), start);
    record(&before, 0, 10, start);
    let snapshot = before.snapshot(start);
    let right = |minutes| set_right(start, minutes);
    let sla = one(Slo::availability("a", "99.9%"), right(1));
    sla.restore(&snapshot, right(1)).unwrap();
    sla.advance(right(2));
    sla.advance(right(3));
    let maintenance = Maintenance {
        from: right(3).wall,
        until: right(63).wall,
        reason: "an upgrade".to_owned(),
        author: "ada".to_owned(),
    };
    sla.maintain(maintenance, right(3)).unwrap();
    record(&sla, 0, 500, right(10));
    assert_eq!(sla.objective("a", right(11)).unwrap().bad, 10);
}

#[test]
fn adjustments_and_incidents_move_with_the_counts() {
    let start = start();
    let sla = one(Slo::availability("a", "99%").over(DAY * 7), start);
    record(&sla, 0, 500, start);
    let now = start + MINUTE * 6;
    watch(&sla, start, now);
    let adjustment = Adjustment {
        at: start.wall,
        bad: 400,
        reason: "a load test".to_owned(),
        author: "ada".to_owned(),
    };
    sla.adjust("a", adjustment, now).unwrap();
    assert_eq!(sla.objective("a", now).unwrap().incidents.len(), 1);
    for minute in 7..10 {
        sla.advance(set_right(start, minute));
    }
    let now = set_right(start, 10);
    let report = sla.objective("a", now).unwrap();
    assert_eq!(report.bad, 100);
    assert_eq!(report.adjustments[0].at, start.wall - HOUR * 2);
    assert!(report.incidents[0].from < now.wall, "{report:?}");
    // An hour later the failures are older than an hour, and so is what excludes them.
    let now = set_right(start, 65);
    record(&sla, 0, 100, now);
    let report = sla.objective("a", now + SECOND).unwrap();
    let rates = report.budget.unwrap().burn_rates;
    assert!(rates[0].rate.unwrap() > 99.0, "{rates:?}");
}

#[test]
fn a_gauge_goes_on_after_the_clock_was_set_back() {
    let start = start();
    let sla = one(Slo::gauge("queue", "99%", Bound::AtMost(10.0)), start);
    let queue = sla.slices("queue").unwrap();
    for minute in 1..=60u32 {
        let now = start + MINUTE * minute;
        let now = Now {
            wall: now.wall - DAY * 10,
            ..now
        };
        queue.observe(1.0, now.mono);
        sla.advance(now);
    }
    let now = start + MINUTE * 61;
    let samples = sla.objective("queue", now).unwrap().samples;
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
    after.restore(&before.snapshot(end), boot).unwrap();
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
        after.advance(at(second));
    }
    let good = after.read(DAY * 3, at(300)).good();
    assert!((70..=75).contains(&good), "{good}");
}
