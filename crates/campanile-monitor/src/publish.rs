use std::time::SystemTime;

use campanile_alerts::Alerts;
use campanile_metrics::{Counter, Registry};
use campanile_store::Store;

use crate::guard::Refusal;
use crate::levels::ServiceLevels;

/// The monitor's own metrics. A host that has one of the names for something else keeps it.
pub(crate) struct Published {
    registry: Registry,
    ticks: Option<Counter>,
    refusals: [Option<Counter>; Refusal::REASONS.len()],
}

const ALERTS: &str = "campanile_alerts";
const AUTH_FAILURES: &str = "campanile_auth_failures_total";
const NOTICES: &str = "campanile_notices_total";
const NOTICES_OLDEST: &str = "campanile_notices_oldest_seconds";
const NOTICES_WAITING: &str = "campanile_notices_waiting";
const OVERFLOW: &str = "campanile_rule_overflow_series";
const RESTORE_SKIPPED: &str = "campanile_restore_skipped_total";
const RULE_FAILURES: &str = "campanile_rule_failures_total";
const STORE_DROPPED: &str = "campanile_store_dropped_total";
const STORE_DURABLE: &str = "campanile_store_durable";
const STORE_FAILURES: &str = "campanile_store_failures_total";
const STORE_UP: &str = "campanile_store_up";
const TICKS: &str = "campanile_ticks_total";

impl Published {
    pub(crate) fn new(registry: &Registry) -> Self {
        for (name, help) in [
            (ALERTS, "Alerts, by state."),
            (AUTH_FAILURES, "Requests that the guard refused, by reason."),
            (NOTICES, "Notices, by channel and outcome of the attempt."),
            (
                NOTICES_OLDEST,
                "Age of the oldest notice that waits for its channel.",
            ),
            (NOTICES_WAITING, "Notices that wait for their channel."),
            (
                OVERFLOW,
                "Series that match rules beyond their limit of 1000 alerts.",
            ),
            (
                RESTORE_SKIPPED,
                "Stored alerts and notices that could not be used after the start.",
            ),
            (RULE_FAILURES, "Evaluations of rules that failed."),
            (
                STORE_DROPPED,
                "Changes that were dropped because the store did not take them.",
            ),
            (
                STORE_DURABLE,
                "Whether what the store holds survives the process.",
            ),
            (
                STORE_FAILURES,
                "Writes that the store did not take at once, by writer.",
            ),
            (STORE_UP, "Whether the store takes writes."),
            (TICKS, "Evaluations of all rules."),
        ] {
            registry.describe(name, help);
        }
        let refusals = Refusal::REASONS
            .map(|reason| registry.counter(AUTH_FAILURES, &[("reason", reason)]).ok());
        Self {
            registry: registry.clone(),
            ticks: registry.counter(TICKS, &[]).ok(),
            refusals,
        }
    }

    pub(crate) fn ticked(&self) {
        if let Some(ticks) = &self.ticks {
            ticks.increment(1);
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let reason = refusal.reason();
        let place = Refusal::REASONS.iter().position(|one| *one == reason);
        if let Some(Some(counter)) = place.map(|place| &self.refusals[place]) {
            counter.increment(1);
        }
    }

    /// Sets what the alerts and the store count themselves.
    pub(crate) fn update(
        &self,
        alerts: &Alerts,
        levels: &ServiceLevels,
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
            self.counter(STORE_FAILURES, &[("writer", writer)], failures);
            self.counter(STORE_DROPPED, &[("writer", writer)], dropped);
        }
        for channel in &stats.channels {
            let name = ("channel", channel.channel.as_str());
            self.gauge(NOTICES_WAITING, &[name], channel.waiting as f64);
            let age = channel
                .oldest
                .and_then(|oldest| now.duration_since(oldest).ok());
            let age = age.unwrap_or_default().as_secs_f64();
            self.gauge(NOTICES_OLDEST, &[name], age);
            for (outcome, count) in [
                ("sent", channel.sent),
                ("failed", channel.failed),
                ("refused", channel.refused),
                ("dropped", channel.dropped),
            ] {
                self.counter(NOTICES, &[name, ("outcome", outcome)], count);
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
