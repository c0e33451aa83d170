//! What proves that the rules ring, to be run by `promtool test rules`.

use std::fmt::Write;

use campanile_series::{MatchOp, Matcher};

use super::prometheus::{Alert, is_long};
use super::yaml::{map, quoted};
use super::{EVENTS, Export, ExportError, Exported};
use crate::Urgency;
use crate::share::WHOLE;

/// The minutes in which something is counted: more than the longest of the short windows.
const MINUTES: u64 = 420;
/// The minutes of a shorter case, and of a recovery: more than the short windows of a page.
const QUIET: u64 = 60;
/// The minutes without requests: more than the shortest window of a page, and less than the long one.
const SILENT: u64 = 20;
/// The minutes between evaluations. The others are multiples of it.
const EVALUATION: u64 = 4;

impl Export {
    /// Returns a file for `promtool test rules`, about [rules](Self::prometheus_rules) that are in a file of the given name. For each objective it
    /// proves which alert fires when everything fails, that it goes on when no requests come any more, that the page ends when
    /// requests succeed, and that nothing fires when nothing or two requests fail. If the objective has a window of a day or more,
    /// it also proves that events during a gap in the scrapes are counted. Matchers with `=` become labels of its series.
    ///
    /// # Errors
    ///
    /// If a matcher with another operator, such as `job=~"orders.*"`, does not match series without its label: the
    /// series of the proof need a value for it. Pass a matcher with `=` to the export for the proof.
    pub fn prometheus_tests(&self, rules: &str) -> Result<String, ExportError> {
        let is_provable =
            |matcher: &&Matcher| matcher.op() == MatchOp::Equal || matcher.matches_value("");
        if let Some(matcher) = self.matchers.iter().find(|matcher| !is_provable(matcher)) {
            return Err(ExportError::Unprovable {
                matcher: matcher.to_string(),
                label: matcher.name().to_owned(),
            });
        }
        let mut out = format!(
            "rule_files:\n- {}\nevaluation_interval: {EVALUATION}m\ntests:\n",
            quoted(rules)
        );
        for slo in &self.slos {
            let loudest = slo.alerts().next();
            let pages = loudest
                .as_ref()
                .is_some_and(|alert| alert.urgency == Urgency::Page);
            // A page has short windows, and needs less of the past.
            let minutes = if pages { QUIET } else { MINUTES };
            let (unit, half) = (slo.definition.unit(), MINUTES / 2);
            let none = |minutes: u64| format!("0x{minutes}");
            let steady = |minutes: u64| format!("0+{unit}x{minutes}");
            let mut case = |what, minutes, counts: (&str, &str), fires, alerts: &[&str]| {
                self.case(&mut out, slo, (what, minutes), counts, fires, alerts);
            };
            let both = ["ErrorBudgetBurnPage", "ErrorBudgetBurnTicket"];
            let counts = (&*none(minutes), &*steady(minutes));
            case("everything fails", minutes, counts, loudest.as_ref(), &both);
            if pages {
                let fails = |minutes: u64, then: u64| {
                    format!("0+{unit}x{minutes} {}x{}", unit * minutes, then - 1)
                };
                let counts = (&*none(QUIET + SILENT), &*fails(QUIET, SILENT));
                case(
                    "no requests come",
                    QUIET + SILENT,
                    counts,
                    loudest.as_ref(),
                    &both,
                );
                let succeed = format!("0x{QUIET} {unit}+{unit}x{}", QUIET - 1);
                let counts = (&*succeed, &*fails(QUIET, QUIET));
                case("requests succeed", 2 * QUIET, counts, None, &both[..1]);
            }
            let counts = (&*steady(QUIET), &*none(QUIET));
            case("nothing fails", QUIET, counts, None, &both);
            let two = format!("0x{half} {}x{half}", 2 * unit);
            case("two fail", MINUTES, (&none(MINUTES), &two), None, &both);
            if slo.windows().into_iter().any(is_long) {
                self.gap_case(&mut out, slo);
            }
        }
        Ok(out)
    }

