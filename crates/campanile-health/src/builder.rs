use std::time::Duration;

use crate::health::Parts;
use crate::{BuildError, Check, Group, Health, Heartbeat, Problem, Select, Watchdog};

/// Settings of a [`Health`].
///
/// | setting | default | limit |
/// |---|---|---|
/// | [`check`](Self::check) | none: the service is healthy while it responds | 1,000 |
/// | [`group`](Self::group) | `readiness`, `liveness`, `startup` | 100 |
/// | [`heartbeat`](Self::heartbeat), [`watchdog`](Self::watchdog) | none | |
/// | [`concurrency`](Self::concurrency) | 64 | at least 1 |
/// | [`jitter`](Self::jitter) | 0.1 | 0 to 1 |
/// | [`version`](Self::version) | none | 64 characters |
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct HealthBuilder {
    checks: Vec<Check>,
    groups: Vec<Group>,
    watchdog: Option<Watchdog>,
    concurrency: usize,
    jitter: f64,
    version: Option<String>,
}

const MAX_CHECKS: usize = 1_000;
const MAX_GROUPS: usize = 100;

const NAME: &str = "1 to 64 characters of [A-Za-z0-9._-]";
const GROUP_NAME: &str =
    "1 to 64 characters of [A-Za-z0-9._-], and none of `detailed`, `ready`, `live`";

impl Health {
    /// Creates a builder.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::new()
    }
}

impl HealthBuilder {
    fn new() -> Self {
        Self {
            checks: Vec::new(),
            groups: Vec::new(),
            watchdog: None,
            concurrency: 64,
            jitter: 0.1,
            version: None,
        }
    }

    /// Adds a check; at most 1,000.
    ///
    /// Defaults to none.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a group, or replaces the default group of the same name; at most 100.
    ///
    /// Defaults to `readiness`, `liveness` and `startup`; see [`Group`].
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Adds a heartbeat, as a critical check of the same name.
    ///
    /// Defaults to none.
    pub fn heartbeat(self, heartbeat: &Heartbeat) -> Self {
        self.check(heartbeat.check())
    }

