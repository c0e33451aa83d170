use std::time::Duration;

use campanile_alerts::{Rule, Severity};
use campanile_series::{Labels, Now, Sample, format_duration};
use campanile_sla::{BurnAlert, Sla, Urgency};

/// Returns the rules that ring while a service level's error budget is used too fast, as [`BurnAlert`] has it: `ErrorBudgetBurnPage`, of severity
/// high, and `ErrorBudgetBurnTicket`, of severity medium.
///
/// Each objective and each pair of windows is an alert of its own, with the labels `objective`, `long_window` and `short_window`; its value is the rate
/// over the long window. The annotations `burn_rate`, `budget_remaining` and `budget_exhausted_in` say the same in words, as of the last tick.
///
/// ```
/// use campanile_monitor::burn_rate_rules;
/// # use campanile_series::Now;
/// # use campanile_sla::Sla;
/// # use std::time::{Instant, SystemTime};
///
/// # let sla = Sla::builder().build(Now { wall: SystemTime::now(), mono: Instant::now() })?;
/// // `Campanile::builder("orders").rules(|sources| burn_rate_rules(sources.sla()))`
/// assert_eq!(burn_rate_rules(&sla).len(), 2);
/// # Ok::<_, campanile_sla::BuildError>(())
/// ```
pub fn burn_rate_rules(sla: &Sla) -> [Rule; 2] {
    let rule = |name: &str, urgency: Urgency, severity: Severity, summary: &str| {
        let burning = {
            let sla = sla.clone();
            move |now: Now| -> Vec<Sample> {
                let alerts = sla.burn_alerts(now).into_iter();
                let firing = alerts.filter(|alert| alert.urgency == urgency && alert.is_firing);
                firing.filter_map(|alert| sample(&alert)).collect()
            }
        };
        let sla = sla.clone();
        Rule::when(name, burning)
            .severity(severity)
            .summary(summary)
            .annotate(move |labels, value| texts(&sla, labels, value))
    };
    [
        rule(
            "ErrorBudgetBurnPage",
            Urgency::Page,
            Severity::High,
            "The error budget is used so fast that it will be gone within days.",
        ),
        rule(
            "ErrorBudgetBurnTicket",
            Urgency::Ticket,
            Severity::Medium,
            "The error budget is used faster than the objective's window gives it.",
        ),
    ]
}

/// Returns what there is to say of an alert, as of the last tick.
fn texts(sla: &Sla, labels: &Labels, burn_rate: f64) -> Vec<(String, String)> {
    let objective = labels.get("objective").unwrap_or_default();
    let Ok(slo) = sla.slo(objective) else {
        return Vec::new();
    };
    let state = slo.state();
    let exhausted_in = match state.exhausted_in() {
        Some(Duration::ZERO) => "it is".to_owned(),
        Some(time) => format_duration(Duration::from_secs(time.as_secs())),
        None => "never".to_owned(),
    };
    [
        ("burn_rate", format!("{burn_rate:.2}")),
        (
            "budget_remaining",
            format!("{:.2}%", 100.0 * state.budget_remaining()),
        ),
        ("budget_exhausted_in", exhausted_in),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

fn sample(alert: &BurnAlert) -> Option<Sample> {
    let labels = Labels::new([
        ("objective", alert.objective.clone()),
        ("long_window", format_duration(alert.long)),
        ("short_window", format_duration(alert.short)),
    ]);
    Some(Sample::new(labels.ok()?, alert.rate?))
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use campanile_alerts::Alerts;
    use campanile_sla::Slo;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the tests are the edge")]
    fn start() -> Now {
        Now {
            wall: SystemTime::now(),
            mono: Instant::now(),
        }
    }

    #[tokio::test]
    async fn a_burst_rings_for_each_pair_of_windows() {
        let start = start();
        let sla = Sla::builder()
            .objective(Slo::availability("availability", "99.9%"))
            .objective(Slo::throughput("throughput", 1.0))
            .build(start)
            .unwrap();
        let builder = Alerts::builder();
        let alerts = burn_rate_rules(&sla)
            .into_iter()
            .fold(builder, |builder, rule| builder.rule(rule));
        let alerts = alerts.build().unwrap();
        let second = Duration::from_secs(1);
        let now = start + second * 6 * 3_600;
        for number in 0..1_000 {
            sla.record(number % 50 > 0, second, now.mono);
        }
        sla.advance(now);
        alerts.tick(now).await;
        let active = alerts.active();
        let mut found: Vec<_> = active
            .iter()
            .map(|alert| {
                let label = |name| alert.labels.get(name).unwrap_or_default().to_owned();
                (
                    label("alertname"),
                    label("objective"),
                    label("long_window"),
                    label("severity"),
                )
            })
            .collect();
        found.sort();
        let expected = [
            ("ErrorBudgetBurnPage", "1h", "high"),
            ("ErrorBudgetBurnPage", "6h", "high"),
            ("ErrorBudgetBurnTicket", "1d", "medium"),
            ("ErrorBudgetBurnTicket", "3d", "medium"),
        ];
        let expected = expected.map(|(name, long, severity)| {
            (
                name.to_owned(),
                "availability".to_owned(),
                long.to_owned(),
                severity.to_owned(),
            )
        });
        assert_eq!(found, expected);
        assert!(active.iter().all(|alert| (alert.value - 20.0).abs() < 1e-9));
    }
}
