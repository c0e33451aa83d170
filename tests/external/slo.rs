use std::collections::HashMap;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campanile::series::Now;
use campanile::sla::export::Export;
use campanile::sla::{Bound, BurnAlert, ServiceLevels, Slo, Source, Urgency, Window};
use campanile_tests::{eventually, find};
use serde_json::Value;
use tempfile::TempDir;

use super::prometheus::Prometheus;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the tests are the edge")]
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

fn build(slos: impl IntoIterator<Item = Slo>, now: Now) -> ServiceLevels {
    let builder = ServiceLevels::builder();
    let builder = slos
        .into_iter()
        .fold(builder, |builder, one| builder.slo(one));
    builder.build_at(now).unwrap()
}

/// Runs promtool, which must be content.
#[track_caller]
fn promtool(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(find("promtool", "prometheus"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// Promtool accepts the rules of all kinds of SLOs, and their tests pass.
#[test]
fn promtool_takes_the_rules_and_proves_them() {
    let slos = || {
        [
            Slo::availability("availability", "99.9%"),
            Slo::availability("month", "99%").over(Window::month("UTC")),
            Slo::availability("strict", "99.9999%").over(Window::days(28)),
            Slo::availability("loose", "85%").over(Window::days(90)),
            Slo::availability("hopeless", "0%"),
            Slo::latency("fast", "95%", Duration::from_millis(250)).over(Window::days(7)),
            Slo::error_rate("error_rate", "1%").over(DAY),
            Slo::error_rate("short", "1%").over(Duration::from_secs(90)),
            Slo::uptime("up", "99.95%"),
            Slo::gauge("queue", "99%", Bound::AtMost(10.0)),
            Slo::throughput("throughput", 1_000.0),
        ]
    };
    let exported = |sla: ServiceLevels| {
        let matchers = r#"job="orders", instance!="a\"b""#;
        sla.export("orders", matchers).unwrap()
    };
    let export = exported(build(slos(), now()));
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("rules.yml", export.prometheus_rules());
    let checked = promtool(
        &["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"],
        folder.path(),
    );
    // Two groups of recordings per SLO, and one of alerts if the SLO has alerts.
    assert!(checked.contains("SUCCESS: "), "{checked}");
    // Promtool evaluates all rules in each case, so each SLO is tested alone.
    for slo in slos() {
        let alone = exported(build([slo], now()));
        write("rules.yml", alone.prometheus_rules());
        write("tests.yml", alone.prometheus_tests("rules.yml").unwrap());
        promtool(&["test", "rules", "tests.yml"], folder.path());
    }
    // The proof is one: rules that fire later than they should are found out.
    let [first, ..] = slos();
    let first = exported(build([first], now()));
    let first_rules = first.prometheus_rules();
    let late = first_rules
        .replace(" / 0.001) > 14.4", " / 0.001) > 1440")
        .replace(" / 0.001) > 6\n", " / 0.001) > 1440\n");
    // So are steps that leave out the events of a gap in the scrapes.
    let lossy = first_rules.replace("[1d] offset 5m)", "[1s] offset 5m)");
    write("tests.yml", first.prometheus_tests("rules.yml").unwrap());
    for rules in [late, lossy] {
        write("rules.yml", rules);
        let output = Command::new(find("promtool", "prometheus"))
            .args(["test", "rules", "tests.yml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(!output.status.success());
    }
    // The operator's form has the same rules.
    let resource = export.prometheus_rule_resource("orders", &[("release", "prometheus")]);
    let (head, rules) = resource.split_once("spec:\n").unwrap();
    assert!(head.contains("kind: PrometheusRule") && head.contains("\"release\": \"prometheus\""));
    let rules: String = rules
        .lines()
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    assert_eq!(rules, export.prometheus_rules());
    let none = build([Slo::throughput("t", 1.0)], now())
        .export("orders", "")
        .unwrap();
    write("rules.yml", none.prometheus_rules());
    promtool(&["check", "rules", "rules.yml"], folder.path());
}

/// The counts of one SLO per minute.
struct Traffic {
    slo: String,
    /// Per cent of the budget's share.
    allowed: f64,
    /// Good and bad ones of all minutes up to each.
    sums: Vec<(u64, u64)>,
}

impl Traffic {
    /// Traffic with days and nights, and times in which much or all of it fails.
    fn random(number: u64, minutes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(number);
        let target = [0.999, 0.99, 0.95, 0.999_9, 0.9, 0.999][number as usize % 6];
        let most = [300.0, 20.0, 100.0, 2_000.0, 50.0, 3.0][number as usize % 6];
        let (mut sum, mut sums) = ((0, 0), vec![(0, 0)]);
        let (mut left, mut share) = (0usize, 0.0);
        for minute in 0..minutes {
            if left == 0 {
                let is_bad = random.u8(..3) == 0;
                left = random.usize(5..600);
                share = if is_bad {
                    (1.0 - target) * 10f64.powf(random.f64() * 3.0)
                } else {
                    0.0
                };
            }
            left -= 1;
            let day = (minute as f64 / 1_440.0 * std::f64::consts::TAU).sin() + 1.0;
            let events = (most * day * random.f64()) as u64;
            let bad = (0..events)
                .filter(|_| random.f64() < share.min(1.0))
                .count() as u64;
            sum = (sum.0 + events - bad, sum.1 + bad);
            sums.push(sum);
        }
        Self {
            slo: format!("slo-{number}"),
            allowed: 1.0 - target,
            sums,
        }
    }

    /// Returns the good and bad ones of the minutes before one of them.
    fn before(&self, minute: usize, minutes: usize) -> (u64, u64) {
        let (good, bad) = self.sums[minute];
        let (good_before, bad_before) = self.sums[minute.saturating_sub(minutes)];
        (good - good_before, bad - bad_before)
    }

    /// Returns the range of the bad share, with a tolerance of 1 %. `None` if there may be no data.
    /// The first bucket of our windows and the first minute of Prometheus' may be in them or not.
    fn share(&self, minute: usize, window: Duration) -> Option<RangeInclusive<f64>> {
        let minutes = window.as_secs() as usize / 60;
        let bucket = match minutes {
            ..=60 => 1,
            61..=1_440 => 5,
            _ => 60,
        };
        let (good, bad) = self.before(minute, minutes - 1);
        let (good_more, bad_more) = self.before(minute, minutes + bucket);
        (good + bad > 0).then(|| {
            let least = bad as f64 / (good_more + bad) as f64;
            let most = bad_more as f64 / (good + bad_more) as f64;
            least * 0.99..=most * 1.01
        })
    }

    /// Returns whether an alert rings; `None` if these counts are too close to its limits to tell.
    fn rings(&self, minute: usize, alert: &BurnAlert) -> Option<bool> {
        let limit = alert.factor * self.allowed;
        let (_, bad) = self.before(minute, alert.long.as_secs() as usize / 60);
        // A short window without anything goes on as it was, here but not there.
        let shares = [
            self.share(minute, alert.long)?,
            self.share(minute, alert.short)?,
        ];
        let is_close = shares.iter().any(|share| share.contains(&limit)) || (2..=3).contains(&bad);
        let burns = shares.iter().all(|share| *share.start() > limit);
        (!is_close).then_some(burns && bad >= 3)
    }

    /// Returns whether the page or the ticket fires, given the alerts of the SLO.
    fn fires(&self, minute: usize, alerts: &[&BurnAlert], urgency: Urgency) -> Option<bool> {
        let any = |urgency| {
            let alerts = alerts.iter().filter(|alert| alert.urgency == urgency);
            let all: Vec<_> = alerts.map(|alert| self.rings(minute, alert)).collect();
            match all.contains(&Some(true)) {
                true => Some(true),
                false => (!all.contains(&None)).then_some(false),
            }
        };
        match (urgency, any(Urgency::Page)) {
            (Urgency::Ticket, Some(true)) => Some(false),
            (Urgency::Ticket, Some(false)) => any(urgency),
            (Urgency::Ticket, None) => any(urgency).filter(|rings| !rings),
            (_, page) => page,
        }
    }
}

/// One definition, two engines: the same random traffic is counted here, and given to a Prometheus
/// that runs the exported rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_judges_as_we_do() {
    const MINUTES: usize = 5 * 1_440;
    let traffic: Vec<_> = (0..6)
        .map(|number| Traffic::random(number, MINUTES))
        .collect();
    // On a multiple of five minutes, which is how often the rules are evaluated.
    let present = now();
    let end = present.wall.duration_since(UNIX_EPOCH).unwrap();
    let end = end.as_secs() / 300 * 300;
    let begin = Now {
        wall: UNIX_EPOCH + Duration::from_secs(end) - MINUTE * MINUTES as u32,
        ..present
    };
    let sla = build(
        traffic.iter().map(|one| {
            let target = format!("{:.4}%", 100.0 * (1.0 - one.allowed));
            Slo::availability(&one.slo, target).source(Source::Manual)
        }),
        begin,
    );
    // Evaluations at random minutes of the last day, when most windows are full.
    let mut random = fastrand::Rng::with_seed(7);
    let mut asked: Vec<_> = (0..60)
        .map(|_| random.usize(4 * 288..MINUTES / 5) * 5)
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let (mut ours, mut page) = (
        Vec::new(),
        String::from("# TYPE campanile_slo_events counter\n"),
    );
    let trackers: Vec<_> = traffic
        .iter()
        .map(|one| sla.event_recorder(&one.slo).unwrap())
        .collect();
    for minute in 1..=MINUTES {
        let during = begin + (MINUTE * (minute as u32) - MINUTE / 2);
        for (one, tracker) in traffic.iter().zip(&trackers) {
            let (good, bad) = one.before(minute, 1);
            for number in 0..good + bad {
                tracker.record_at(number < good, Duration::ZERO, during.mono);
            }
        }
        let now = begin + MINUTE * minute as u32;
        sla.tick(now);
        if asked.contains(&minute) {
            let rates: Vec<_> = sla
                .report_at(now)
                .slos
                .into_iter()
                .map(|one| one.budget.unwrap())
                .collect();
            ours.push((minute, rates, sla.burn_alerts_at(now)));
        }
    }
    for one in &traffic {
        for (result, part) in [("good", 0), ("bad", 1)] {
            for (minute, (good, bad)) in one.sums.iter().enumerate() {
                let count = [good, bad][part];
                let time = end - (MINUTES - minute) as u64 * 60;
                let slo = &one.slo;
                writeln!(page, "campanile_slo_events_total{{job=\"orders\",slo=\"{slo}\",result=\"{result}\"}} {count} {time}").unwrap();
            }
        }
    }
    page += "# EOF\n";

    let export = sla.export("orders", r#"job="orders""#).unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("page"), page).unwrap();
    std::fs::write(path("rules.yml"), export.prometheus_rules()).unwrap();
    promtool(
        &["tsdb", "create-blocks-from", "openmetrics", "page", "data"],
        folder.path(),
    );
    // Increments and ratios need a past. All other rules read these.
    let rules = export.prometheus_rules();
    let (head, groups) = rules.split_once("- name: ").unwrap();
    for (name, begin) in [("increments", "event-"), ("ratios", "sli-")] {
        let begin = format!("sloth-slo-{begin}");
        let groups = groups
            .split("- name: ")
            .filter(|group| group.starts_with(&begin));
        let groups: String = groups.map(|group| format!("- name: {group}")).collect();
        assert_eq!(groups.matches("- name: ").count(), traffic.len());
        std::fs::write(path(&format!("{name}.yml")), format!("{head}{groups}")).unwrap();
    }
    let config = format!(
        "global: {{evaluation_interval: 1s}}\nrule_files: ['{}']\n",
        path("rules.yml").display()
    );
    let mut prometheus = Prometheus::open(folder, &config).await;
    let to = end.to_string();
    // Rules that read others need those in the storage, and so a step each.
    for (rules, from) in [
        ("increments.yml", end - MINUTES as u64 * 60),
        ("ratios.yml", end - 86_400),
    ] {
        let url = format!("--url=http://{}", prometheus.address);
        promtool(
            &[
                "tsdb",
                "create-blocks-from",
                "rules",
                &url,
                "--start",
                &from.to_string(),
                "--end",
                &to,
                "--eval-interval=5m",
                "--output-dir=data",
                rules,
            ],
            prometheus.folder.path(),
        );
        prometheus = Prometheus::open(prometheus.stop(), &config).await;
    }

    let rules = prometheus.ask("/api/v1/rules?type=alert").await.unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules_of: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    let (mut compared, mut close, mut firing) = (0, 0, 0);
    for (minute, budgets, burn_alerts) in &ours {
        let time = end - (MINUTES - minute) as u64 * 60;
        let rates = "{__name__=~\"slo:sli_error:ratio_rate.+\"}";
        let theirs = by_window(&prometheus, rates, time).await;
        // Rules are evaluated every five minutes, but not at the beginning of each.
        let stamped = format!("timestamp({rates})");
        let evaluated = by_window(&prometheus, &stamped, time).await;
        for (one, budget) in traffic.iter().zip(budgets) {
            for burn in &budget.burn_rates {
                let window = campanile::series::format_duration(burn.window);
                let who = format!("{window} {minute} {}", one.slo);
                let key = (one.slo.clone(), window);
                let before = time as f64 - evaluated[&key];
                assert!((0.0..=300.0).contains(&before), "{who}: {before}");
                let their_minute = minute - (before / 60.0).ceil() as usize;
                let theirs = theirs.get(&key).copied().filter(|share| !share.is_nan());
                // A long window ends with the last step of five minutes.
                let lag = if burn.window < DAY { 0 } else { 5 };
                let is_right = |theirs: f64| {
                    let shares = (their_minute - lag..=their_minute)
                        .filter_map(|minute| one.share(minute, burn.window));
                    shares.into_iter().any(|share| share.contains(&theirs))
                };
                match one.share(their_minute, burn.window) {
                    Some(share) => {
                        assert!(theirs.is_some_and(is_right), "{who}: {theirs:?} {share:?}")
                    }
                    None => assert!(theirs.is_none_or(|share| share <= 1.0), "{who}: {theirs:?}"),
                }
                let ours = burn.rate.map(|rate| rate * budget.allowed);
                if let Some(share) = one.share(*minute, burn.window) {
                    assert!(
                        ours.is_some_and(|ours| share.contains(&ours)),
                        "{who}: ours {ours:?} {share:?}"
                    );
                }
            }
        }
        for one in &traffic {
            let alerts = burn_alerts.iter().filter(|alert| alert.slo == one.slo);
            let alerts: Vec<_> = alerts.collect();
            let ours = |urgency| {
                let mut firing = alerts.iter().filter(|alert| alert.is_firing);
                firing.any(|alert| alert.urgency == urgency)
            };
            for (urgency, name) in [
                (Urgency::Page, "ErrorBudgetBurnPage"),
                (Urgency::Ticket, "ErrorBudgetBurnTicket"),
            ] {
                // What it was when the rules were evaluated may have been something else.
                let whenever = (minute - 10..=*minute).map(|at| one.fires(at, &alerts, urgency));
                let whenever: Vec<_> = whenever.collect();
                let [Some(rings), ..] = whenever[..] else {
                    close += 1;
                    continue;
                };
                if whenever.iter().any(|then| *then != Some(rings)) {
                    close += 1;
                    continue;
                }
                let rule = rules_of
                    .iter()
                    .find(|rule| rule["labels"]["slo"] == *one.slo && rule["name"] == *name);
                let expr = rule.unwrap()["query"].as_str().unwrap();
                let theirs = value(&prometheus, expr, time).await.is_some();
                let ours = ours(urgency) && (urgency == Urgency::Page || !ours(Urgency::Page));
                assert_eq!(
                    (theirs, ours),
                    (rings, rings),
                    "{minute} {name}: {alerts:?}"
                );
                compared += 1;
                firing += usize::from(rings);
            }
        }
    }
    assert!(
        compared > 400 && firing > 40 && close * 5 < compared,
        "{compared} {firing} {close}"
    );
    dashboard(&prometheus, &export).await;
}

/// The values of an expression at a time, by SLO and window.
async fn by_window(
    prometheus: &Prometheus,
    expr: &str,
    time: u64,
) -> HashMap<(String, String), f64> {
    let answer = query(prometheus, expr, time).await;
    let series = answer.as_array().unwrap().iter();
    let series = series.map(|series| {
        let label = |name: &str| series["metric"][name].as_str().unwrap().to_owned();
        let value = series["value"][1].as_str().unwrap().parse().unwrap();
        ((label("sloth_slo"), label("sloth_window")), value)
    });
    series.collect()
}

/// The value of an expression at a time, if it has one.
async fn value(prometheus: &Prometheus, expr: &str, time: u64) -> Option<f64> {
    let answer = query(prometheus, expr, time).await;
    answer[0]["value"][1].as_str()?.parse().ok()
}

async fn query(prometheus: &Prometheus, expr: &str, time: u64) -> Value {
    let query: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/api/v1/query?query={query}&time={time}");
    let mut answer = prometheus.ask(&path).await.unwrap();
    assert_eq!(answer["status"], "success", "{expr}: {answer}");
    answer["data"]["result"].take()
}

/// Each query of the dashboard has a result.
async fn dashboard(prometheus: &Prometheus, export: &Export) {
    let dashboard: Value = serde_json::from_str(&export.grafana_dashboard()).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            // Nothing rings, and nothing is counted any more: the last five minutes have nothing.
            if expr.starts_with("ALERTS") || expr.contains("current_burn_rate") {
                continue;
            }
            let expr = expr.replace("$service", "orders").replace("$slo", "slo-0");
            let expr = expr.replace("$__rate_interval", "1h");
            let answers = async || {
                let now = now().wall.duration_since(UNIX_EPOCH).unwrap().as_secs();
                value(prometheus, &expr, now).await.is_some()
            };
            eventually(true, answers).await;
            asked += 1;
        }
    }
    assert!(asked > 8, "{asked}");
}