    /// Sets the watchdog, which adds the critical check `executor`: it fails while the tokio
    /// runtime is stuck.
    ///
    /// Defaults to none.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// Sets the limit of concurrent calls of checks; at least 1.
    ///
    /// Defaults to 64.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Sets the random delay of each call, as a share of the check's interval; from 0 to 1. It
    /// spreads the calls of many instances.
    ///
    /// Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Sets the service's version, such as `env!("CARGO_PKG_VERSION")`: 1 to 64 printable ASCII
    /// characters. `/health/detailed` and `application/health+json` contain it.
    ///
    /// Defaults to none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Creates the [`Health`]. No check runs before [`Health::run`] does.
    ///
    /// # Errors
    ///
    /// If a setting is not valid. The error lists every problem.
    pub fn build(mut self) -> Result<Health, BuildError> {
        let mut problems = Vec::new();
        let watchdog = self
            .watchdog
            .take()
            .and_then(|watchdog| match watchdog.bind() {
                Ok(watchdog) => Some(watchdog),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            });
        self.checks
            .extend(watchdog.iter().map(|watchdog| watchdog.check()));
        self.verify_checks(&mut problems);
        if !(0.0..=1.0).contains(&self.jitter) {
            problems.push(Problem::InvalidSetting {
                setting: "jitter",
                value: self.jitter.to_string(),
                expected: "a share from 0 to 1",
            });
        }
        if self.concurrency == 0 {
            problems.push(Problem::InvalidSetting {
                setting: "concurrency",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        if let Some(version) = self.version.as_ref().filter(|version| !is_version(version)) {
            let value: String = version.chars().take(65).collect();
            problems.push(Problem::InvalidSetting {
                setting: "version",
                value: format!("{value:?}"),
                expected: "1 to 64 printable ASCII characters",
            });
        }
        let depends_on = dependencies(&self.checks, &mut problems);
        let groups = with_defaults(self.groups, &mut problems);
        let resolve = |group: Group| group.resolve(&self.checks, &mut problems);
        let groups = groups.into_iter().map(resolve).collect();
        if !problems.is_empty() {
            return Err(BuildError::new(problems));
        }
        Ok(Health::new(Parts {
            checks: self.checks.into_iter().zip(depends_on).collect(),
            groups,
            jitter: self.jitter,
            concurrency: self.concurrency.min(tokio::sync::Semaphore::MAX_PERMITS),
            version: self.version,
            watchdog,
        }))
    }

    fn verify_checks(&self, problems: &mut Vec<Problem>) {
        if self.checks.len() > MAX_CHECKS {
            problems.push(Problem::TooMany {
                what: "checks",
                number: self.checks.len(),
                limit: MAX_CHECKS,
            });
        }
        for (number, check) in self.checks.iter().enumerate() {
            if !is_name(&check.name) {
                problems.push(invalid_name("check", &check.name, NAME));
            }
            for tag in check.tags.iter().filter(|tag| !is_name(tag)) {
                problems.push(invalid_name("tag", tag, NAME));
            }
            let mut earlier = self.checks[..number].iter();
            if earlier.any(|earlier| earlier.name.eq_ignore_ascii_case(&check.name)) {
                problems.push(Problem::DuplicateName {
                    what: "check",
                    name: check.name.clone(),
                });
            }
            self.verify_settings(check, problems);
        }
    }

    fn verify_settings(&self, check: &Check, problems: &mut Vec<Problem>) {
        let mut invalid = |setting, value: String, expected: String| {
            problems.push(Problem::InvalidCheckSetting {
                check: check.name.clone(),
                setting,
                value,
                expected,
            });
        };
        for (setting, time) in [
            ("timeout", check.timeout),
            ("interval", check.interval),
            ("retry_interval", check.retry_interval),
        ] {
            if time.is_zero() {
                invalid(setting, "0 s".to_owned(), "more than 0 s".to_owned());
            }
        }
        for (setting, threshold) in [
            ("failure_threshold", check.thresholds.failures),
            ("success_threshold", check.thresholds.successes),
        ] {
            if threshold == 0 {
                invalid(setting, "0".to_owned(), "at least 1".to_owned());
            }
        }
        let min = self.min_stale_after(check);
        if let Some(stale_after) = check.stale_after.filter(|stale_after| *stale_after < min) {
            let expected = format!("at least {min:?}: the interval with jitter, and the timeout");
            invalid("stale_after", format!("{stale_after:?}"), expected);
        }
    }

    /// Returns the longest time from one result of a check to the next.
    fn min_stale_after(&self, check: &Check) -> Duration {
        let is_share = (0.0..=1.0).contains(&self.jitter);
        let jitter = check
            .interval
            .mul_f64(if is_share { self.jitter } else { 0.0 });
        check
            .interval
            .saturating_add(jitter)
            .saturating_add(check.timeout)
    }
}

fn is_version(version: &str) -> bool {
    let is_valid = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    (1..=64).contains(&version.len()) && version.bytes().all(is_valid)
}

fn is_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_valid)
}

fn invalid_name(what: &'static str, name: &str, expected: &'static str) -> Problem {
    Problem::InvalidName {
        what,
        name: name.to_owned(),
        expected,
    }
}

/// Returns for each check the numbers of the checks that it depends on.
fn dependencies(checks: &[Check], problems: &mut Vec<Problem>) -> Vec<Vec<usize>> {
    let mut find = |check: &Check| -> Vec<usize> {
        let number = |name: &String| {
            let found = checks.iter().position(|check| check.name == *name);
            if found.is_none() {
                problems.push(Problem::Unknown {
                    what: "check",
                    name: name.clone(),
                    referrer: format!("check {:?}", check.name),
                });
            }
            found
        };
        check.depends_on.iter().filter_map(number).collect()
    };
    let found: Vec<_> = checks.iter().map(&mut find).collect();
    if let Some(cycle) = cycle(&found) {
        let names = cycle.iter().map(|&number| checks[number].name.clone());
        problems.push(Problem::Cycle {
            checks: names.collect(),
        });
    }
    found
}

/// Returns a dependency cycle, if there is one. The last check is the first one.
fn cycle(depends_on: &[Vec<usize>]) -> Option<Vec<usize>> {
    // No cycle leads through these checks.
    let mut done = vec![false; depends_on.len()];
    for start in 0..depends_on.len() {
        let mut path = vec![(start, 0)];
        while let Some((number, next)) = path.last_mut() {
            let number = *number;
            let Some(&below) = depends_on[number].get(*next).filter(|_| !done[number]) else {
                done[number] = true;
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = path.iter().position(|(number, _)| *number == below) {
                let members = path[begin..].iter().map(|(number, _)| *number);
                return Some(members.chain([below]).collect());
            }
            path.push((below, 0));
        }
    }
    None
}

/// Verifies the groups, and adds the default ones that they do not replace.
fn with_defaults(groups: Vec<Group>, problems: &mut Vec<Problem>) -> Vec<Group> {
    if groups.len() > MAX_GROUPS {
        problems.push(Problem::TooMany {
            what: "groups",
            number: groups.len(),
            limit: MAX_GROUPS,
        });
    }
    for (number, group) in groups.iter().enumerate() {
        if !is_name(&group.name) || ["detailed", "ready", "live"].contains(&&*group.name) {
            problems.push(invalid_name("group", &group.name, GROUP_NAME));
        }
        let mut earlier = groups[..number].iter();
        if earlier.any(|earlier| earlier.name.eq_ignore_ascii_case(&group.name)) {
            problems.push(Problem::DuplicateName {
                what: "group",
                name: group.name.clone(),
            });
        }
    }
    let defaults = [
        Group::new("readiness", Select::all()),
        Group::new("liveness", Select::liveness()),
        Group::new("startup", Select::liveness()),
    ];
    let mut all: Vec<_> = defaults
        .into_iter()
        .filter(|default| groups.iter().all(|group| group.name != default.name))
        .collect();
    all.extend(groups);
    all
}

#[cfg(test)]
mod tests;