    /// Writes a case, with the one alert that fires, and the names of those that are checked.
    fn case(
        &self,
        out: &mut String,
        slo: &Exported,
        (what, minutes): (&str, u64),
        (good, bad): (&str, &str),
        fires: Option<&Alert>,
        alerts: &[&str],
    ) {
        self.input_series(out, slo, what, (good, bad));
        out.push_str("  alert_rule_test:\n");
        for &name in alerts {
            let _ = write!(
                out,
                "  - eval_time: {minutes}m\n    alertname: {name}\n    exp_alerts:"
            );
            let Some(alert) = fires.filter(|alert| alert.name() == name) else {
                out.push_str(" []\n");
                continue;
            };
            out.push('\n');
            let labels = self.labels(slo).into_iter();
            let own = alert.labels(&self.service, slo);
            let labels = labels.chain(own.map(|(name, value)| (name.to_owned(), value)));
            let mut item = String::new();
            map(&mut item, 6, "exp_labels", labels);
            map(&mut item, 6, "exp_annotations", self.told(slo, alert));
            out.push_str(&item.replacen("      exp_labels", "    - exp_labels", 1));
        }
    }

    /// Writes a case in which events fail during a gap in the scrapes: the step after the gap has them.
    fn gap_case(&self, out: &mut String, slo: &Exported) {
        let (during, bad) = (QUIET - 1, 5 * slo.definition.unit());
        let values = |after: u64| format!("0x{QUIET} stale _x{during} {after}x{QUIET}");
        let (good, counts) = (values(0), values(bad));
        let what = "events fail during a gap in the scrapes";
        self.input_series(out, slo, what, (&good, &counts));
        let (steps, _) = self.steps(slo);
        // The first evaluation after the last minute of the gap, at which there is no value of 5 min before.
        let _ = writeln!(
            out,
            "  promql_expr_test:\n  - expr: {expr}\n    eval_time: {at}m\n    exp_samples:\n    \
             - labels: {expr}\n      value: {bad}",
            expr = quoted(&steps),
            at = 2 * QUIET + EVALUATION,
        );
    }

    /// Writes the name of a case, and the counters.
    fn input_series(
        &self,
        out: &mut String,
        slo: &Exported,
        what: &str,
        (good, bad): (&str, &str),
    ) {
        let name = quoted(&format!("{}: {what}", slo.name));
        let _ = write!(out, "- name: {name}\n  interval: 1m\n  input_series:\n");
        for (result, values) in [("good", good), ("bad", bad)] {
            let matchers = self.literal_labels();
            let series = format!(
                "{EVENTS}{{{matchers}slo=\"{}\",result=\"{result}\"}}",
                slo.name
            );
            let _ = writeln!(
                out,
                "  - series: {}\n    values: {}",
                quoted(&series),
                quoted(values)
            );
        }
    }

    /// Returns what an alert says when everything fails.
    fn told(&self, slo: &Exported, alert: &Alert) -> Vec<(&'static str, String)> {
        let rate = WHOLE as f64 / slo.allowed as f64;
        let mut told = self.annotations(slo, alert);
        for (name, text) in &mut told {
            match *name {
                "burn_rate" => *text = format!("{rate:.2}"),
                "budget_remaining" => *text = percentage(100.0 - 100.0 * rate),
                "budget_exhausted_in" => *text = "0s".to_owned(),
                _ => {}
            }
        }
        told
    }

    /// Returns the labels that the matchers ask for.
    fn literal_labels(&self) -> String {
        let equal = self
            .matchers
            .iter()
            .filter(|matcher| matcher.op() == MatchOp::Equal);
        equal.map(|matcher| format!("{matcher},")).collect()
    }
}

/// Writes a number as Prometheus' `humanizePercentage`: with four digits that count.
fn percentage(number: f64) -> String {
    if number == 0.0 {
        return "0%".to_owned();
    }
    let digits = number.abs().log10().floor() as i32;
    if digits >= 4 {
        let text = format!("{number:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        let exponent: i32 = exponent.parse().unwrap_or_default();
        return format!("{mantissa}e+{exponent:02}%");
    }
    let decimals = usize::try_from(3 - digits).unwrap_or_default();
    let text = format!("{number:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}%")
}
