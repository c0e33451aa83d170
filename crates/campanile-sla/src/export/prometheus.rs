//! Prometheus rules with Sloth's names and labels, so that Sloth's dashboards and tools work with
//! them.

use std::fmt::Write;
use std::time::Duration;

use campanile_series::format_duration;

use super::definition::{EVENTS, Export, ExportedSlo, Selector};
use super::yaml::{indented, map, quoted};
use crate::budget::{self, Limit, MIN_BAD, Urgency};
use crate::ratio::{PARTS, percent, ratio};

/// The matcher of bad events.
const BAD: &str = ",result=\"bad\"";

/// The interval of the increments that long windows sum.
const STEP: Duration = Duration::from_secs(5 * 60);

/// Returns whether a window sums the increments of steps, instead of reading the counters.
pub(super) fn is_long(window: Duration) -> bool {
    window >= Duration::from_secs(24 * 60 * 60)
}

impl Export {
    /// Returns recording and alerting rules for Prometheus, in YAML.
    ///
    /// - The error ratio over each window, such as `slo:sli_error:ratio_rate5m`.
    /// - The error budget, its burn rates, and `sloth_slo_info`.
    /// - A page and a ticket over the windows of [`BurnAlert`](crate::BurnAlert). Their names and
    ///   labels are those of `campanile_monitor::burn_rate_rules` and of Sloth. While an SLO's page
    ///   fires, its ticket does not.
    ///
    /// Each ratio divides the bad by the valid events of the whole window. Sloth uses the mean of
    /// five-minute ratios for 30 days, in which a quiet night has the weight of a busy day. An
    /// alert also requires three bad events in its long window (for an uptime 30 s), and counts
    /// from before its short one, as
    /// [`ServiceLevels::burn_alerts`](crate::ServiceLevels::burn_alerts) does.
    ///
    /// Windows of a day or more sum `slo:events:increase5m`, a rule that is evaluated every 5 min.
    /// Over 30 days it has two series of 8,640 samples per SLO, independent of the number of
    /// instances. It starts when Prometheus loads the rules. To fill in the time before, run
    /// `promtool tsdb create-blocks-from rules` with the groups `sloth-slo-event-recordings-…`.
    /// Events during a gap in the scrapes of up to a day are counted after the gap.
    #[must_use]
    pub fn prometheus_rules(&self) -> String {
        let mut out = String::from("groups:\n");
        for slo in &self.slos {
            let id = slo.id(&self.service);
            let step = format!("  interval: {}\n", format_duration(STEP));
            let groups = [
                ("event-recordings", &*step, self.event_recordings(slo)),
                ("sli-recordings", "", self.sli_recordings(slo)),
                ("meta-recordings", "", self.meta_recordings(slo)),
                ("alerts", "", self.alerts(slo)),
            ];
            for (group, settings, rules) in groups {
                if !rules.is_empty() {
                    let _ = write!(
                        out,
                        "- name: sloth-slo-{group}-{id}\n{settings}  rules:\n{rules}"
                    );
                }
            }
        }
        if self.slos.is_empty() {
            out = "groups: []\n".to_owned();
        }
        out
    }

