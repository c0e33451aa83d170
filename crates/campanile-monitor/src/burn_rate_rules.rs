use std::collections::BTreeSet;
use std::time::Duration;

use campanile_alerts::{Rule, Severity};
use campanile_series::{LabelSet, Now, Sample, format_duration};
use campanile_sla::{BurnAlert, ServiceLevels, Urgency};

/// Returns the rules that fire while the error budget of an SLO is consumed too fast, as
/// [`BurnAlert`] defines: `ErrorBudgetBurnPage` of severity high, and `ErrorBudgetBurnTicket` of
/// severity medium.
///
/// Each SLO has at most one alert at a time. It fires if one of the rule's pairs of windows is
/// exceeded. A ticket does not fire while the page of the same SLO does.
///
/// - The labels are `slo` and, if set, [`service`](campanile_sla::ServiceLevelsBuilder::service).
/// - The value is the burn rate over the long window of the first pair that is exceeded.
/// - The annotations are `summary`, `burn_rate`, `budget_remaining` and `budget_exhausted_in`, as of
///   the last evaluation.
///
/// ```
/// use campanile_monitor::burn_rate_rules;
/// # use campanile_sla::ServiceLevels;
///
/// # let sla = ServiceLevels::builder().build()?;
/// // `Campanile::builder("orders").rules(|sources| burn_rate_rules(sources.sla()))`
/// assert_eq!(burn_rate_rules(&sla).len(), 2);
/// # Ok::<_, campanile_sla::BuildError>(())
/// ```
pub fn burn_rate_rules(sla: &ServiceLevels) -> [Rule; 2] {
    let rule = |name: &str, urgency: Urgency, severity: Severity, what: &'static str| {
        let burning = {
            let sla = sla.clone();
            move |now: Now| burning(&sla.burn_alerts_at(now), urgency)
        };
        let texts = {
            let sla = sla.clone();
            move |labels: &LabelSet, value: f64| texts(&sla, labels, value, what)
        };
        let rule = Rule::when(name, burning)
            .severity(severity)
            .annotations_with(texts);
        match sla.service() {
            Some(service) => rule.label("service", service),
            None => rule,
        }
    };
    [
        rule(
            "ErrorBudgetBurnPage",
            Urgency::Page,
            Severity::High,
            "is consumed so fast that it will be exhausted within days",
        ),
        rule(
            "ErrorBudgetBurnTicket",
            Urgency::Ticket,
            Severity::Medium,
            "is consumed faster than its window allows",
        ),
    ]
}

/// Returns one sample per SLO with a firing alert of this urgency and no more urgent one.
fn burning(alerts: &[BurnAlert], urgency: Urgency) -> Vec<Sample> {
    let firing = |urgency: Urgency| {
        let firing = alerts.iter().filter(|alert| alert.is_firing);
        firing.filter(move |alert| alert.urgency == urgency)
    };
    let mut seen = BTreeSet::new();
    if urgency == Urgency::Ticket {
        seen.extend(firing(Urgency::Page).map(|alert| &alert.slo));
    }
    let new = firing(urgency).filter(|alert| seen.insert(&alert.slo));
    new.filter_map(sample).collect()
}

fn sample(alert: &BurnAlert) -> Option<Sample> {
    let labels = LabelSet::new([("slo", alert.slo.clone())]);
    Some(Sample::new(labels.ok()?, alert.rate?))
}

/// Returns the annotations of an alert, as of the last evaluation.
fn texts(
    sla: &ServiceLevels,
    labels: &LabelSet,
    burn_rate: f64,
    what: &str,
) -> Vec<(String, String)> {
    let name = labels.get("slo").unwrap_or_default();
    let Ok(slo) = sla.slo(name) else {
        return Vec::new();
    };
    let of_service = sla.service().map(|service| format!(" of {service}"));
    let of_service = of_service.unwrap_or_default();
    let exhausted_in = match slo.exhausted_in() {
        Some(time) => format_duration(Duration::from_secs(time.as_secs())),
        None => "never".to_owned(),
    };
    [
        (
            "summary",
            format!("The error budget of {name}{of_service} {what}."),
        ),
        ("burn_rate", format!("{burn_rate:.2}")),
        (
            "budget_remaining",
            format!("{:.2}%", 100.0 * slo.budget_remaining()),
        ),
        ("budget_exhausted_in", exhausted_in),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
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
    async fn an_outage_is_one_page_and_then_a_ticket() {
        let start = start();
        let sla = ServiceLevels::builder()
            .service("orders")
            .slo(Slo::availability("availability", "99.9%"))
            .slo(Slo::throughput("throughput", 1.0))
            .build_at(start)
            .unwrap();
        let builder = Alerts::builder();
        let alerts = burn_rate_rules(&sla)
            .into_iter()
            .fold(builder, |builder, rule| builder.rule(rule));
        let alerts = alerts.build().unwrap();
        let minute = Duration::from_secs(60);
        let found = async |now| {
            sla.tick(now);
            alerts.tick(now).await;
            let active = alerts.active();
            let found = active.iter().map(|alert| {
                let label = |name| alert.labels.get(name).unwrap_or_default();
                ["alertname", "slo", "service", "severity"]
                    .map(label)
                    .join(" ")
            });
            let texts = active.iter().map(|alert| alert.annotations.clone());
            (found.collect::<Vec<_>>(), texts.collect::<Vec<_>>())
        };
        // Both pairs of windows of both rules are exceeded.
        let outage = start + minute * 6 * 60;
        for number in 0..1_000 {
            sla.record_at(number % 50 > 0, minute, outage.mono);
        }
        let all = sla.burn_alerts_at(outage);
        assert_eq!(all.iter().filter(|alert| alert.is_firing).count(), 4);
        let (page, texts) = found(outage).await;
        assert_eq!(page, ["ErrorBudgetBurnPage availability orders high"]);
        let text = |name: &str| texts[0].get(name).map(String::as_str);
        assert_eq!(
            text("summary"),
            Some(
                "The error budget of availability of orders is consumed so fast that it will be exhausted within days."
            )
        );
        assert_eq!(text("burn_rate"), Some("20.00"));
        assert_eq!(text("budget_exhausted_in"), Some("0s"));
        // The fast pair is over, the slow one is not: it is the same page.
        let later = outage + minute * 10;
        for _ in 0..1_000 {
            sla.record_at(true, minute, later.mono);
        }
        let (page, _) = found(later).await;
        assert_eq!(page, ["ErrorBudgetBurnPage availability orders high"]);
        assert_eq!(alerts.active()[0].value, 10.0);
        let later = outage + minute * 45;
        for _ in 0..1_000 {
            sla.record_at(true, minute, later.mono);
        }
        let (ticket, texts) = found(later).await;
        assert_eq!(ticket, ["ErrorBudgetBurnTicket availability orders medium"]);
        let summary = &texts[0]["summary"];
        assert!(summary.ends_with("is consumed faster than its window allows."));
    }
}
