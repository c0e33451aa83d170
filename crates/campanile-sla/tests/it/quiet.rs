//! Alerts of services with few requests, or suddenly none.

use campanile_sla::{MaintenanceWindow, ServiceLevels, Slo, SloStatus, Source};

use super::*;

#[test]
fn an_outage_of_a_quiet_service_pages() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    // Ten requests an hour, all of which fail.
    for tenth in 0..40 {
        let now = start + MINUTE * 6 * tenth;
        tick_until(&sla, start + MINUTE * 6 * tenth.saturating_sub(1), now);
        record(&sla, 0, 1, now);
    }
    let now = start + HOUR * 4;
    sla.tick(now);
    let alerts = sla.burn_alerts_at(now);
    let firing = |long| alerts.iter().any(|one| one.is_firing && one.long == long);
    assert!(firing(HOUR * 6) && firing(DAY), "{alerts:?}");
    assert!(!sla.slo_report_at("a", now).unwrap().incidents.is_empty());
}

fn is_paging(sla: &ServiceLevels, now: Now) -> bool {
    let alerts = sla.burn_alerts_at(now);
    alerts.iter().any(|one| one.is_firing && one.long == HOUR)
}

#[test]
fn silence_is_no_recovery() {
    let start = start();
    let slo = || Slo::availability("a", "99.9%");
    let sla = one(slo(), start);
    let outage = start + MINUTE * 10;
    tick_until(&sla, start, outage);
    record(&sla, 0, 1_000, outage);
    let at = |minutes: u32| outage + MINUTE * minutes;
    tick_until(&sla, outage, at(1));
    assert!(is_paging(&sla, at(1)));
    // The load balancer has removed the service, and no requests arrive.
    tick_until(&sla, at(1), at(20));
    assert!(is_paging(&sla, at(20)));
    assert_eq!(sla.slo_report_at("a", at(20)).unwrap().incidents.len(), 1);
    // A restart does not resolve the alert.
    let after = one(slo(), at(20));
    after.restore_at(&sla.snapshot_at(at(20)), at(20)).unwrap();
    assert!(is_paging(&after, at(20)));
    // An alert does not start without requests.
    let other = one(slo(), start);
    record(&other, 0, 1_000, outage);
    assert!(!is_paging(&other, at(20)));
    // Requests succeed again.
    record(&sla, 1_000, 0, at(21));
    tick_until(&sla, at(20), at(21) + SECOND);
    assert!(!is_paging(&sla, at(21) + SECOND));
    // The long window no longer contains the failures.
    tick_until(&after, at(20), at(61));
    assert!(!is_paging(&after, at(61)));
}

#[test]
fn a_throughput_of_zero_is_a_violation() {
    let start = start();
    let sla = one(
        Slo::throughput("jobs", 1.0)
            .over(HOUR)
            .source(Source::Manual),
        start,
    );
    let report = |now| sla.slo_report_at("jobs", now).unwrap();
    assert_eq!(report(start).status, SloStatus::NoData);
    let now = start + HOUR * 2;
    sla.tick(now);
    let report = report(now);
    assert_eq!(report.coverage, 1.0);
    assert_eq!(
        (report.current, report.status),
        (Some(0.0), SloStatus::Violated)
    );
}

/// Nothing counts during maintenance, which is no silence.
#[test]
fn maintenance_resolves_an_alert() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    let advance = |from: Now, time: Duration, good: u64, bad: u64| {
        let mut now = from;
        while now.mono < from.mono + time {
            record(&sla, good, bad, now);
            sla.tick(now);
            now = now + SECOND * 20;
        }
        now
    };
    let outage = advance(start, HOUR, 10, 0);
    let repair = advance(outage, MINUTE * 10, 0, 100);
    let fires = |now| sla.burn_alerts_at(now).iter().any(|alert| alert.is_firing);
    assert!(fires(repair));
    let maintenance = MaintenanceWindow::new(repair.wall, (repair + HOUR * 4).wall)
        .reason("repair")
        .author("ada");
    sla.schedule_maintenance_at(maintenance, repair).unwrap();
    let later = advance(repair, HOUR * 3, 10, 0);
    assert!(!fires(later));
}
