//! What groups make of their checks.

use super::*;

#[tokio::test(start_paused = true)]
async fn informational_checks_and_degraded_outcomes() {
    let outcome = || async { Ok::<_, &str>(Outcome::degraded("slow").detail("latency_ms", 7)) };
    let failing = || async { Err::<(), _>("down") };
    let builder = Health::builder().check(Check::new("news", failing).informational());
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.report().status, Status::Healthy);
    assert_eq!(health.report().checks[0].status, Status::Degraded);
    let (health, _stop) = run_with(Health::builder().check(Check::new("db", outcome).critical()));
    pass(Duration::ZERO).await;
    assert_eq!(health.report().status, Status::Degraded);
    let details = ResponseDetail::new().messages(true);
    let request = http::Request::get("/health/readiness/db")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let answer = health.respond_with(&request, &details).unwrap();
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(body["details"], json!({"latency_ms": 7}));
    // The error message of a failed check needs more than that.
    assert_eq!(
        (body.get("message"), &body["duration"]),
        (None, &json!(0.0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_names_its_root_causes() {
    let all: Vec<_> = ["network", "db", "cache", "orders", "news"]
        .map(|name| (name, Dependency::new(Answer::Well)))
        .into();
    let check = |name: &str| {
        let found = all.iter().find(|(of, _)| *of == name).unwrap();
        found.1.check(name).interval(Duration::from_secs(1))
    };
    let (health, _stop) = run(vec![
        check("network"),
        check("db").depends_on("network"),
        check("cache").depends_on("network"),
        check("orders").depends_on("db").depends_on("cache"),
        check("news"),
    ]);
    let causes = || -> Vec<String> {
        let checks = health.report().checks.into_iter();
        let causes = checks.map(|check| check.root_causes.join(","));
        causes.collect()
    };
    for (down, expected) in [
        (&["orders"] as &[_], ["", "", "", "", ""]),
        (&["db", "orders", "news"], ["", "", "", "db", ""]),
        (&["db", "cache", "orders"], ["", "", "", "db,cache", ""]),
        (
            &["network", "db", "cache", "orders"],
            ["", "network", "network", "network", ""],
        ),
        // The check between them is healthy.
        (&["network", "orders"], ["", "", "", "network", ""]),
    ] {
        for (name, dependency) in &all {
            dependency.set(if down.contains(name) {
                Answer::Fail
            } else {
                Answer::Well
            });
        }
        pass(Duration::from_secs(1)).await;
        assert_eq!(causes(), expected, "{down:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_have_their_checks_and_their_codes() {
    let (db, mail) = (Dependency::new(Answer::Well), Dependency::new(Answer::Fail));
    let storage = Select::tag("storage")
        .and(Select::all())
        .except(Select::check("cache"));
    let builder = Health::builder()
        .check(db.check("db").tag("storage").critical())
        .check(mail.check("mail"))
        .check(mail.check("cache").tag("storage"))
        .group(Group::new("storage", storage))
        .group(
            Group::new("readiness", Select::check("db").or(Select::check("mail")))
                .code(Status::Degraded, StatusCode::IM_A_TEAPOT),
        );
    let (health, _stop) = run_with(builder);
    pass(Duration::ZERO).await;
    assert_eq!(health.group("storage"), Some(Status::Healthy));
    assert_eq!(health.group("nothing"), None);
    assert_eq!(health.get("/health/storage").status(), StatusCode::OK);
    assert_eq!(
        health.get("/health/storage/mail").status(),
        StatusCode::NOT_FOUND
    );
    // The other codes are as they were.
    assert_eq!(health.get("/readyz").status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(health.get("/readyz?exclude=mail").status(), StatusCode::OK);
    assert_eq!(health.get("/health").status(), StatusCode::OK);
    db.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        health.get("/readyz").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        health.get("/health/storage/db").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_says_is_what_its_code_says() {
    let (db, mail) = (Dependency::new(Answer::Well), Dependency::new(Answer::Fail));
    let group = Group::new("readiness", Select::all())
        .code(Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
        .code(Status::Unhealthy, StatusCode::OK);
    let builder = Health::builder()
        .check(db.check("db").critical())
        .check(mail.check("mail"));
    let (health, _stop) = run_with(builder.group(group));
    pass(Duration::ZERO).await;
    let respond = |accept: &str| {
        let request = http::Request::get("/health/ready").header("accept", accept);
        let request = request.body(()).unwrap().into_parts().0;
        let answer = health.respond(&request);
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        (answer.status().as_u16(), body["status"].clone())
    };
    assert_eq!(respond("*/*"), (503, "not_ready".into()));
    assert_eq!(respond("application/health+json"), (503, "fail".into()));
    db.set(Answer::Fail);
    pass(Duration::from_secs(30)).await;
    assert_eq!(respond("*/*"), (200, "ready".into()));
    assert_eq!(respond("application/health+json"), (200, "warn".into()));
    // But none is ready that drains.
    health.drain();
    assert_eq!(respond("*/*"), (503, "not_ready".into()));
    let of_one = health.get("/health/ready/db?exclude=db");
    assert!(
        of_one.body().contains(r#""name":"db""#),
        "{}",
        of_one.body()
    );
}

/// An expression that selects checks, as code and as the checks' numbers.
fn select(random: &mut fastrand::Rng, tags: &[Vec<usize>], depth: usize) -> (Select, Vec<bool>) {
    let all = tags.len();
    let both = |random: &mut fastrand::Rng| {
        (
            select(random, tags, depth - 1),
            select(random, tags, depth - 1),
        )
    };
    let merged = |one: Vec<bool>, other: Vec<bool>, merge: fn(bool, bool) -> bool| -> Vec<bool> {
        one.into_iter()
            .zip(other)
            .map(|(one, other)| merge(one, other))
            .collect()
    };
    match random.usize(..if depth == 0 { 3 } else { 6 }) {
        0 => (Select::all(), vec![true; all]),
        1 => {
            let number = random.usize(..all);
            let only = (0..all).map(|other| other == number).collect();
            (Select::check(format!("c{number}")), only)
        }
        2 => {
            let tag = random.usize(..3);
            let tagged = tags.iter().map(|tags| tags.contains(&tag)).collect();
            (Select::tag(format!("t{tag}")), tagged)
        }
        3 => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.or(other),
                merged(ones, others, |one, other| one || other),
            )
        }
        4 => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.and(other),
                merged(ones, others, |one, other| one && other),
            )
        }
        _ => {
            let ((one, ones), (other, others)) = both(random);
            (
                one.except(other),
                merged(ones, others, |one, other| one && !other),
            )
        }
    }
}

#[test]
fn groups_agree_with_the_rule_read_off_a_list() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let count = random.usize(3..9);
        // Each tag has one check at least.
        let tags: Vec<Vec<usize>> = (0..count)
            .map(|number| {
                (0..3)
                    .filter(|tag| number == *tag || random.bool())
                    .collect()
            })
            .collect();
        let importances: Vec<usize> = (0..count).map(|_| random.usize(..3)).collect();
        let mut builder = Health::builder();
        for number in 0..count {
            let check = Check::new(format!("c{number}"), || async { Ok::<_, &str>(()) });
            let check = tags[number]
                .iter()
                .fold(check, |check, tag| check.tag(format!("t{tag}")));
            builder = builder.check(match importances[number] {
                0 => check.critical(),
                1 => check,
                _ => check.informational(),
            });
        }
        let (selected, members) = select(&mut random, &tags, 3);
        let health = builder.group(Group::new("some", selected)).build().unwrap();
        // 0 for no result, else how bad it is.
        let results: Vec<usize> = (0..count).map(|_| random.usize(..4)).collect();
        for (number, result) in results.iter().enumerate() {
            let outcome = match result {
                0 => continue,
                1 => Outcome::healthy(),
                2 => Outcome::degraded("slow"),
                _ => Outcome::unhealthy("down"),
            };
            let now = clock::now();
            health.inner().checks[number].record(outcome, Duration::ZERO, now, clock::wall());
        }
        let judged = |is_member: &dyn Fn(usize) -> bool| {
            let of = |number: usize| match (importances[number], results[number]) {
                (2, _) | (_, 1) => Status::Healthy,
                (0, 0 | 3) => Status::Unhealthy,
                _ => Status::Degraded,
            };
            let members = (0..count).filter(|number| is_member(*number));
            members.map(of).max().unwrap_or(Status::Healthy)
        };
        assert_eq!(health.report().status, judged(&|_| true));
        let expected = judged(&|number| members[number]);
        assert_eq!(health.group("some"), Some(expected));
        let excluded = random.usize(..count);
        let expected = judged(&|number| members[number] && number != excluded);
        let code = health
            .get(&format!("/health/some?exclude=c{excluded}"))
            .status();
        assert_eq!(code == StatusCode::OK, expected != Status::Unhealthy);
    }
}
