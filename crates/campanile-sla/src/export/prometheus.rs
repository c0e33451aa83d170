//! Rules of Prometheus, with the names and the labels that Sloth's have, so that what is made for those is good for these.

use std::fmt::Write;
use std::time::Duration;

use campanile_series::format_duration;

use super::yaml::{indented, map, quoted};
use super::{EVENTS, Export, Exported, Selector};
use crate::Urgency;
use crate::budget::{self, LEAST_BAD, Limit};
use crate::share::{WHOLE, percent, ratio};

/// The matcher of bad events.
const BAD: &str = ",result=\"bad\"";

/// The interval of the increments of which long windows are summed.
const STEP: Duration = Duration::from_secs(5 * 60);

/// Returns whether a window is summed from the increments of steps, and not read from the counters themselves.
pub(super) fn is_long(window: Duration) -> bool {
    window >= Duration::from_secs(24 * 60 * 60)
}

impl Export {
    /// Returns recording and alerting rules for Prometheus, in YAML: `slo:sli_error:ratio_rate5m` and so on over each window, the budget and how
    /// fast it is used, `sloth_slo_info`; and a page and a ticket over [`BurnAlert`](crate::BurnAlert)'s pairs of windows, with the names and the
    /// labels that `campanile_monitor::burn_rate_rules` gives them, and Sloth's. While an objective's page fires, its ticket does not.
    ///
    /// Each ratio is that of bad and valid events over the whole window. Sloth has the mean of five-minute ratios over 30 days, which gives a
    /// quiet night the weight of a busy day. An alert also requires three bad events in its long window (for an uptime 30 s), and counts from
    /// before its short one, as [`Sla::burn_alerts`](crate::Sla::burn_alerts) does.
    ///
    /// Windows of a day or more are summed from `slo:events:increase5m`, a rule that is evaluated every 5 min: over 30 days, two series of
    /// 8,640 samples for an objective, however many instances there are. It starts when Prometheus loads the rules. To have the time before,
    /// run `promtool tsdb create-blocks-from rules` with the groups `sloth-slo-event-recordings-…`. Events during a gap in the scrapes of up to a
    /// day are counted after it.
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

    /// Returns the [rules](Self::prometheus_rules) as a `PrometheusRule` for Kubernetes' Prometheus operator, with a name and labels such as
    /// those that its `ruleSelector` asks for.
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

