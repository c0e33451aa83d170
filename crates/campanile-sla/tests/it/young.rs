//! The status of a young window.

use campanile_sla::{ServiceLevels, Slo, SloStatus, Source, Window};

use super::*;

#[test]
fn too_few_samples_are_provisional() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    record(&sla, 2, 1, start);
    let now = start + SECOND * 16;
    sla.tick(now);
    let report = sla.slo_report_at("a", now).unwrap();
    assert!(report.coverage < 1e-5 && report.current.is_some());
    assert_eq!(report.status, SloStatus::Provisional);
    assert_eq!((report.samples, report.samples_needed), (3, 1_000));
    assert!(report.is_estimated);
    assert_eq!(sla.report_at(now).overall, SloStatus::Provisional);
    // The values are as counted, but the handle returns the whole budget.
    let budget = report.budget.unwrap();
    assert!(budget.consumed > 300.0, "{budget:?}");
    let slo = sla.slo("a").unwrap();
    assert_eq!(slo.status(), SloStatus::Provisional);
    assert_eq!((slo.budget_remaining(), slo.burn_rate()), (1.0, None));
    assert_eq!(slo.exhausted_in(), None);
    let sla = one(Slo::availability("a", "99.9%"), start);
    record(&sla, 67, 3, start);
    let alerts = sla.burn_alerts_at(start + SECOND * 2);
    assert!(alerts.iter().all(|alert| !alert.is_firing));
    let report = sla.slo_report_at("a", start + SECOND * 2).unwrap();
    assert_eq!(report.status, SloStatus::Warning);
}

#[test]
fn five_seconds_after_a_start_are_no_page() {
    let start = start();
    let sla = one(Slo::uptime("up", "99.9%").source(Source::Manual), start);
    let up = sla.uptime_recorder("up").unwrap();
    up.set_at(true, start.mono);
    up.set_at(false, (start + MINUTE).mono);
    let now = start + SECOND * 65;
    sla.tick(now);
    assert!(sla.burn_alerts_at(now).iter().all(|alert| !alert.is_firing));
    let report = sla.slo_report_at("up", now).unwrap();
    assert_eq!(report.status, SloStatus::Provisional);
}

/// A month is young until its end; the report of a past month is not.
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
    let report = sla.slo_report_at("a", now).unwrap();
    assert_eq!(report.status, SloStatus::Warning);
    assert!(report.is_estimated);
    // The budget of the whole month is exceeded.
    let later = first + DAY * 7;
    assert_eq!(
        sla.slo_report_at("a", later).unwrap().status,
        SloStatus::Violated
    );
    let end = first + DAY * 31 + HOUR;
    let statement = sla.monthly_report_at("2026-12", "UTC", end).unwrap();
    let december = &statement.report.slos[0];
    assert_eq!(december.status, SloStatus::Violated);
    assert!(!december.is_estimated);
}

#[test]
fn a_window_is_full_with_restored_counts() {
    let slo = || Slo::availability("a", "99.9%").over(HOUR);
    let start = start() + MINUTE * 7;
    let before = one(slo(), start);
    record(&before, 10, 1, start + MINUTE * 30);
    let snapshot = before.snapshot_at(start + MINUTE * 40);
    let back = Now {
        wall: start.wall + MINUTE * 41,
        ..start
    };
    let after = one(slo(), back);
    let status = |sla: &ServiceLevels, minutes: u32| {
        let report = sla.slo_report_at("a", back + MINUTE * minutes).unwrap();
        (report.status, report.is_estimated)
    };
    assert_eq!(status(&after, 0), (SloStatus::NoData, true));
    after.restore_at(&snapshot, back).unwrap();
    assert_eq!(status(&after, 18), (SloStatus::Provisional, true));
    assert_eq!(status(&after, 19), (SloStatus::Violated, false));
}

#[test]
fn other_slos_require_samples_too() {
    let start = start();
    let sla = ServiceLevels::builder()
        .slo(Slo::error_rate("error_rate", "5%").over(DAY))
        .slo(Slo::mean_latency("response_time", SECOND / 2).over(DAY))
        .slo(Slo::latency_percentile("percentile", "99%", SECOND / 2))
        .slo(Slo::throughput("throughput", 1_000.0).over(HOUR))
        .build_at(start)
        .unwrap();
    let statuses = |now| -> Vec<_> {
        let report = sla.report_at(now);
        report.slos.iter().map(|one| one.status).collect()
    };
    record(&sla, 18, 1, start);
    assert_eq!(statuses(start + SECOND), [SloStatus::Provisional; 4]);
    record(&sla, 0, 1, start);
    let now = start + MINUTE;
    let expected = [
        SloStatus::Warning,
        SloStatus::Violated,
        SloStatus::Violated,
        SloStatus::Violated,
    ];
    assert_eq!(statuses(now), expected);
}
