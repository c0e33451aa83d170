use campanile_sla::{Slo, Source};

use crate::{DAY, HOUR, MINUTE, SECOND, one, start};

#[test]
fn late_events_count_at_their_time() {
    let start = start();
    let sla = one(
        Slo::availability("jobs", "99%").source(Source::Manual),
        start,
    );
    sla.tick(start + HOUR);
    let jobs = sla.event_recorder("jobs").unwrap();
    jobs.record_at(false, SECOND, start.mono);
    jobs.record_at(true, SECOND, (start + HOUR).mono);
    let now = start + HOUR + MINUTE * 2;
    sla.tick(now);
    let report = sla.slo_report_at("jobs", now).unwrap();
    assert_eq!((report.samples, report.bad), (2, 1));
    let rates = report.budget.unwrap().burn_rates;
    assert_eq!(rates[0].rate, Some(0.0), "{rates:?}");
    assert_eq!(rates.last().unwrap().rate, Some(50.0));
}

#[test]
fn events_before_the_process_count_at_their_time() {
    let start = start();
    let now = start + DAY;
    let sla = one(
        Slo::latency_percentile("p", "50%", SECOND)
            .over(HOUR)
            .source(Source::Manual),
        now,
    );
    let jobs = sla.event_recorder("p").unwrap();
    sla.tick(now + MINUTE);
    let recently = start + HOUR * 23 + MINUTE * 30;
    for (latency, at) in [(SECOND * 9, start), (SECOND * 3, recently)] {
        jobs.record_at(true, latency, at.mono);
    }
    let report = sla.slo_report_at("p", now + MINUTE).unwrap();
    assert_eq!(report.samples, 1);
    assert!(
        (2.9..3.1).contains(&(report.current.unwrap() / 1_000.0)),
        "{report:?}"
    );
}
