use std::time::SystemTime;

use campanile_alerts::Alerts;
use campanile_metrics::{Counter, Registry};
use campanile_store::Store;

use crate::auth::AuthError;
use crate::slo_driver::SloDriver;

/// The monitor's metrics. If the application has registered a name with another kind, the metric is skipped.
pub(crate) struct SelfMetrics {
    registry: Registry,
    evaluations: Option<Counter>,
    auth_errors: [Option<Counter>; AuthError::REASONS.len()],
}

const ALERTS: &str = "campanile_alerts";
const AUTH_FAILURES: &str = "campanile_auth_failures_total";
const NOTIFICATIONS: &str = "campanile_notifications_total";
const QUEUE_AGE: &str = "campanile_notification_queue_age_seconds";
const QUEUE_LENGTH: &str = "campanile_notification_queue_length";
const OVERFLOW: &str = "campanile_rule_overflow_series";
const RESTORE_SKIPPED: &str = "campanile_restore_skipped_total";
const RULE_FAILURES: &str = "campanile_rule_evaluation_failures_total";
const STORE_DROPPED: &str = "campanile_store_dropped_total";
const STORE_DURABLE: &str = "campanile_store_durable";
const STORE_ERRORS: &str = "campanile_store_errors_total";
const STORE_UP: &str = "campanile_store_up";
const EVALUATIONS: &str = "campanile_rule_evaluations_total";

impl SelfMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        for (name, help) in [
            (ALERTS, "Alerts, by state."),
            (AUTH_FAILURES, "Rejected requests, by reason."),
            (NOTIFICATIONS, "Notifications, by channel and outcome."),
            (
                QUEUE_AGE,
                "Age of the oldest queued notification, in seconds.",
            ),
            (QUEUE_LENGTH, "Queued notifications, by channel."),
            (
                OVERFLOW,
                "Series that match rules beyond the limit of 1000 alerts per rule.",
            ),
            (
                RESTORE_SKIPPED,
                "Stored alerts and notifications that were invalid at the start.",
            ),
            (RULE_FAILURES, "Failed evaluations of rules."),
            (
                STORE_DROPPED,
                "Changes that were dropped because the store failed, by writer.",
            ),
            (
                STORE_DURABLE,
                "Whether the store survives a restart (1) or is in memory (0).",
            ),
            (STORE_ERRORS, "Failed writes to the store, by writer."),
            (STORE_UP, "Whether the store accepts writes."),
            (EVALUATIONS, "Evaluations of the rules."),
        ] {
            registry.describe(name, help);
        }
        let auth_errors = AuthError::REASONS
            .map(|reason| registry.counter(AUTH_FAILURES, &[("reason", reason)]).ok());
        Self {
            registry: registry.clone(),
            evaluations: registry.counter(EVALUATIONS, &[]).ok(),
            auth_errors,
        }
    }

    pub(crate) fn count_evaluation(&self) {
        if let Some(evaluations) = &self.evaluations {
            evaluations.increment(1);
        }
    }

    pub(crate) fn count_auth_error(&self, error: AuthError) {
        let reason = error.reason();
        let index = AuthError::REASONS.iter().position(|known| *known == reason);
        if let Some(Some(counter)) = index.map(|index| &self.auth_errors[index]) {
            counter.increment(1);
        }
    }

    /// Sets the metrics that the alerts and the store count.
    pub(crate) fn update(
        &self,
        alerts: &Alerts,
        levels: &SloDriver,
        store: &dyn Store,
        now: SystemTime,
    ) {
        let stats = alerts.stats();
        self.gauge(ALERTS, &[("state", "firing")], stats.firing as f64);
        self.gauge(ALERTS, &[("state", "pending")], stats.pending as f64);
        self.gauge(OVERFLOW, &[], stats.overflow as f64);
        self.counter(RULE_FAILURES, &[], stats.evaluation_failures);
        self.counter(RESTORE_SKIPPED, &[], stats.restore_skipped);
        for (writer, failures, dropped) in [
            ("alerts", stats.store_failures, stats.store_dropped),
            ("sla", levels.store_failures(), levels.store_dropped()),
        ] {
            self.counter(STORE_ERRORS, &[("writer", writer)], failures);
            self.counter(STORE_DROPPED, &[("writer", writer)], dropped);
        }
        for channel in &stats.channels {
            let name = ("channel", channel.channel.as_str());
            self.gauge(QUEUE_LENGTH, &[name], channel.queued as f64);
            let age = channel
                .oldest
                .and_then(|oldest| now.duration_since(oldest).ok());
            let age = age.unwrap_or_default().as_secs_f64();
            self.gauge(QUEUE_AGE, &[name], age);
            for (outcome, count) in [
                ("sent", channel.sent),
                ("failed", channel.failed),
                ("rejected", channel.rejected),
                ("dropped", channel.dropped),
            ] {
                self.counter(NOTIFICATIONS, &[name, ("outcome", outcome)], count);
            }
        }
        let status = store.status();
        self.gauge(STORE_DURABLE, &[], f64::from(status.durable));
        self.gauge(STORE_UP, &[], f64::from(status.error.is_none()));
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        if let Ok(gauge) = self.registry.gauge(name, labels) {
            gauge.set(value);
        }
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        if let Ok(counter) = self.registry.counter(name, labels) {
            counter.absolute(value);
        }
    }
}
