//! Alerts of services that have few requests, or suddenly none.

use campanile_sla::Slo;

use super::*;

#[test]
fn an_outage_of_a_quiet_service_rings() {
    let start = start();
    let sla = one(Slo::availability("a", "99.9%"), start);
    // Ten requests an hour, all of which fail.
    for tenth in 0..40 {
        let now = start + MINUTE * 6 * tenth;
        watch(&sla, start + MINUTE * 6 * tenth.saturating_sub(1), now);
        record(&sla, 0, 1, now);
    }
    let now = start + HOUR * 4;
    sla.advance(now);
    let alerts = sla.burn_alerts(now);
    let firing = |long| alerts.iter().any(|one| one.is_firing && one.long == long);
    assert!(firing(HOUR * 6) && firing(DAY), "{alerts:?}");
    assert!(!sla.objective("a", now).unwrap().incidents.is_empty());
}
