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
fn all_problems_are_listed() {
    let builder = Health::builder()
        .check(
            check("db")
                .timeout(Duration::ZERO)
                .failure_threshold(0)
                .success_threshold(1),
        )
        .check(check("DB").interval(Duration::ZERO).tag("a tag"))
        .check(check("a b").stale_after(Duration::from_secs(30)))
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
            r#"invalid timeout 0 s of check "db": expected more than 0 s"#,
            r#"invalid failure_threshold 0 of check "db": expected at least 1"#,
            r#"invalid tag name "a tag": expected 1 to 64 characters of [A-Za-z0-9._-]"#,
            r#"duplicate check name "DB": expected a unique name, ignoring case"#,
            r#"invalid interval 0 s of check "DB": expected more than 0 s"#,
            r#"invalid check name "a b": expected 1 to 64 characters of [A-Za-z0-9._-]"#,
            r#"invalid stale_after 30s of check "a b": expected at least 35s: the interval with jitter, and the timeout"#,
            r#"invalid check name "": expected 1 to 64 characters of [A-Za-z0-9._-]"#,
            "invalid jitter NaN: expected a share from 0 to 1",
            "invalid concurrency 0: expected at least 1",
            r#"unknown check "cache" in check "": expected a check of this service"#,
            r#"invalid group name "detailed": expected 1 to 64 characters of [A-Za-z0-9._-], and none of `detailed`, `ready`, `live`"#,
            r#"duplicate group name "Data": expected a unique name, ignoring case"#,
            r#"unknown tag "disk" in group "data": expected a tag of this service"#,
            r#"unknown check "cache" in group "data": expected a check of this service"#,
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
fn cycles_are_found() {
    // A diamond is no cycle.
    assert!(depending("a:b,c b:d c:d d").build().is_ok());
    for (checks, cycle) in [
        ("a:a", "a → a"),
        ("a:b b:a", "a → b → a"),
        ("x:a a:b,c b c:d d:a", "a → c → d → a"),
    ] {
        assert_eq!(
            problems(depending(checks)),
            [format!("invalid dependencies {cycle}: expected no cycle")]
        );
    }
}

#[test]
fn numbers_are_limited() {
    let checks = |number: usize| {
        (0..number).fold(Health::builder(), |builder, number| {
            builder.check(check(&format!("c{number}")))
        })
    };
    assert!(checks(1_000).build().is_ok());
    assert_eq!(
        problems(checks(1_001)),
        ["too many checks: 1001 (limit 1000)"]
    );
    let groups = (0..101).fold(Health::builder(), |builder, number| {
        builder.group(Group::new(format!("g{number}"), Select::all()))
    });
    assert_eq!(problems(groups), ["too many groups: 101 (limit 100)"]);
}

#[test]
fn a_port_in_use_is_a_problem_with_its_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let watchdog = Watchdog::new().listen(address);
    let error = Health::builder().watchdog(watchdog).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to bind the watchdog's listener to {address}")
    );
    let cause = std::error::Error::source(&error).unwrap();
    let cause: &std::sync::Arc<std::io::Error> = cause.downcast_ref().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_code_for_unknown_is_a_problem() {
    let group = Group::new("data", Select::all());
    let code = http::StatusCode::IM_A_TEAPOT;
    let builder = Health::builder().group(group.code(crate::Status::Unknown, code));
    assert_eq!(
        problems(builder),
        [
            "invalid status \"unknown\" for a code of group \"data\": expected healthy, degraded or unhealthy"
        ]
    );
}
