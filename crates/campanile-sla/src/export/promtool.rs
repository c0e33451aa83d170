//! Tests of the exported rules, for `promtool test rules`.

use std::fmt::Write;

use campanile_series::{MatchOp, Matcher};

use super::definition::{EVENTS, Export, ExportedSlo};
use super::prometheus::{Alert, is_long};
use super::yaml::{map, quoted};
use crate::budget::Urgency;
use crate::error::ExportError;
use crate::ratio::PARTS;

/// The length of a test case, in minutes: more than the longest of the short windows.
const MINUTES: u64 = 420;
/// The length of a shorter case, and of a recovery, in minutes: more than the short windows of a
/// page.
const SHORT_MINUTES: u64 = 60;
/// The time without requests, in minutes: more than the short window of a page, less than the long
/// one.
const SILENT_MINUTES: u64 = 20;
/// The evaluation interval, in minutes. The other times are multiples of it.
const EVALUATION: u64 = 4;

impl Export {
    /// Returns a file for `promtool test rules`, which tests the [rules](Self::prometheus_rules) in
    /// the file `rules`.
    ///
    /// The cases of each SLO are:
    ///
    /// - All requests fail: the alert fires.
    /// - No more requests arrive: the alert continues to fire.
    /// - Requests succeed again: the page resolves.
    /// - No request, or only two, fail: no alert fires.
    /// - Events during a gap in the scrapes are counted, if a window has a day or more.
    ///
    /// Matchers with `=` become labels of the test series.
    ///
    /// # Errors
    ///
    /// Returns an error if a matcher with another operator, such as `job=~"orders.*"`, does not
    /// match series without its label, because the label's value is unknown. Export the tests with
    /// a matcher with `=` instead.
    pub fn prometheus_tests(&self, rules: &str) -> Result<String, ExportError> {
        let is_testable =
            |matcher: &&Matcher| matcher.op() == MatchOp::Equal || matcher.matches_value("");
        if let Some(matcher) = self.matchers.iter().find(|matcher| !is_testable(matcher)) {
            return Err(ExportError::Untestable {
                matcher: matcher.to_string(),
                label: matcher.name().to_owned(),
            });
        }
        let mut out = format!(
            "rule_files:\n- {}\nevaluation_interval: {EVALUATION}m\ntests:\n",
            quoted(rules)
        );
        for slo in &self.slos {
            let most_urgent = slo.alerts().next();
            let pages = most_urgent
                .as_ref()
                .is_some_and(|alert| alert.urgency == Urgency::Page);
            // The windows of a page are short, so a shorter case is enough.
            let minutes = if pages { SHORT_MINUTES } else { MINUTES };
            let (unit, half) = (slo.definition.unit(), MINUTES / 2);
            let none = |minutes: u64| format!("0x{minutes}");
            let steady = |minutes: u64| format!("0+{unit}x{minutes}");
            let mut case = |name, minutes, counts: (&str, &str), fires, alerts: &[&str]| {
                self.case(&mut out, slo, (name, minutes), counts, fires, alerts);
            };
            let both = ["ErrorBudgetBurnPage", "ErrorBudgetBurnTicket"];
            let counts = (&*none(minutes), &*steady(minutes));
            case(
                "everything fails",
                minutes,
                counts,
                most_urgent.as_ref(),
                &both,
            );
            if pages {
                let fails = |minutes: u64, then: u64| {
                    format!("0+{unit}x{minutes} {}x{}", unit * minutes, then - 1)
                };
                let counts = (
                    &*none(SHORT_MINUTES + SILENT_MINUTES),
                    &*fails(SHORT_MINUTES, SILENT_MINUTES),
                );
                case(
                    "no requests come",
                    SHORT_MINUTES + SILENT_MINUTES,
                    counts,
                    most_urgent.as_ref(),
                    &both,
                );
                let succeed = format!("0x{SHORT_MINUTES} {unit}+{unit}x{}", SHORT_MINUTES - 1);
                let counts = (&*succeed, &*fails(SHORT_MINUTES, SHORT_MINUTES));
                case(
                    "requests succeed",
                    2 * SHORT_MINUTES,
                    counts,
                    None,
                    &both[..1],
                );
            }
            let counts = (&*steady(SHORT_MINUTES), &*none(SHORT_MINUTES));
            case("nothing fails", SHORT_MINUTES, counts, None, &both);
            let two = format!("0x{half} {}x{half}", 2 * unit);
            case("two fail", MINUTES, (&none(MINUTES), &two), None, &both);
            if slo.windows().into_iter().any(is_long) {
                self.gap_case(&mut out, slo);
            }
        }
        Ok(out)
    }

