//! Comparison of the arithmetic with `slokit`.

use campanile_sla::{ServiceLevels, Slo, Urgency};
use slokit::{BurnRate, MwmbrConfig, Objective, Severity, Window};

use super::*;

#[test]
fn budgets_and_burn_rates_match_slokit() {
    let start = start();
    for seed in 0..1_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        // Two decimal places are exact in both.
        let target = random.u32(5_000..10_000);
        let days = random.u32(7..92);
        let text = format!("{}.{:02}%", target / 100, target % 100);
        let slo = Slo::availability("a", text).over(campanile_sla::Window::days(days));
        let sla = ServiceLevels::builder().slo(slo).build_at(start).unwrap();
        let (good, bad) = (random.u64(..3_000), random.u64(..100));
        for number in 0..good + bad {
            sla.record_at(number < good, SECOND, start.mono);
        }
        if good + bad == 0 {
            continue;
        }
        let theirs = slokit::Slo::new(
            Objective::percent(f64::from(target) / 100.0).unwrap(),
            Window::days(u64::from(days)),
        );
        let budget = theirs.error_budget((good + bad) as f64);
        let report = sla.slo_report_at("a", start).unwrap();
        let ours = report.budget.unwrap();
        let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other.abs().max(1.0);
        assert!(
            close(ours.consumed, budget.consumed_ratio(bad as f64)),
            "{seed}"
        );
        assert!(
            close(
                ours.remaining().max(0.0),
                budget.remaining_ratio(bad as f64)
            ),
            "{seed}"
        );
        let rate = BurnRate::from_error_ratio(bad as f64 / (good + bad) as f64, &theirs);
        for burn in &ours.burn_rates {
            assert!(close(burn.rate.unwrap(), rate.value()), "{seed} {burn:?}");
        }
        let period = Window::days(u64::from(days));
        let alerts = sla.burn_alerts_at(start);
        for alert in &alerts {
            let long = Window::hours(alert.long.as_secs() / 3_600);
            let used = BurnRate::new(alert.factor).budget_consumed_over(long, period);
            let share = match (alert.urgency, long.as_secs_f64()) {
                (Urgency::Page, 3_600.0) => 0.02,
                (Urgency::Page, _) => 0.05,
                _ => 0.1,
            };
            assert!(close(used, share), "{alert:?} {used}");
        }
    }
}

#[test]
fn alerts_over_30_days_match_slokit() {
    let start = start();
    let sla = ServiceLevels::builder().slo(Slo::availability("a", "99.9%"));
    let ours = sla.build_at(start).unwrap().burn_alerts_at(start);
    let config = MwmbrConfig::sre_default();
    let theirs = [Severity::Page, Severity::Ticket]
        .into_iter()
        .flat_map(|severity| {
            let of = config.for_severity(severity);
            of.map(move |one| {
                (
                    severity.label(),
                    one.long.as_secs_f64(),
                    one.short.as_secs_f64(),
                    one.factor,
                )
            })
        });
    let ours = ours.iter().map(|one| {
        let (long, short) = (one.long.as_secs_f64(), one.short.as_secs_f64());
        (one.urgency.as_str(), long, short, one.factor)
    });
    assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
}
