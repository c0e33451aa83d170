//! The metrics of health checks.

use std::pin::pin;
use std::time::Duration;

use campanile_health::{Health, Phase, Status, Transitions};
use campanile_metrics::Registry;
use tokio::time::{MissedTickBehavior, interval};

/// The interval at which the gauges are set. Transitions are counted immediately.
const COLLECT_INTERVAL: Duration = Duration::from_secs(10);

const STATUS: &str = "health_status";
const DURATION: &str = "health_check_duration_seconds";
const AGE: &str = "health_check_age_seconds";
const TRANSITIONS: &str = "health_transitions_total";
const READY: &str = "health_ready";
const PHASE: &str = "health_phase";
const LAG: &str = "health_watchdog_lag_seconds";

const STATUSES: [Status; 4] = [
    Status::Healthy,
    Status::Degraded,
    Status::Unhealthy,
    Status::Unknown,
];
const PHASES: [Phase; 4] = [
    Phase::Starting,
    Phase::Ready,
    Phase::Draining,
    Phase::Stopped,
];

/// Describes the metrics and updates them, for ever.
pub(crate) async fn watch(registry: &Registry, health: &Health, mut transitions: Transitions) {
    registry.describe(
        STATUS,
        "Health check status: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.",
    );
    registry.describe(
        DURATION,
        "Duration of a health check's last call, in seconds.",
    );
    registry.describe(AGE, "Age of a health check's last result, in seconds.");
    registry.describe(TRANSITIONS, "Health check status transitions.");
    registry.describe(
        LAG,
        "Delay until the runtime reacts to the watchdog's thread, in seconds.",
    );
    registry.describe(READY, "Readiness probe: 1 succeeds, 0 fails.");
    registry.describe(PHASE, "Service phase: 1 for the current one.");
    // Prometheus ignores the increase of a series that starts with 1.
    for check in health.report().checks {
        for status in STATUSES {
            let labels = [("check", &*check.name), ("to", status.as_str())];
            drop(registry.counter(TRANSITIONS, &labels));
        }
    }
    let mut draining = pin!(health.draining());
    let mut is_draining = false;
    let mut ticks = interval(COLLECT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let transition = tokio::select! {
            _ = ticks.tick() => {
                collect(registry, health);
                continue;
            }
            () = draining.as_mut(), if !is_draining => {
                is_draining = true;
                collect(registry, health);
                continue;
            }
            transition = transitions.next() => transition,
        };
        let Some(transition) = transition else {
            // Unreachable, because the health is borrowed.
            return std::future::pending().await;
        };
        let labels = [
            ("check", &*transition.check),
            ("to", transition.to.as_str()),
        ];
        // If the application uses the name for another metric, its metric stays.
        if let Ok(counter) = registry.counter(TRANSITIONS, &labels) {
            counter.increment(1);
        }
        set(registry, STATUS, &transition.check, value(transition.to));
        set_life(registry, health);
    }
}

/// Sets the gauges of all checks.
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
    set_life(registry, health);
    if let Some(lag) = health.watchdog_lag()
        && let Ok(gauge) = registry.gauge(LAG, &[])
    {
        gauge.set(lag.as_secs_f64());
    }
}

/// Sets readiness and the phase.
fn set_life(registry: &Registry, health: &Health) {
    let is_ready = health.get("/readyz").status().is_success();
    if let Ok(gauge) = registry.gauge(READY, &[]) {
        gauge.set(f64::from(is_ready));
    }
    let current = health.phase();
    for phase in PHASES {
        if let Ok(gauge) = registry.gauge(PHASE, &[("phase", phase.as_str())]) {
            gauge.set(f64::from(phase == current));
        }
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

#[cfg(test)]
mod tests {
    use campanile_health::Check;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readiness_and_each_transition_have_a_series_from_the_start() {
        let registry = Registry::new();
        let check = Check::new("db", async || Ok::<_, String>(())).critical();
        let health = Health::builder().check(check).build().unwrap();
        let eventually = async |expected: &[&str]| {
            let page = async {
                loop {
                    let page = registry.render();
                    if expected.iter().all(|line| page.contains(line)) {
                        return;
                    }
                    // Paused time goes on while all tasks wait.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let found = tokio::time::timeout(Duration::from_secs(5), page).await;
            assert!(found.is_ok(), "{expected:?}: {}", registry.render());
        };
        let test = async {
            eventually(&[
                "health_transitions_total{check=\"db\",to=\"unhealthy\"} 0",
                "health_transitions_total{check=\"db\",to=\"healthy\"} 1",
                "health_ready 1",
                "health_phase{phase=\"ready\"} 1",
            ])
            .await;
            health.drain();
            eventually(&[
                "health_ready 0",
                "health_phase{phase=\"draining\"} 1",
                "health_phase{phase=\"ready\"} 0",
            ])
            .await;
        };
        tokio::select! {
            () = test => {}
            () = watch(&registry, &health, health.transitions()) => {}
            () = health.run(std::future::pending()) => {}
        }
    }
}