    /// Returns the [rules](Self::prometheus_rules) as a `PrometheusRule` for the Prometheus
    /// operator on Kubernetes.
    ///
    /// `name` and `labels` are those of the resource; the labels must match the operator's
    /// `ruleSelector`.
    #[must_use]
    pub fn prometheus_rule_resource(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let mut out = format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: {}\n",
            quoted(name)
        );
        let labels = labels.iter().map(|(name, value)| (quoted(name), value));
        map(&mut out, 2, "labels", labels);
        out + "spec:\n" + &indented(&self.prometheus_rules(), 2)
    }

    /// Returns the rule for the events of each step, which the long windows sum.
    ///
    /// Unlike `increase`, the difference to the previous step leaves no gap between two steps.
    /// After a gap in the scrapes it is the difference to the last value within a day. `increase`
    /// covers a counter that appears or is reset.
    fn event_recordings(&self, slo: &ExportedSlo) -> String {
        let mut out = String::new();
        if slo.windows().into_iter().any(is_long) {
            let (events, step) = (self.events(slo, ""), format_duration(STEP));
            let expr = format!(
                "sum by (result) (\n  ({events} - {events} offset {step} >= 0)\n  or\n  \
                 ({events} - last_over_time({events}[1d] offset {step}) >= 0)\n  or\n  \
                 increase({events}[{step}])\n)"
            );
            let record = format!("slo:events:increase{step}");
            rule(&mut out, &record, &expr, self.labels(slo));
        }
        out
    }

    /// Returns the rules for the ratio of bad events over each window.
    fn sli_recordings(&self, slo: &ExportedSlo) -> String {
        let mut out = String::new();
        for window in slo.windows() {
            let (read, (bad, all)) = match is_long(window) {
                true => ("sum_over_time", self.steps(slo)),
                false => ("rate", (self.events(slo, BAD), self.events(slo, ""))),
            };
            let window = format_duration(window);
            let expr =
                format!("(sum({read}({bad}[{window}])))\n/\n(sum({read}({all}[{window}])))",);
            let record = format!("slo:sli_error:ratio_rate{window}");
            let labels = [("sloth_window".to_owned(), window)];
            rule(
                &mut out,
                &record,
                &expr,
                self.labels(slo).into_iter().chain(labels),
            );
        }
        out
    }

    /// Returns the rules for the target, the budget and the burn rates.
    fn meta_recordings(&self, slo: &ExportedSlo) -> String {
        let selector = Selector {
            service: &self.service,
            slo,
        };
        let on = "/ on(sloth_id, sloth_slo, sloth_service) group_left";
        let windows = slo.windows();
        let shortest = windows.first().copied().unwrap_or_default();
        let burn_rate = |window: Duration| {
            let window = format_duration(window);
            format!(
                "slo:sli_error:ratio_rate{window}{selector}\n{on}\nslo:error_budget:ratio{selector}"
            )
        };
        let days = slo.period.as_secs_f64() / 86_400.0;
        let mut out = String::new();
        for (record, expr) in [
            (
                "slo:objective:ratio",
                format!("vector({})", ratio(PARTS - slo.allowed)),
            ),
            (
                "slo:error_budget:ratio",
                format!("vector({})", ratio(slo.allowed)),
            ),
            ("slo:time_period:days", format!("vector({days})")),
            ("slo:current_burn_rate:ratio", burn_rate(shortest)),
            ("slo:period_burn_rate:ratio", burn_rate(slo.period)),
            (
                "slo:period_error_budget_remaining:ratio",
                format!("1 - slo:period_burn_rate:ratio{selector}"),
            ),
        ] {
            rule(&mut out, record, &expr, self.labels(slo));
        }
        let info = [
            ("sloth_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("sloth_mode", "campanile".to_owned()),
            ("sloth_spec", "campanile/v1".to_owned()),
            ("sloth_objective", percent(PARTS - slo.allowed).to_string()),
        ];
        let info = info.map(|(name, value)| (name.to_owned(), value));
        rule(
            &mut out,
            "sloth_slo_info",
            "vector(1)",
            self.labels(slo).into_iter().chain(info),
        );
        out
    }

    fn alerts(&self, slo: &ExportedSlo) -> String {
        let mut out = String::new();
        for alert in slo.alerts() {
            let mut expr = self.alert_expr(slo, &alert);
            // While the page fires, the ticket is redundant.
            if let Some(page) = slo.alerts().find(|alert| alert.urgency == Urgency::Page)
                && alert.urgency == Urgency::Ticket
            {
                expr = format!(
                    "(\n{expr}\n)\nunless\n(\n{}\n)",
                    self.alert_expr(slo, &page)
                );
            }
            let _ = writeln!(out, "  - alert: {}\n    expr: |", alert.name());
            out += &indented(&expr, 6);
            map(&mut out, 4, "labels", alert.labels(&self.service, slo));
            map(&mut out, 4, "annotations", self.annotations(slo, &alert));
        }
        out
    }

    /// Returns the condition of an alert: one of its pairs of windows exceeds its limit.
    fn alert_expr(&self, slo: &ExportedSlo, alert: &Alert) -> String {
        let pairs = alert.pairs.iter();
        let pairs = pairs.map(|pair| self.pair_expr(slo, alert, pair));
        let pairs: Vec<_> = pairs.map(|expr| format!("(\n{expr}\n)")).collect();
        pairs.join("\nor\n")
    }

    /// Returns the condition of one pair of windows.
    ///
    /// Without requests in the short window nothing has recovered, so a firing alert continues to
    /// fire.
    fn pair_expr(&self, slo: &ExportedSlo, alert: &Alert, pair: &Pair) -> String {
        let selector = Selector {
            service: &self.service,
            slo,
        };
        let burns = |window: Duration| {
            format!(
                "(max(slo:sli_error:ratio_rate{}{selector}) without (sloth_window) / {}) > {}",
                format_duration(window),
                ratio(slo.allowed),
                pair.limit.factor()
            )
        };
        let (increase, bad) = match is_long(pair.long) {
            true => ("sum_over_time", self.steps(slo).0),
            false => ("increase", self.events(slo, BAD)),
        };
        let (long, short) = (format_duration(pair.long), format_duration(pair.short));
        let before = format_duration(pair.long.saturating_sub(pair.short));
        let min_bad = MIN_BAD * slo.definition.unit();
        let all = self.events(slo, "");
        let fires = format!(
            "ALERTS{{alertname=\"{}\",alertstate=\"firing\",sloth_id=\"{}\"}}",
            alert.name(),
            slo.id(&self.service)
        );
        format!(
            "{burns_long}\nand\n(\n{burns_short}\nor\n{burns_long}\n\
             and on() (sum(rate({all}[{short}])) == 0)\nand on() ({fires})\n)\n\
             and on() (round(sum({increase}({bad}[{long}]))) >= {min_bad})\n\
             and on() (count(last_over_time({bad}[{before}] offset {short})) > 0)",
            burns_long = burns(pair.long),
            burns_short = burns(pair.short),
        )
    }

    /// Returns the annotations of an alert, with templates for the current values.
    pub(super) fn annotations(
        &self,
        slo: &ExportedSlo,
        alert: &Alert,
    ) -> Vec<(&'static str, String)> {
        let selector = Selector {
            service: &self.service,
            slo,
        };
        let remaining = format!("slo:period_error_budget_remaining:ratio{selector}");
        let rate = format!(
            "slo:sli_error:ratio_rate{}{selector}",
            format_duration(alert.pairs[0].long)
        );
        let seconds = slo.period.as_secs();
        let exhausted_in = format!(
            "clamp_min({remaining}, 0) * {seconds} / on(sloth_id) ({rate} / {})",
            ratio(slo.allowed)
        );
        let query = |expr: &str, show: &str| {
            format!(
                "{{{{ with query `{expr}` }}}}{{{{ . | first | value | {show} }}}}{{{{ end }}}}"
            )
        };
        let summary = match alert.urgency {
            Urgency::Page => "is consumed so fast that it will be exhausted within days",
            Urgency::Ticket => "is consumed faster than its window allows",
        };
        vec![
            (
                "summary",
                format!(
                    "The error budget of {} of {} {summary}.",
                    slo.name, self.service
                ),
            ),
            ("burn_rate", "{{ $value | printf \"%.2f\" }}".to_owned()),
            ("budget_remaining", query(&remaining, "humanizePercentage")),
            (
                "budget_exhausted_in",
                query(&exhausted_in, "humanizeDuration"),
            ),
        ]
    }

    /// Returns the selectors of the bad and of all events of each step.
    pub(super) fn steps(&self, slo: &ExportedSlo) -> (String, String) {
        let step = format_duration(STEP);
        let selector = Selector {
            service: &self.service,
            slo,
        };
        let all = format!("slo:events:increase{step}{selector}");
        let bad = all.replacen('{', "{result=\"bad\", ", 1);
        (bad, all)
    }

    /// Returns the selector of an SLO's counter, with an additional matcher.
    pub(super) fn events(&self, slo: &ExportedSlo, matcher: &str) -> String {
        let matchers = self.matchers.iter().map(|matcher| format!("{matcher},"));
        let matchers: String = matchers.collect();
        format!("{EVENTS}{{{matchers}slo=\"{}\"{matcher}}}", slo.name)
    }

    pub(super) fn labels(&self, slo: &ExportedSlo) -> Vec<(String, String)> {
        let labels = [
            ("sloth_id", slo.id(&self.service)),
            ("sloth_service", self.service.clone()),
            ("sloth_slo", slo.name.clone()),
        ];
        labels.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

fn rule(
    out: &mut String,
    record: &str,
    expr: &str,
    labels: impl IntoIterator<Item = (String, String)>,
) {
    let _ = writeln!(out, "  - record: {record}\n    expr: |");
    *out += &indented(expr, 6);
    map(out, 4, "labels", labels);
}

/// An alert of an SLO. It fires if one of its pairs of windows exceeds its limit.
pub(super) struct Alert {
    pub(super) urgency: Urgency,
    /// At least one.
    pairs: Vec<Pair>,
}

/// A long and a short window.
struct Pair {
    limit: Limit,
    long: Duration,
    short: Duration,
}

impl Alert {
    pub(super) fn name(&self) -> &'static str {
        match self.urgency {
            Urgency::Page => "ErrorBudgetBurnPage",
            Urgency::Ticket => "ErrorBudgetBurnTicket",
        }
    }

    pub(super) fn labels(&self, service: &str, slo: &ExportedSlo) -> [(&'static str, String); 4] {
        let severity = match self.urgency {
            Urgency::Page => "high",
            Urgency::Ticket => "medium",
        };
        [
            ("slo", slo.name.clone()),
            ("service", service.to_owned()),
            ("severity", severity.to_owned()),
            ("sloth_severity", self.urgency.as_str().to_owned()),
        ]
    }
}

impl ExportedSlo {
    /// Returns the windows of the ratios. The last one is the SLO's window.
    pub(super) fn windows(&self) -> Vec<Duration> {
        let spans = budget::spans(self.period)
            .into_iter()
            .map(Duration::from_millis);
        let mut windows: Vec<_> = spans.filter(|window| *window < self.period).collect();
        windows.push(self.period);
        windows
    }

    /// Returns the alerts that can fire, the page first.
    pub(super) fn alerts(&self) -> impl Iterator<Item = Alert> {
        let slice = self.definition.slice_of_gauge();
        let alerts = [Urgency::Page, Urgency::Ticket].into_iter();
        let alert = move |urgency| {
            let limits = budget::reachable_alerts(self.allowed, self.period, slice);
            let limits = limits.filter(|(limit_urgency, ..)| *limit_urgency == urgency);
            let pairs = limits.map(|(_, limit, long, short)| Pair { limit, long, short });
            Alert {
                urgency,
                pairs: pairs.collect(),
            }
        };
        alerts.map(alert).filter(|alert| !alert.pairs.is_empty())
    }
}