    /// Writes a case, with the firing alert, if any, and the names of the checked alerts.
    fn case(
        &self,
        out: &mut String,
        slo: &ExportedSlo,
        (case, minutes): (&str, u64),
        (good, bad): (&str, &str),
        fires: Option<&Alert>,
        alerts: &[&str],
    ) {
        self.input_series(out, slo, case, (good, bad));
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
            let alert_labels = alert.labels(&self.service, slo);
            let labels = labels.chain(alert_labels.map(|(name, value)| (name.to_owned(), value)));
            let mut item = String::new();
            map(&mut item, 6, "exp_labels", labels);
            map(
                &mut item,
                6,
                "exp_annotations",
                self.expected_annotations(slo, alert),
            );
            out.push_str(&item.replacen("      exp_labels", "    - exp_labels", 1));
        }
    }

    /// Writes a case in which events fail during a gap in the scrapes. The step after the gap
    /// counts them.
    fn gap_case(&self, out: &mut String, slo: &ExportedSlo) {
        let (during, bad) = (SHORT_MINUTES - 1, 5 * slo.definition.unit());
        let values =
            |after: u64| format!("0x{SHORT_MINUTES} stale _x{during} {after}x{SHORT_MINUTES}");
        let (good, counts) = (values(0), values(bad));
        let case = "events fail during a gap in the scrapes";
        self.input_series(out, slo, case, (&good, &counts));
        let (steps, _) = self.steps(slo);
        // The first evaluation after the gap, when there is no value of 5 min before.
        let _ = writeln!(
            out,
            "  promql_expr_test:\n  - expr: {expr}\n    eval_time: {at}m\n    exp_samples:\n    \
             - labels: {expr}\n      value: {bad}",
            expr = quoted(&steps),
            at = 2 * SHORT_MINUTES + EVALUATION,
        );
    }

    /// Writes the name of a case and its series.
    fn input_series(
        &self,
        out: &mut String,
        slo: &ExportedSlo,
        case: &str,
        (good, bad): (&str, &str),
    ) {
        let name = quoted(&format!("{}: {case}", slo.name));
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

    /// Returns the annotations of an alert when all requests fail.
    fn expected_annotations(
        &self,
        slo: &ExportedSlo,
        alert: &Alert,
    ) -> Vec<(&'static str, String)> {
        let rate = PARTS as f64 / slo.allowed as f64;
        let mut annotations = self.annotations(slo, alert);
        for (name, text) in &mut annotations {
            match *name {
                "burn_rate" => *text = format!("{rate:.2}"),
                "budget_remaining" => *text = percentage(100.0 - 100.0 * rate),
                "budget_exhausted_in" => *text = "0s".to_owned(),
                _ => {}
            }
        }
        annotations
    }

    /// Returns the labels of the matchers with `=`.
    fn literal_labels(&self) -> String {
        let equal = self
            .matchers
            .iter()
            .filter(|matcher| matcher.op() == MatchOp::Equal);
        equal.map(|matcher| format!("{matcher},")).collect()
    }
}

/// Formats a number with four significant digits, as Prometheus' `humanizePercentage`.
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
