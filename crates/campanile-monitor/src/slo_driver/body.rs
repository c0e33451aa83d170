//! The service levels in JSON.

use std::collections::BTreeMap;

use campanile_series::format_duration;
use campanile_sla::{
    Adjustment, Budget, Incident, MaintenanceWindow, MonthlyReport, Report, RouteReport, SloReport,
};
use serde::Serialize;

use crate::response::timestamp;

#[derive(Serialize)]
pub(crate) struct SlaBody<'a> {
    overall_status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    monthly_report: Option<MonthBody<'a>>,
    metrics: BTreeMap<&'a str, SloBody<'a>>,
    sla_definitions: BTreeMap<&'a str, DefinitionBody>,
    maintenance: Vec<MaintenanceBody<'a>>,
}

/// The month of a monthly report.
#[derive(Serialize)]
struct MonthBody<'a> {
    month: &'a str,
    zone: &'a str,
    from: String,
    until: String,
    is_final: bool,
}

#[derive(Serialize)]
pub(crate) struct SloBody<'a> {
    name: &'a str,
    target: f64,
    /// Null without data.
    current: Option<f64>,
    unit: &'static str,
    status: &'static str,
    measurement_period: String,
    from: String,
    until: String,
    samples: u64,
    bad: u64,
    /// For a window that is not full.
    samples_needed: u64,
    /// Whether the window is not full yet.
    is_estimated: bool,
    coverage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_budget: Option<BudgetBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worst_routes: Vec<RouteBody<'a>>,
    /// The routes that no request has matched.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unmatched_routes: &'a [String],
    adjustments: Vec<AdjustmentBody<'a>>,
    incidents: Vec<IncidentBody>,
    /// Since the process started, because of the limit per day.
    #[serde(skip_serializing_if = "is_zero")]
    incidents_dropped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Shares of the budget: 1 is the whole budget.
#[derive(Serialize)]
struct BudgetBody {
    /// The allowed share of bad events.
    allowed: f64,
    consumed: f64,
    remaining: f64,
    /// By window; null without data.
    burn_rates: BTreeMap<String, Option<f64>>,
    /// At the burn rate of the last hour; null if it will not be exhausted.
    exhausted_in_seconds: Option<f64>,
}

#[derive(Serialize)]
struct RouteBody<'a> {
    route: &'a str,
    samples: u64,
    bad: u64,
    consumed: f64,
}

#[derive(Serialize)]
struct AdjustmentBody<'a> {
    at: String,
    bad: u64,
    reason: &'a str,
    author: &'a str,
}

#[derive(Serialize)]
struct IncidentBody {
    from: String,
    /// Null for an ongoing incident.
    until: Option<String>,
    bad: u64,
    burn_rate: Option<f64>,
}

#[derive(Serialize)]
struct MaintenanceBody<'a> {
    from: String,
    until: String,
    reason: &'a str,
    author: &'a str,
}

#[derive(Serialize)]
struct DefinitionBody {
    target: f64,
    unit: &'static str,
    period: String,
}

impl<'a> SlaBody<'a> {
    pub(crate) fn new(report: &'a Report, month: Option<&'a MonthlyReport>) -> Self {
        let slos = report.slos.iter();
        let definition = |slo: &'a SloReport| DefinitionBody {
            target: slo.target,
            unit: slo.unit,
            period: slo.window.to_string(),
        };
        let monthly_report = month.map(|month| MonthBody {
            month: &month.month,
            zone: &month.zone,
            from: timestamp(month.from),
            until: timestamp(month.until),
            is_final: month.is_final,
        });
        let maintenance = |maintenance: &'a MaintenanceWindow| MaintenanceBody {
            from: timestamp(maintenance.from),
            until: timestamp(maintenance.until),
            reason: &maintenance.reason,
            author: &maintenance.author,
        };
        Self {
            overall_status: report.overall.as_str(),
            timestamp: timestamp(report.at),
            monthly_report,
            sla_definitions: slos
                .clone()
                .map(|slo| (slo.name.as_str(), definition(slo)))
                .collect(),
            metrics: slos
                .map(|slo| (slo.name.as_str(), SloBody::new(slo)))
                .collect(),
            maintenance: report.maintenance.iter().map(maintenance).collect(),
        }
    }
}

impl<'a> SloBody<'a> {
    pub(crate) fn new(slo: &'a SloReport) -> Self {
        let route = |route: &'a RouteReport| RouteBody {
            route: &route.route,
            samples: route.samples,
            bad: route.bad,
            consumed: route.consumed,
        };
        let adjustment = |adjustment: &'a Adjustment| AdjustmentBody {
            at: timestamp(adjustment.at),
            bad: adjustment.bad,
            reason: &adjustment.reason,
            author: &adjustment.author,
        };
        let incident = |incident: &Incident| IncidentBody {
            from: timestamp(incident.from),
            until: incident.until.map(timestamp),
            bad: incident.bad,
            burn_rate: incident.burn_rate,
        };
        Self {
            name: &slo.name,
            target: slo.target,
            current: slo.current,
            unit: slo.unit,
            status: slo.status.as_str(),
            measurement_period: slo.window.to_string(),
            from: timestamp(slo.from),
            until: timestamp(slo.until),
            samples: slo.samples,
            bad: slo.bad,
            samples_needed: slo.samples_needed,
            is_estimated: slo.is_estimated,
            coverage: slo.coverage,
            error_budget: slo.budget.as_ref().map(BudgetBody::new),
            worst_routes: slo.routes.iter().map(route).collect(),
            unmatched_routes: &slo.unmatched_routes,
            adjustments: slo.adjustments.iter().map(adjustment).collect(),
            incidents: slo.incidents.iter().map(incident).collect(),
            incidents_dropped: slo.incidents_dropped,
        }
    }
}

impl BudgetBody {
    fn new(budget: &Budget) -> Self {
        let burn_rates = budget.burn_rates.iter();
        Self {
            allowed: budget.allowed,
            consumed: budget.consumed,
            remaining: budget.remaining(),
            burn_rates: burn_rates
                .map(|burn| (format_duration(burn.window), burn.rate))
                .collect(),
            exhausted_in_seconds: budget.exhausted_in.map(|time| time.as_secs_f64()),
        }
    }
}
