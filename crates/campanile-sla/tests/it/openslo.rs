use std::error::Error;

use campanile_sla::export::{ExportError, from_open_slo};
use campanile_sla::{Bound, ServiceLevels, ServiceLevelsBuilder, Slo, Source, Window};

use super::*;

fn slos() -> Vec<Slo> {
    vec![
        Slo::availability("availability", "99.9%"),
        Slo::availability("Odd_name.v2", "99.9999999%").over(Window::month("Europe/Berlin")),
        Slo::availability("odd-name-v2", "99.5%").over(Window::quarter("UTC")),
        Slo::latency("fast", "95%", Duration::from_millis(250))
            .route("/orders")
            .route("/orders/{id}"),
        Slo::success_within("both", "50%", Duration::from_nanos(1_500))
            .over(Duration::from_secs(90)),
        Slo::error_rate("errors", "0.05%").over(DAY).per_route(20),
        Slo::uptime("up", "99.95%")
            .count_restart_as_down()
            .source(Source::check("db")),
        Slo::uptime("manual", "99%").source(Source::Manual),
        Slo::gauge("queue", "99%", Bound::AtMost(10_000.0))
            .source(Source::series("queue_size{queue=\"a b\"}")),
        Slo::availability("patient", "99%").abandoned_after(MINUTE * 2),
        Slo::gauge("workers", "99%", Bound::AtLeast(2.5)).time_slice(MINUTE * 5),
        Slo::availability("jobs", "90%").source(Source::Manual),
    ]
}

fn build(slos: Vec<Slo>) -> ServiceLevels {
    let builder = ServiceLevels::builder();
    let builder = slos.into_iter().fold(builder, ServiceLevelsBuilder::slo);
    builder.build_at(start()).unwrap()
}

