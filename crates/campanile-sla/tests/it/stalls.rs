//! The time in which a process was stopped does not count as up.

use campanile_sla::{ServiceLevels, Slo, Source};

use super::*;

/// A minute with ticks, an hour without, and another tick.
fn frozen(slo: Slo) -> (ServiceLevels, Now) {
    let start = start();
    let sla = ServiceLevels::builder().slo(slo).build_at(start).unwrap();
    let up = sla.uptime_recorder("up").unwrap();
    for second in (0..60).step_by(5) {
        let now = start + SECOND * second;
        up.set_at(true, now.mono);
        sla.tick(now);
    }
    assert_eq!(sla.stalls(), 0);
    let now = start + MINUTE + HOUR;
    up.set_at(None, now.mono);
    sla.tick(now);
    assert_eq!(sla.stalls(), 1);
    (sla, now)
}

#[test]
fn a_process_that_was_frozen_was_not_up() {
    let (sla, now) = frozen(Slo::uptime("up", "99.9%").over(DAY).source(Source::Manual));
    let report = sla.slo_report_at("up", now).unwrap();
    assert_eq!((report.samples, report.bad), (85_000, 0));
    assert!(report.coverage < 0.01, "{}", report.coverage);
    // This is no clock step.
    assert_eq!(sla.clock_steps(), 0);
}

#[test]
fn a_frozen_process_was_down_if_the_slo_is_configured_so() {
    let (sla, now) = frozen(
        Slo::uptime("up", "99.9%")
            .over(DAY)
            .source(Source::Manual)
            .count_restart_as_down(),
    );
    let report = sla.slo_report_at("up", now).unwrap();
    let gone = 60_000 + 3_600_000 - 85_000;
    assert_eq!((report.samples, report.bad), (85_000 + gone, gone));
    assert!(report.coverage < 0.01, "{}", report.coverage);
    // Prometheus counts it too, because the process existed.
    assert_eq!(sla.totals_at(now)[0].1.bad(), gone);
}

/// The first request after a freeze moves the counts before the tick.
#[test]
fn requests_after_a_freeze_do_not_cover_it() {
    let start = start();
    let slo = Slo::availability("a", "99%").over(DAY);
    let sla = ServiceLevels::builder().slo(slo).build_at(start).unwrap();
    sla.tick(start);
    sla.record_at(true, SECOND, start.mono);
    let now = start + HOUR;
    sla.record_at(true, SECOND, now.mono);
    sla.tick(now);
    assert_eq!(sla.counts_at(DAY, now).covered(), SECOND * 30);
    tick_until(&sla, now, now + MINUTE);
    assert_eq!(sla.counts_at(DAY, now + MINUTE).covered(), SECOND * 90);
    assert_eq!(sla.slo_report_at("a", now).unwrap().samples, 2);
    assert_eq!(sla.stalls(), 1);
}

/// Without ticks, stalls can't be detected.
#[test]
fn all_time_is_covered_before_the_first_tick() {
    let start = start();
    let sla = ServiceLevels::builder().build_at(start).unwrap();
    assert_eq!(sla.counts_at(DAY, start + HOUR).covered(), HOUR);
    sla.tick(start + HOUR * 2);
    assert_eq!(sla.counts_at(DAY, start + HOUR * 2).covered(), HOUR * 2);
    assert_eq!(sla.stalls(), 0);
}
