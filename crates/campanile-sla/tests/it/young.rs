//! A window that has hardly begun is not judged as if it were full.

use campanile_sla::{Sla, Slo, Standing, Window};

use super::*;

#[test]
fn too_little_is_no_verdict() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    record(&sla, 2, 1, start);
    let now = start + SECOND * 16;
    sla.advance(now);
    let report = sla.objective("a", now).unwrap();
    assert!(report.coverage < 1e-5 && report.current.is_some());
    assert_eq!(report.standing, Standing::Provisional);
    assert_eq!((report.samples, report.samples_needed), (3, 1_000));
    assert!(report.is_estimated);
    assert_eq!(sla.report(now).overall, Standing::Provisional);
    // The figures are as they were counted, and a gate stays open.
    let budget = report.budget.unwrap();
    assert!(budget.consumed > 300.0, "{budget:?}");
    let state = sla.slo("a").unwrap().state();
    assert!(state.is_provisional());
    assert_eq!((state.budget_remaining(), state.burn_rate()), (1.0, None));
    assert_eq!(state.exhausted_in(), None);
    let sla = one(Slo::availability("a", "99.9%"), start);
    record(&sla, 67, 3, start);
    let alerts = sla.burn_alerts(start + SECOND * 2);
    assert!(alerts.iter().all(|alert| !alert.is_firing));
    let report = sla.objective("a", start + SECOND * 2).unwrap();
    assert_eq!(report.standing, Standing::Warning);
}

#[test]
fn five_seconds_after_a_start_are_no_page() {
    let start = start();
    let sla = one(Slo::uptime("up", "99.9%").tracked(), start);
    let up = sla.uptime("up").unwrap();
    up.set(true, start.mono);
    up.set(false, (start + MINUTE).mono);
    let now = start + SECOND * 65;
    sla.advance(now);
    assert!(sla.burn_alerts(now).iter().all(|alert| !alert.is_firing));
    let report = sla.objective("up", now).unwrap();
    assert_eq!(report.standing, Standing::Provisional);
}

/// A month is young until it ends, and a statement of it is not.
#[test]
fn a_failure_at_the_start_of_a_month_is_no_violation() {
    // 2026-12-01
    let first = Now {
        wall: start().wall + DAY * 10,
        ..start()
    };
    let sla = one(
        Slo::availability("a", "99%").over(Window::month("UTC")),
        first,
    );
    record(&sla, 200, 10, first);
    let now = first + SECOND * 30;
    let report = sla.objective("a", now).unwrap();
    assert_eq!(report.standing, Standing::Warning);
    assert!(report.is_estimated);
    // What is expected of the whole month can't pay for that any more.
    let later = first + DAY * 7;
    assert_eq!(
        sla.objective("a", later).unwrap().standing,
        Standing::Violated
    );
    let end = first + DAY * 31 + HOUR;
    let statement = sla.statement("2026-12", "UTC", end).unwrap();
    let december = &statement.report.objectives[0];
    assert_eq!(december.standing, Standing::Violated);
    assert!(!december.is_estimated);
}

#[test]
fn a_window_is_full_with_what_was_restored() {
    let slo = || Slo::availability("a", "99.9%").over(HOUR);
    let start = start() + MINUTE * 7;
    let before = one(slo(), start);
    record(&before, 10, 1, start + MINUTE * 30);
    let snapshot = before.snapshot(start + MINUTE * 40);
    let back = Now {
        wall: start.wall + MINUTE * 41,
        ..start
    };
    let after = one(slo(), back);
    let standing = |sla: &Sla, minutes: u32| {
        let report = sla.objective("a", back + MINUTE * minutes).unwrap();
        (report.standing, report.is_estimated)
    };
    assert_eq!(standing(&after, 0), (Standing::NoData, true));
    after.restore(&snapshot, back).unwrap();
    assert_eq!(standing(&after, 18), (Standing::Provisional, true));
    assert_eq!(standing(&after, 19), (Standing::Violated, false));
}

#[test]
fn other_objectives_take_some_samples_too() {
    let start = start();
    let sla = Sla::builder()
        .objective(Slo::error_rate("error_rate", "5%").over(DAY))
        .objective(Slo::response_time("response_time", SECOND / 2).over(DAY))
        .objective(Slo::percentile("percentile", "99%", SECOND / 2))
        .objective(Slo::throughput("throughput", 1_000.0).over(HOUR))
        .build(start)
        .unwrap();
    let standings = |now| -> Vec<_> {
        let report = sla.report(now);
        report.objectives.iter().map(|one| one.standing).collect()
    };
    record(&sla, 18, 1, start);
    assert_eq!(standings(start + SECOND), [Standing::Provisional; 4]);
    record(&sla, 0, 1, start);
    let now = start + MINUTE;
    let expected = [
        Standing::Warning,
        Standing::Violated,
        Standing::Violated,
        Standing::Violated,
    ];
    assert_eq!(standings(now), expected);
}
