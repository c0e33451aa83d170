use super::*;

fn check(name: &str) -> Check {
    Check::new(name, || async { Ok::<_, &str>(()) })
}

#[track_caller]
fn problems(builder: HealthBuilder) -> Vec<String> {
    let error = builder.build().unwrap_err();
    let problems: Vec<_> = error.problems().iter().map(Problem::to_string).collect();
    assert_eq!(error.to_string(), problems.join("; "));
    problems
}

#[test]
fn a_version_is_short_and_printable() {
    let long = "1".repeat(65);
    for version in ["", "1.0\n", "ä", &*long] {
        let expected =
            format!("invalid version {version:?}: expected 1 to 64 printable ASCII characters");
        let found = problems(Health::builder().version(version));
        assert_eq!(found, [expected]);
    }
    assert!(Health::builder().version("1.0.0 (main)").build().is_ok());
}

#[test]
fn mistakes_are_told_together() {
    let builder = Health::builder()
        .check(check("db").timeout(Duration::ZERO).thresholds(0, 1))
        .check(check("DB").period(Duration::ZERO).tag("a tag"))
        .check(check("a b").staleness(Duration::from_secs(30)))
        .check(check("").depends_on("cache"))
        .group(Group::new("detailed", Select::all()))
        .group(Group::new(
            "data",
            Select::tag("disk").or(Select::check("cache")),
        ))
        .group(Group::new("Data", Select::check("db")))
        .concurrency(0)
        .jitter(f64::NAN);
    assert_eq!(
        problems(builder),
        [
            r#"the timeout of the check "db" is 0: give more"#,
            r#"the failure threshold of the check "db" is 0: give more"#,
            r#"the tag name "a tag" is not valid: use 1 to 64 characters of [A-Za-z0-9._-], and for a group none of `detailed`, `ready`, `live`"#,
            r#"there are two checks named "DB": give each a name of its own"#,
            r#"the period of the check "DB" is 0: give more"#,
            r#"the check name "a b" is not valid: use 1 to 64 characters of [A-Za-z0-9._-], and for a group none of `detailed`, `ready`, `live`"#,
            r#"the staleness of the check "a b" is shorter than its period, with the jitter, and its timeout: give more"#,
            r#"the check name "" is not valid: use 1 to 64 characters of [A-Za-z0-9._-], and for a group none of `detailed`, `ready`, `live`"#,
            "the jitter is NaN: give a share from 0 to 1",
            "the concurrency is 0: give at least 1",
            r#"there is no check "cache", which the check "" needs: add it, or take it out"#,
            r#"the group name "detailed" is not valid: use 1 to 64 characters of [A-Za-z0-9._-], and for a group none of `detailed`, `ready`, `live`"#,
            r#"there are two groups named "Data": give each a name of its own"#,
            r#"there is no tag "disk", which the group "data" needs: add it, or take it out"#,
            r#"there is no check "cache", which the group "data" needs: add it, or take it out"#,
        ]
    );
}

/// Checks as `a:b,c d`: the first depends on the other two.
fn depending(checks: &str) -> HealthBuilder {
    let with = |builder: HealthBuilder, text: &str| {
        let (name, below) = text.split_once(':').unwrap_or((text, ""));
        let below = below.split(',').filter(|below| !below.is_empty());
        builder.check(below.fold(check(name), |check, below| check.depends_on(below)))
    };
    checks.split(' ').fold(Health::builder(), with)
}

#[test]
fn circles_are_found() {
    // A diamond is none.
    assert!(depending("a:b,c b:d c:d d").build().is_ok());
    for (checks, circle) in [
        ("a:a", "a → a"),
        ("a:b b:a", "a → b → a"),
        ("x:a a:b,c b c:d d:a", "a → c → d → a"),
    ] {
        let text = "depend on each other in a circle: take one of the dependencies out";
        assert_eq!(
            problems(depending(checks)),
            [format!("the checks {circle} {text}")]
        );
    }
}

#[test]
fn numbers_have_caps() {
    let checks = |number: usize| {
        (0..number).fold(Health::builder(), |builder, number| {
            builder.check(check(&format!("c{number}")))
        })
    };
    assert!(checks(1_000).build().is_ok());
    assert_eq!(
        problems(checks(1_001)),
        ["there are 1001 checks: 1000 are the most"]
    );
    let groups = (0..101).fold(Health::builder(), |builder, number| {
        builder.group(Group::new(format!("g{number}"), Select::all()))
    });
    assert_eq!(problems(groups), ["there are 101 groups: 100 are the most"]);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let watchdog = Watchdog::new().listen(taken.local_addr().unwrap());
    let problems = problems(Health::builder().watchdog(watchdog));
    assert!(
        problems[0].starts_with("the watchdog can't listen at its address ("),
        "{problems:?}"
    );
}

#[test]
fn a_code_for_unknown_is_a_problem() {
    let group = Group::new("data", Select::all());
    let code = http::StatusCode::IM_A_TEAPOT;
    let builder = Health::builder().group(group.code(crate::Status::Unknown, code));
    assert_eq!(
        problems(builder),
        [
            "invalid status \"unknown\" for a code of the group \"data\": expected healthy, degraded or unhealthy"
        ]
    );
}
