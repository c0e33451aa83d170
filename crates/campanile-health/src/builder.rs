use std::time::Duration;

use crate::health::Parts;
use crate::{BuildError, Check, Group, Health, Heartbeat, Problem, Select, Watchdog};

/// Settings of a [`Health`].
///
/// | setting | default |
/// |---|---|
/// | [`check`](Self::check) | none: the service is healthy as long as it answers |
/// | [`group`](Self::group) | `readiness`, `liveness`, `startup` |
/// | [`heartbeat`](Self::heartbeat), [`watchdog`](Self::watchdog) | none |
/// | [`concurrency`](Self::concurrency) | 64 |
/// | [`jitter`](Self::jitter) | 0.1 |
/// | [`version`](Self::version) | none |
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

/// The limits of the numbers of checks and groups.
const MAX_CHECKS: usize = 1_000;
const MAX_GROUPS: usize = 100;

impl Health {
    /// Returns a builder.
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

    /// Adds a check; there may be 1,000.
    ///
    /// Defaults to none.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a group, or replaces the one of its name that is there from the beginning; there may be 100.
    ///
    /// Defaults to `readiness`, `liveness` and `startup`, as [`Group`] has them.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Adds a task that has to go on, as a critical check of the same name.
    ///
    /// Defaults to none.
    pub fn heartbeat(self, heartbeat: &Heartbeat) -> Self {
        self.check(heartbeat.check())
    }

    /// Sets what sees whether the runtime is stuck, as the critical check `executor`.
    ///
    /// Defaults to nothing.
    pub fn watchdog(mut self, watchdog: Watchdog) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// Sets how many checks are called at a time at most; at least 1.
    ///
    /// Defaults to 64.
    pub fn concurrency(mut self, checks: usize) -> Self {
        self.concurrency = checks;
        self
    }

    /// Sets by which share of its period a call may come later, at random; from 0 to 1.
    ///
    /// Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Sets the service's version, such as `env!("CARGO_PKG_VERSION")`: 1 to 64 printable ASCII characters.
    /// `/health/detailed` and `application/health+json` show it to every client that may read them.
    ///
    /// Defaults to none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Returns the health. No check runs before [`Health::run`] does.
    ///
    /// # Errors
    ///
    /// If a setting is not valid: the error lists all that is wrong.
    pub fn build(mut self) -> Result<Health, BuildError> {
        let mut problems = Vec::new();
        let watchdog = self.watchdog.take().and_then(|watchdog| {
            let guarding = watchdog.guarding();
            let noted = guarding.inspect_err(|error| {
                let reason = error.to_string();
                problems.push(Problem::Watchdog { reason });
            });
            noted.ok()
        });
        self.checks
            .extend(watchdog.iter().map(|watchdog| watchdog.check()));
        self.verify_checks(&mut problems);
        if !(0.0..=1.0).contains(&self.jitter) {
            let share = self.jitter.to_string();
            problems.push(Problem::Jitter { share });
        }
        if self.concurrency == 0 {
            problems.push(Problem::Concurrency);
        }
        if let Some(version) = self.version.as_ref().filter(|version| !is_version(version)) {
            let version = version.chars().take(65).collect();
            problems.push(Problem::Version { version });
        }
        let depends_on = dependencies(&self.checks, &mut problems);
        let groups = with_usual(self.groups, &mut problems);
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
                most: MAX_CHECKS,
            });
        }
        for (number, check) in self.checks.iter().enumerate() {
            let name = || check.name.clone();
            if !is_name(&check.name) {
                problems.push(Problem::Name {
                    what: "check",
                    name: name(),
                });
            }
            for tag in check.tags.iter().filter(|tag| !is_name(tag)) {
                problems.push(Problem::Name {
                    what: "tag",
                    name: tag.clone(),
                });
            }
            let mut before = self.checks[..number].iter();
            if before.any(|other| other.name.eq_ignore_ascii_case(&check.name)) {
                problems.push(Problem::Duplicate {
                    what: "checks",
                    name: name(),
                });
            }
            let thresholds = check.thresholds;
            for (setting, is_zero) in [
                ("timeout", check.timeout.is_zero()),
                ("period", check.period.is_zero()),
                ("retry delay", check.retry.is_zero()),
                ("failure threshold", thresholds.failures == 0),
                ("success threshold", thresholds.successes == 0),
            ] {
                if is_zero {
                    let name = name();
                    problems.push(Problem::Zero { name, setting });
                }
            }
            if check
                .staleness
                .is_some_and(|staleness| staleness < self.least_staleness(check))
            {
                problems.push(Problem::Staleness { name: name() });
            }
        }
    }
}

