use std::time::Duration;

use super::*;
use crate::{LogChannel, Webhook};

#[test]
fn build_reports_all_problems() {
    let error = Alerts::builder()
        .rule(Rule::when("a b", |_| false))
        .rule(Rule::when("twice", |_| false))
        .rule(Rule::when("twice", |_| false))
        .rule(Rule::expr("expr", "up == 0"))
        .rule(Rule::when("long", |_| false).pending_for(Duration::from_secs(11 * 365 * 86_400)))
        .rule(Rule::when("label", |_| false).label("a-b", "c"))
        .rule(Rule::when("own", |_| false).label("severity", "c"))
        .rule(Rule::when("text", |_| false).summary("x".repeat(4_097)))
        .channel(LogChannel::new(""))
        .channel(LogChannel::new("log"))
        .channel(LogChannel::new("log"))
        .channel(Webhook::alertmanager("hook", "ftp://example.com/s3cr3t"))
        .build()
        .unwrap_err();
    let problems: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            r#"invalid rule name "a b": expected 1 to 128 characters of [A-Za-z0-9_:.-]"#,
            r#"invalid expression "up == 0" of rule "expr": no expression engine: set `expr_engine` on the builder"#,
            r#"invalid pending time 11y of rule "long": expected at most 10y"#,
            r#"invalid label of rule "label": invalid label name "a-b": expected [a-zA-Z_][a-zA-Z0-9_]*"#,
            r#"invalid label of rule "own": duplicate label "severity": expected one value per label"#,
            r#"annotation "summary" of rule "text" too large: 4097 bytes (limit 4096)"#,
            r#"duplicate rule "twice": expected a unique name for each rule"#,
            r#"invalid channel name "": expected 1 to 64 characters of [A-Za-z0-9._-]"#,
            r#"duplicate channel "log": expected a unique name for each channel"#,
            r#"invalid channel "hook": invalid scheme of the URL: expected http or https"#,
        ]
    );
    assert_eq!(error.to_string(), problems.join("; "));
}

#[test]
fn rules_and_channels_have_limits() {
    let build = |rules: usize, channels: usize| {
        let builder = (0..rules).fold(Alerts::builder(), |builder, number| {
            builder.rule(Rule::when(format!("r{number}"), |_| false))
        });
        let builder = (0..channels).fold(builder, |builder, number| {
            builder.channel(LogChannel::new(format!("c{number}")))
        });
        builder.build()
    };
    assert!(build(1_000, 100).is_ok());
    let error = build(1_001, 101).unwrap_err();
    assert_eq!(
        error.problems(),
        [
            Problem::TooManyRules { rules: 1_001 },
            Problem::TooManyChannels { channels: 101 }
        ]
    );
}

#[test]
fn types_can_be_shared() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(
        Alerts,
        BuildError,
        crate::Notification,
        crate::Alert,
        Webhook,
        LogChannel,
    )>();
}