#[test]
fn exported_definitions_are_parsed_again() {
    let sla = build(slos());
    let text = sla.export("orders", "").unwrap().open_slo();
    let again = build(from_open_slo(&text).unwrap_or_else(|error| panic!("{error}\n{text}")));
    assert_eq!(again.export("orders", "").unwrap().open_slo(), text);
    let reports = |sla: &ServiceLevels| -> Vec<_> {
        let slos = sla.report_at(start()).slos.into_iter();
        slos.map(|slo| (slo.name, slo.window, slo.target, slo.unit))
            .collect()
    };
    let (mut ours, theirs) = (reports(&sla), reports(&again));
    // The target of an error rate is exported as a share of good events.
    ours[5].3 = theirs[5].3;
    assert_eq!(ours, theirs);
    assert_eq!(text.matches("kind: SLO").count(), slos().len());
    for name in ["odd-name-v2\"", "odd-name-v2-2\""] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn predicates_are_exported_and_rejected() {
    let sla = build(vec![Slo::availability("a", "99%").good_if(|_| true)]);
    let text = sla.export("orders", "").unwrap().open_slo();
    let error = from_open_slo(&text).unwrap_err();
    assert_eq!(error.field(), "metadata.annotations.campanile/predicates");
}

const WHOLE: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
  annotations:
    campanile/kind: success_within
    campanile/within: 250ms
spec:
  service: orders
  indicatorRef: checkout
  timeWindow:
  - duration: 30d
    isRolling: true
  budgetingMethod: Occurrences
  objectives:
  - target: 0.99
"#;

#[test]
fn errors_have_a_line_and_a_field() {
    assert_eq!(from_open_slo(WHOLE).unwrap().len(), 1);
    #[track_caller]
    fn check(from: &str, to: &str, line: u64, field: &str, said: &str) {
        assert!(WHOLE.contains(from), "{from}");
        let error = from_open_slo(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert_eq!((error.line(), error.field()), (line, field), "{error}");
        let source = error.source().map(ToString::to_string);
        let chain = format!("{error}: {}", source.unwrap_or_default());
        assert!(chain.contains(said), "{chain}");
    }
    check(
        "openslo/v1",
        "openslo/v2alpha1",
        1,
        "apiVersion",
        "expected openslo/v1",
    );
    check("kind: SLO", "kind: Service", 2, "kind", "expected SLO");
    let annotation = "metadata.annotations.campanile";
    check(
        "success_within",
        "speed",
        6,
        &format!("{annotation}/kind"),
        "expected availability",
    );
    check(
        "250ms",
        "fast",
        7,
        &format!("{annotation}/within"),
        "such as 250ms",
    );
    check(
        "campanile/within",
        "campanile/under",
        4,
        "metadata.annotations",
        "missing campanile/within",
    );
    check(
        "    campanile/kind: success_within\n",
        "",
        4,
        "metadata.annotations",
        "missing campanile/kind",
    );
    check(
        "  service: orders\n  indicatorRef: checkout\n",
        "  service: orders\n",
        9,
        "spec.service",
        "missing indicator",
    );
    check(
        "duration: 30d",
        "duration: 30 days",
        12,
        "spec.timeWindow[0].duration",
        "such as 30d",
    );
    check(
        "isRolling: true",
        "isRolling: false",
        13,
        "spec.timeWindow[0].isRolling",
        "expected a calendar",
    );
    check(
        "timeWindow:\n  - duration: 30d\n    isRolling: true\n",
        "timeWindow: []\n",
        11,
        "spec.timeWindow",
        "expected exactly one",
    );
    check(
        "Occurrences",
        "Timeslices",
        14,
        "spec.budgetingMethod",
        "expected Occurrences",
    );
    check(
        "target: 0.99",
        "target: 99",
        16,
        "spec.objectives[0].target",
        "0.999",
    );
    check(
        "target: 0.99",
        "targetPercent: 99\n    target: 0.99",
        16,
        "spec.objectives[0].target",
        "either",
    );
    check(
        "  - target: 0.99",
        "  - target: 0.99\n  - target: 0.9",
        16,
        "spec.objectives",
        "expected exactly one",
    );
    // An annotation of another kind is an error.
    let of = |name: &str| format!("metadata.annotations.campanile/{name}");
    check(
        "success_within",
        "availability",
        7,
        &of("within"),
        "none for this kind",
    );
    let more = "250ms\n    campanile/at_most: \"3\"";
    check("250ms", more, 8, &of("at_most"), "none for this kind");
    check(
        "250ms",
        "250ms\n    campanile/speed: x",
        8,
        &of("speed"),
        "a known annotation",
    );
    // An error of the YAML parser has a line, and is the source.
    check("budgetingMethod", "budgetMethod", 14, "", "budgetMethod");
    check("isRolling: true", "isRolling: perhaps", 13, "", "");
    check("spec:", "spec: &a [*a", 8, "", "");
}

#[test]
fn a_display_name_may_be_any_string() {
    let name = |display: &str| {
        let text = WHOLE.replace(
            "  annotations:",
            &format!("  displayName: {display}\n  annotations:"),
        );
        let sla = build(from_open_slo(&text).unwrap());
        sla.report_at(start()).slos[0].name.clone()
    };
    assert_eq!(name("Checkout latency"), "checkout");
    assert_eq!(name("Checkout_v2"), "Checkout_v2");
}

#[test]
fn targets_are_parsed_exactly() {
    for (written, target) in [
        ("target: 0.999", 99.9),
        ("target: 0.9999", 99.99),
        ("target: 0.5", 50.0),
        ("target: 0", 0.0),
        ("target: 0.29", 29.0),
        ("target: 0.999999999", 99.999_999_9),
        ("targetPercent: 99.95", 99.95),
        ("targetPercent: 95", 95.0),
    ] {
        let text = WHOLE.replace("target: 0.99", written);
        let sla = build(from_open_slo(&text).unwrap());
        assert_eq!(sla.report_at(start()).slos[0].target, target, "{written}");
    }
    let error = |written: &str| {
        let text = WHOLE.replace("target: 0.99", written);
        let slos = from_open_slo(&text).unwrap();
        let builder = slos
            .into_iter()
            .fold(ServiceLevels::builder(), ServiceLevelsBuilder::slo);
        builder.build_at(start()).unwrap_err().to_string()
    };
    assert!(error("target: 1").contains("below 100%"));
    assert!(error("targetPercent: 99.99999999").contains("invalid target"));
}

/// The export preserves the meaning of all PromQL strings.
#[test]
fn matchers_are_promql() {
    let sla = build(vec![Slo::availability("availability", "99.9%")]);
    let rules = |matchers: &str| {
        let export = sla.export("orders", matchers)?;
        Ok::<_, ExportError>(export.prometheus_rules())
    };
    let expected = rules(r#"job="orders""#).unwrap();
    assert!(expected.contains(r#"job="orders""#), "{expected}");
    for matchers in ["job='orders'", "job=`orders`", r#"{job="\x6frders"}"#] {
        assert_eq!(rules(matchers).unwrap(), expected, "{matchers}");
    }
    assert!(rules("job=orders").is_err());
}

/// Unsupported parts are errors, so that no part of a definition is dropped.
#[test]
fn unsupported_parts_of_a_definition_are_errors() {
    let with = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        from_open_slo(&WHOLE.replacen(from, to, 1)).map_err(|error| error.to_string())
    };
    let policies = "  service: orders\n  alertPolicies:\n  - alertPolicyRef: page\n";
    let error = with("  service: orders\n", policies).unwrap_err();
    assert!(
        error.contains("spec.alertPolicies: invalid alert policies: expected none"),
        "{error}"
    );
    let none = "  service: orders\n  alertPolicies: []\n";
    assert!(with("  service: orders\n", none).is_ok());

    let both = "  indicatorRef: checkout\n  indicator: {}\n";
    let error = with("  indicatorRef: checkout\n", both).unwrap_err();
    assert!(
        error.contains("spec.indicatorRef: duplicate indicator"),
        "{error}"
    );

    // The window that OpenSLO can't express must be the time window, rounded up.
    let seconds = "    campanile/within: 250ms\n    campanile/window: 90s\n";
    let error = with("    campanile/within: 250ms\n", seconds).unwrap_err();
    assert!(error.contains("a rolling time window of 2m"), "{error}");
    let calendar = WHOLE.replacen("    campanile/within: 250ms\n", seconds, 1).replacen(
        "duration: 30d\n    isRolling: true\n",
        "duration: 1M\n    isRolling: false\n    calendar:\n      startTime: 2026-01-01 00:00:00\n      timeZone: UTC\n",
        1,
    );
    let error = from_open_slo(&calendar).unwrap_err();
    assert_eq!(
        error.field(),
        "metadata.annotations.campanile/window",
        "{error}"
    );
}