impl HealthBuilder {
    /// Returns how long it may take from one result to the next.
    fn least_staleness(&self, check: &Check) -> Duration {
        let is_share = (0.0..=1.0).contains(&self.jitter);
        let jitter = check
            .period
            .mul_f64(if is_share { self.jitter } else { 0.0 });
        check
            .period
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

/// Finds the checks that each depends on, by their numbers.
fn dependencies(checks: &[Check], problems: &mut Vec<Problem>) -> Vec<Vec<usize>> {
    let mut find = |check: &Check| -> Vec<usize> {
        let number = |name: &String| {
            let found = checks.iter().position(|other| other.name == *name);
            if found.is_none() {
                problems.push(Problem::Unknown {
                    at: format!("the check {:?}", check.name),
                    what: "check",
                    name: name.clone(),
                });
            }
            found
        };
        check.depends_on.iter().filter_map(number).collect()
    };
    let found: Vec<_> = checks.iter().map(&mut find).collect();
    if let Some(cycle) = cycle(&found) {
        let names = cycle.iter().map(|&number| checks[number].name.clone());
        let names = names.collect();
        problems.push(Problem::Cycle { names });
    }
    found
}

/// Returns a cycle, from one of its members to the same, if there is one.
fn cycle(depends_on: &[Vec<usize>]) -> Option<Vec<usize>> {
    // What has been left leads to no cycle.
    let mut left = vec![false; depends_on.len()];
    for start in 0..depends_on.len() {
        let mut path = vec![(start, 0)];
        while let Some((number, next)) = path.last_mut() {
            let number = *number;
            let Some(&below) = depends_on[number].get(*next).filter(|_| !left[number]) else {
                left[number] = true;
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = path.iter().position(|(of, _)| *of == below) {
                let members = path[begin..].iter().map(|(of, _)| *of);
                return Some(members.chain([below]).collect());
            }
            path.push((below, 0));
        }
    }
    None
}

/// Adds the groups that there are from the beginning, and verifies all.
fn with_usual(groups: Vec<Group>, problems: &mut Vec<Problem>) -> Vec<Group> {
    if groups.len() > MAX_GROUPS {
        problems.push(Problem::TooMany {
            what: "groups",
            number: groups.len(),
            most: MAX_GROUPS,
        });
    }
    for (number, group) in groups.iter().enumerate() {
        let name = || group.name.clone();
        if !is_name(&group.name) || ["detailed", "ready", "live"].contains(&&*group.name) {
            problems.push(Problem::Name {
                what: "group",
                name: name(),
            });
        }
        let mut before = groups[..number].iter();
        if before.any(|other| other.name.eq_ignore_ascii_case(&group.name)) {
            problems.push(Problem::Duplicate {
                what: "groups",
                name: name(),
            });
        }
    }
    let usual = [
        Group::new("readiness", Select::all()),
        Group::new("liveness", Select::alive()),
        Group::new("startup", Select::alive()),
    ];
    let mut all: Vec<_> = usual
        .into_iter()
        .filter(|usual| groups.iter().all(|group| group.name != usual.name))
        .collect();
    all.extend(groups);
    all
}

#[cfg(test)]
mod tests;