    /// The events of each step, of which the long windows are summed.
    ///
    /// The difference of a counter to that of the step before leaves no gap between two steps, as `increase` does. After a gap in the scrapes
    /// it is the difference to the last value of the day before. `increase` is for a counter that begins or starts over.
    fn event_recordings(&self, slo: &Exported) -> String {
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

    /// The ratio of bad events over each window.
    fn sli_recordings(&self, slo: &Exported) -> String {
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

    /// What the objective is, and what becomes of its budget.
    fn meta_recordings(&self, slo: &Exported) -> String {
        let of = Selector {
            service: &self.service,
            slo,
        };
        let on = "/ on(sloth_id, sloth_slo, sloth_service) group_left";
        let windows = slo.windows();
        let shortest = windows.first().copied().unwrap_or_default();
        let burn_rate = |window: Duration| {
            let window = format_duration(window);
            format!("slo:sli_error:ratio_rate{window}{of}\n{on}\nslo:error_budget:ratio{of}")
        };
        let days = slo.period.as_secs_f64() / 86_400.0;
        let mut out = String::new();
        for (record, expr) in [
            (
                "slo:objective:ratio",
                format!("vector({})", ratio(WHOLE - slo.allowed)),
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
                format!("1 - slo:period_burn_rate:ratio{of}"),
            ),
        ] {
            rule(&mut out, record, &expr, self.labels(slo));
        }
        let info = [
            ("sloth_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("sloth_mode", "campanile".to_owned()),
            ("sloth_spec", "campanile/v1".to_owned()),
            ("sloth_objective", percent(WHOLE - slo.allowed).to_string()),
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

    fn alerts(&self, slo: &Exported) -> String {
        let mut out = String::new();
        for alert in slo.alerts() {
            let mut expr = self.alert_expr(slo, &alert);
            // A page says all that a ticket has to say.
            if let Some(page) = slo.alerts().find(|one| one.urgency == Urgency::Page)
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

    /// One of an alert's pairs of windows.
    fn alert_expr(&self, slo: &Exported, alert: &Alert) -> String {
        let pairs = alert.pairs.iter();
        let pairs = pairs.map(|pair| self.pair_expr(slo, alert, pair));
        let pairs: Vec<_> = pairs.map(|expr| format!("(\n{expr}\n)")).collect();
        pairs.join("\nor\n")
    }

    /// The burn rate over both windows, and enough to judge by.
    ///
    /// Without requests in the short window nothing has recovered, so an alert that fires goes on.
    fn pair_expr(&self, slo: &Exported, alert: &Alert, pair: &Pair) -> String {
        let of = Selector {
            service: &self.service,
            slo,
        };
        let burns = |window: Duration| {
            format!(
                "(max(slo:sli_error:ratio_rate{}{of}) without (sloth_window) / {}) > {}",
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
        let least = LEAST_BAD * slo.definition.unit();
        let all = self.events(slo, "");
        let fires = format!(
            "ALERTS{{alertname=\"{}\",alertstate=\"firing\",sloth_id=\"{}\"}}",
            alert.name(),
            slo.id(&self.service)
        );
        format!(
            "{burns_long}\nand\n(\n{burns_short}\nor\n{burns_long}\n\
             and on() (sum(rate({all}[{short}])) == 0)\nand on() ({fires})\n)\n\
             and on() (round(sum({increase}({bad}[{long}]))) >= {least})\n\
             and on() (count(last_over_time({bad}[{before}] offset {short})) > 0)",
            burns_long = burns(pair.long),
            burns_short = burns(pair.short),
        )
    }

    /// What there is to say, with the figures of the moment.
    pub(super) fn annotations(&self, slo: &Exported, alert: &Alert) -> Vec<(&'static str, String)> {
        let of = Selector {
            service: &self.service,
            slo,
        };
        let remaining = format!("slo:period_error_budget_remaining:ratio{of}");
        let rate = format!(
            "slo:sli_error:ratio_rate{}{of}",
            format_duration(alert.pairs[0].long)
        );
        let seconds = slo.period.as_secs();
        let lasts = format!(
            "clamp_min({remaining}, 0) * {seconds} / on(sloth_id) ({rate} / {})",
            ratio(slo.allowed)
        );
        let query = |expr: &str, show: &str| {
            format!(
                "{{{{ with query `{expr}` }}}}{{{{ . | first | value | {show} }}}}{{{{ end }}}}"
            )
        };
        let summary = match alert.urgency {
            Urgency::Page => "is used so fast that it will be gone within days",
            Urgency::Ticket => "is used faster than its window gives it",
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
            ("budget_exhausted_in", query(&lasts, "humanizeDuration")),
        ]
    }

    /// The bad events of each step, and all of them.
    pub(super) fn steps(&self, slo: &Exported) -> (String, String) {
        let step = format_duration(STEP);
        let of = Selector {
            service: &self.service,
            slo,
        };
        let all = format!("slo:events:increase{step}{of}");
        let bad = all.replacen('{', "{result=\"bad\", ", 1);
        (bad, all)
    }

    /// The counter of an objective, with one more matcher.
    pub(super) fn events(&self, slo: &Exported, matcher: &str) -> String {
        let matchers = self.matchers.iter().map(|matcher| format!("{matcher},"));
        let matchers: String = matchers.collect();
        format!("{EVENTS}{{{matchers}slo=\"{}\"{matcher}}}", slo.name)
    }

    pub(super) fn labels(&self, slo: &Exported) -> Vec<(String, String)> {
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

/// One of the alerts of an objective: it rings if one of its pairs of windows does.
pub(super) struct Alert {
    pub(super) urgency: Urgency,
    /// At least one.
    pairs: Vec<Pair>,
}

/// A long window and a short one.
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

    pub(super) fn labels(&self, service: &str, slo: &Exported) -> [(&'static str, String); 4] {
        let severity = match self.urgency {
            Urgency::Page => "high",
            Urgency::Ticket => "medium",
        };
        [
            ("objective", slo.name.clone()),
            ("service", service.to_owned()),
            ("severity", severity.to_owned()),
            ("sloth_severity", self.urgency.as_str().to_owned()),
        ]
    }
}

impl Exported {
    /// Returns the windows over which there is a ratio, the last of which is the objective's own.
    pub(super) fn windows(&self) -> Vec<Duration> {
        let spans = budget::spans(self.period)
            .into_iter()
            .map(Duration::from_millis);
        let mut windows: Vec<_> = spans.filter(|window| *window < self.period).collect();
        windows.push(self.period);
        windows
    }

    /// Returns the alerts that can ring, the page first.
    pub(super) fn alerts(&self) -> impl Iterator<Item = Alert> {
        let slice = self.definition.slice_of_gauge();
        let alerts = [Urgency::Page, Urgency::Ticket].into_iter();
        let alert = move |urgency| {
            let limits = budget::ringing(self.allowed, self.period, slice);
            let limits = limits.filter(|(of, ..)| *of == urgency);
            let pairs = limits.map(|(_, limit, long, short)| Pair { limit, long, short });
            Alert {
                urgency,
                pairs: pairs.collect(),
            }
        };
        alerts.map(alert).filter(|alert| !alert.pairs.is_empty())
    }
}
