//! What the metrics tell of the checks.

use std::time::Duration;

use campanile_health::{Health, Status};
use campanile_metrics::Registry;
use tokio::time::{MissedTickBehavior, interval};

/// How far two readings are apart; what changes is told at once.
const EVERY: Duration = Duration::from_secs(10);

const STATUS: &str = "health_status";
const DURATION: &str = "health_check_duration_seconds";
const AGE: &str = "health_check_age_seconds";
const TRANSITIONS: &str = "health_transitions_total";
const LAG: &str = "health_executor_lag_seconds";

/// Describes the metrics, and keeps them up to date; it never completes.
pub(crate) async fn watch(registry: &Registry, health: &Health) {
    registry.describe(
        STATUS,
        "How a check is: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.",
    );
    registry.describe(DURATION, "How long a check's last call took in seconds.");
    registry.describe(AGE, "How old a check's last result is in seconds.");
    registry.describe(
        TRANSITIONS,
        "How often a check was said to be otherwise than before.",
    );
    registry.describe(
        LAG,
        "How long the runtime takes to come to something new in seconds.",
    );
    let mut transitions = health.transitions();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let transition = tokio::select! {
            _ = ticks.tick() => {
                collect(registry, health);
                continue;
            }
            transition = transitions.next() => transition,
        };
        let Some(transition) = transition else {
            // The health lives as long as this does.
            return std::future::pending().await;
        };
        let labels = [
            ("check", &*transition.check),
            ("to", transition.to.as_str()),
        ];
        // A host that has the name for something else keeps it.
        if let Ok(counter) = registry.counter(TRANSITIONS, &labels) {
            counter.increment(1);
        }
        set(registry, STATUS, &transition.check, value(transition.to));
    }
}

/// Writes down how the checks are.
fn collect(registry: &Registry, health: &Health) {
    for check in health.report().checks {
        let set = |name, value| set(registry, name, &check.name, value);
        set(STATUS, value(check.status));
        if let Some(duration) = check.duration {
            set(DURATION, duration.as_secs_f64());
        }
        if let Some(age) = check.age {
            set(AGE, age.as_secs_f64());
        }
    }
    if let Some(lag) = health.executor_lag()
        && let Ok(gauge) = registry.gauge(LAG, &[])
    {
        gauge.set(lag.as_secs_f64());
    }
}

fn set(registry: &Registry, name: &str, check: &str, value: f64) {
    if let Ok(gauge) = registry.gauge(name, &[("check", check)]) {
        gauge.set(value);
    }
}

fn value(status: Status) -> f64 {
    match status {
        Status::Healthy => 1.0,
        Status::Degraded => 0.5,
        Status::Unknown | Status::Unhealthy => 0.0,
    }
}
