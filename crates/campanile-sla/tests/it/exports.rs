use campanile_sla::export::{Export, ExportError};
use campanile_sla::{ServiceLevels, Slo};

use super::*;

fn export(service: &str, matchers: &str) -> Export {
    let slo = Slo::availability("a", "99.9%");
    let sla = ServiceLevels::builder().slo(slo).build_at(start()).unwrap();
    sla.export(service, matchers).unwrap()
}

#[test]
fn rule_tests_require_a_value_of_each_label() {
    for (matchers, matcher) in [
        (
            r#"job=~"orders|orders-canary""#,
            Some(r#"job=~"orders|orders-canary""#),
        ),
        (r#"job="orders", env!="""#, Some(r#"env!="""#)),
        (
            r#"job="orders", env!="test", zone!~"x.*", cell=~".*""#,
            None,
        ),
    ] {
        let found = export("orders", matchers).prometheus_tests("rules.yml");
        match (found, matcher) {
            (Ok(tests), None) => assert!(tests.contains("everything fails")),
            (Err(ExportError::Untestable { matcher, .. }), Some(expected)) => {
                assert_eq!(matcher, expected);
            }
            (found, _) => panic!("{matchers}: {found:?}"),
        }
    }
}

#[test]
fn dashboards_of_several_services_can_be_imported() {
    let member = |service: &str, name: &str| {
        let dashboard = export(service, "").grafana_dashboard();
        assert!(!dashboard.contains('@'), "{dashboard}");
        let begin = format!("\n  \"{name}\": \"");
        let (_, rest) = dashboard.split_once(&*begin).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    assert_eq!(member("orders", "uid"), "campanile-slo-orders");
    assert_eq!(
        member("orders", "title"),
        "Service level objectives: orders"
    );
    let long = [
        "a".repeat(62) + "b",
        "a".repeat(62) + "c",
        "shop.orders".into(),
        "shop-orders".into(),
    ];
    let uids: std::collections::BTreeSet<_> = long.iter().map(|name| member(name, "uid")).collect();
    assert_eq!(uids.len(), 4);
    for uid in uids {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        assert!(uid.len() <= 40 && uid.bytes().all(is_valid), "{uid}");
    }
}

/// Otherwise Prometheus would read the counters of all instances over 30 days at each evaluation.
#[test]
fn no_rule_reads_a_counter_over_a_day_or_more_at_each_evaluation() {
    let rules = export("orders", r#"job="orders""#).prometheus_rules();
    // A step, every 5 min, may read the last value before a gap in the scrapes.
    let before_gap = r#" - last_over_time(campanile_slo_events_total{job="orders",slo="a"}[1d] offset 5m) >= 0)"#;
    assert_eq!(rules.matches(before_gap).count(), 1, "{rules}");
    let rules = rules.replace(before_gap, "");
    let counter = r#"campanile_slo_events_total{job="orders",slo="a""#;
    for window in ["1d", "3d", "30d", "2d22h"] {
        for matcher in ["", r#",result="bad""#] {
            let range = format!("{counter}{matcher}}}[{window}]");
            assert!(!rules.contains(&range), "{range}");
        }
    }
    assert!(rules.contains("- name: sloth-slo-event-recordings-orders-a\n  interval: 5m\n"));
    assert!(rules.contains(&format!("rate({counter}}}[6h])")));
    // An SLO over hours requires no increments.
    let hours = Slo::availability("a", "99%").over(HOUR * 6);
    let sla = ServiceLevels::builder()
        .slo(hours)
        .build_at(start())
        .unwrap();
    let rules = sla.export("orders", "").unwrap().prometheus_rules();
    assert!(!rules.contains("increase5m"), "{rules}");
}
