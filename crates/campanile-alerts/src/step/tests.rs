use std::time::UNIX_EPOCH;

use super::*;

const NEVER: Duration = Duration::ZERO;

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the start time is arbitrary")]
    let mono = Instant::now();
    Now {
        wall: UNIX_EPOCH + Duration::from_secs(1_000_000),
        mono,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn labels(name: &str) -> LabelSet {
    LabelSet::new([("a", name)]).unwrap()
}

fn found(names: &str) -> BTreeMap<LabelSet, f64> {
    names
        .chars()
        .map(|name| (labels(&name.to_string()), 1.0))
        .collect()
}

/// Takes an alert through a story: at each second what is found, and the changes that this makes.
#[track_caller]
fn check(pending_for: u64, story: &[(u64, &str, &[&str])]) {
    let terms = RuleTiming {
        pending_for: seconds(pending_for),
        look_back: NEVER,
    };
    let start = start();
    let mut alerts = Alerts::new();
    for (second, names, expected) in story {
        let now = start + seconds(*second);
        let (next, changes) = step(&alerts, terms, &found(names), NEVER, now);
        let changes: Vec<_> = changes
            .iter()
            .map(|(labels, change)| {
                let word = match change {
                    Change::Pending => "pending",
                    Change::Firing { since } => {
                        assert_eq!(*since, now.wall);
                        "firing"
                    }
                    Change::Resolved { .. } => "resolved",
                    Change::Dropped => "dropped",
                };
                format!("{word} {}", labels.get("a").unwrap())
            })
            .collect();
        assert_eq!(changes, *expected, "second {second}");
        alerts = next;
    }
}

#[test]
fn alerts_go_through_prometheus_states() {
    check(
        0,
        &[
            (0, "", &[]),
            (1, "x", &["firing x"]),
            (2, "x", &[]),
            (3, "", &["resolved x"]),
            (4, "x", &["firing x"]),
        ],
    );
    check(
        10,
        &[
            (0, "x", &["pending x"]),
            (9, "x", &[]),
            (10, "x", &["firing x"]),
            (20, "x", &[]),
            (21, "", &["resolved x"]),
        ],
    );
    // What is not found once begins anew.
    check(
        10,
        &[
            (0, "x", &["pending x"]),
            (9, "", &["dropped x"]),
            (10, "x", &["pending x"]),
            (19, "x", &[]),
            (20, "x", &["firing x"]),
        ],
    );
    // Each has its own time.
    check(
        10,
        &[
            (0, "x", &["pending x"]),
            (5, "xy", &["pending y"]),
            (10, "xy", &["firing x"]),
            (15, "y", &["firing y", "resolved x"]),
        ],
    );
    // Ticks may be rare.
    check(10, &[(0, "x", &["pending x"]), (100, "x", &["firing x"])]);
}

#[test]
fn a_clock_step_changes_nothing() {
    let terms = RuleTiming {
        pending_for: seconds(10),
        look_back: NEVER,
    };
    let start = start();
    let (alerts, _) = step(&Alerts::new(), terms, &found("x"), NEVER, start);
    for wall in [UNIX_EPOCH, UNIX_EPOCH + seconds(4_000_000_000)] {
        let early = Now {
            wall,
            ..start + seconds(9)
        };
        assert_eq!(step(&alerts, terms, &found("x"), NEVER, early).1, []);
        let late = Now {
            wall,
            ..start + seconds(10)
        };
        assert_eq!(
            step(&alerts, terms, &found("x"), NEVER, late).1,
            [(labels("x"), Change::Firing { since: wall })]
        );
    }
}

#[test]
fn the_value_is_the_last_one() {
    let terms = RuleTiming {
        pending_for: NEVER,
        look_back: NEVER,
    };
    let start = start();
    let mut alerts = Alerts::new();
    for value in [1.0, 2.0, f64::INFINITY] {
        alerts = step(&alerts, terms, &[(labels("x"), value)].into(), NEVER, start).0;
        assert_eq!(alerts[&labels("x")].value, value);
    }
}

fn restored(phase: Phase, held: u64, now: Now) -> Alerts {
    let alert = AlertState::restored(phase, UNIX_EPOCH, seconds(held), 1.0, now);
    [(labels("x"), alert)].into()
}

#[test]
fn a_restored_alert_resolves_only_after_a_full_look_back() {
    let terms = RuleTiming {
        pending_for: NEVER,
        look_back: seconds(60),
    };
    let start = start();
    let firing = restored(Phase::Firing { since: UNIX_EPOCH }, 100, start);
    let (same, changes) = step(&firing, terms, &found(""), seconds(59), start + seconds(59));
    assert_eq!((&same, changes), (&firing, vec![]));
    let (none, changes) = step(&same, terms, &found(""), seconds(60), start + seconds(60));
    assert!(none.is_empty());
    assert_eq!(
        changes,
        [(labels("x"), Change::Resolved { since: UNIX_EPOCH })]
    );

    // What is found acts at once, and from then on it is an alert like any other.
    let (found_again, changes) = step(&firing, terms, &found("x"), seconds(1), start + seconds(1));
    assert_eq!(
        (found_again[&labels("x")].phase, changes),
        (firing[&labels("x")].phase, vec![])
    );
    let (_, changes) = step(
        &found_again,
        terms,
        &found(""),
        seconds(2),
        start + seconds(2),
    );
    assert_eq!(
        changes,
        [(labels("x"), Change::Resolved { since: UNIX_EPOCH })]
    );

    let pending = restored(Phase::Pending, 100, start);
    let (_, changes) = step(
        &pending,
        terms,
        &found(""),
        seconds(60),
        start + seconds(60),
    );
    assert_eq!(changes, [(labels("x"), Change::Dropped)]);
}

#[test]
fn a_restored_pending_alert_keeps_its_time() {
    let terms = RuleTiming {
        pending_for: seconds(10),
        look_back: seconds(60),
    };
    let start = start();
    let pending = restored(Phase::Pending, 7, start);
    // The time until it is found again does not count.
    let mut alerts = step(&pending, terms, &found(""), NEVER, start + seconds(20)).0;
    for (second, fires) in [(21, false), (23, false), (24, true)] {
        let (next, changes) = step(&alerts, terms, &found("x"), NEVER, start + seconds(second));
        assert_eq!(!changes.is_empty(), fires, "second {second}");
        alerts = next;
    }
}

/// Against thirty lines that keep the whole past: random findings, held times and restarts.
#[test]
fn random_stories_agree_with_a_reference() {
    for seed in 0..10_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let pending_for = random.u64(0..20);
        let terms = RuleTiming {
            pending_for: seconds(pending_for),
            look_back: NEVER,
        };
        let (start, mut second, mut alerts) = (start(), 0, Alerts::new());
        // For each name the second since which it has been found at every tick.
        let mut since: BTreeMap<char, u64> = BTreeMap::new();
        let mut firing: Vec<char> = Vec::new();
        for _ in 0..30 {
            second += random.u64(1..8);
            let names: String = "xyz".chars().filter(|_| random.u8(..4) > 0).collect();
            let (next, changes) = step(
                &alerts,
                terms,
                &found(&names),
                NEVER,
                start + seconds(second),
            );
            alerts = next;

            since.retain(|name, _| names.contains(*name));
            for name in names.chars() {
                since.entry(name).or_insert(second);
            }
            let now_firing: Vec<_> = since
                .iter()
                .filter(|(_, since)| second - **since >= pending_for)
                .map(|(name, _)| *name)
                .collect();
            let expected_fired: Vec<_> = now_firing
                .iter()
                .filter(|name| !firing.contains(name))
                .collect();
            let expected_resolved: Vec<_> = firing
                .iter()
                .filter(|name| !now_firing.contains(name))
                .collect();
            let names_of = |wanted: fn(&Change) -> bool| -> Vec<char> {
                let of = changes.iter().filter(|(_, change)| wanted(change));
                of.map(|(labels, _)| labels.get("a").unwrap().chars().next().unwrap())
                    .collect()
            };
            let fired = names_of(|change| matches!(change, Change::Firing { .. }));
            let resolved = names_of(|change| matches!(change, Change::Resolved { .. }));
            assert!(
                fired.iter().eq(expected_fired),
                "seed {seed} second {second}"
            );
            assert!(
                resolved.iter().eq(expected_resolved),
                "seed {seed} second {second}"
            );
            let active: Vec<_> = alerts
                .keys()
                .map(|labels| labels.get("a").unwrap().chars().next().unwrap())
                .collect();
            assert!(since.keys().eq(&active), "seed {seed} second {second}");
            firing = now_firing;
        }
    }
}
