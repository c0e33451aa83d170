//! The service levels in JSON.

use std::collections::BTreeMap;

use campanile_series::format_duration;
use campanile_sla::{
    Adjustment, Budget, Incident, Maintenance, ObjectiveReport, Report, RouteReport, Statement,
};
use serde::Serialize;

use crate::response::timestamp;

#[derive(Serialize)]
pub(crate) struct SlaBody<'a> {
    overall_status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<StatementBody<'a>>,
    metrics: BTreeMap<&'a str, ObjectiveBody<'a>>,
    sla_definitions: BTreeMap<&'a str, DefinitionBody>,
    maintenance: Vec<MaintenanceBody<'a>>,
}

/// Whose month it is.
#[derive(Serialize)]
struct StatementBody<'a> {
    month: &'a str,
    zone: &'a str,
    from: String,
    until: String,
    is_final: bool,
}

#[derive(Serialize)]
pub(crate) struct ObjectiveBody<'a> {
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
    /// Of a window that is not full.
    samples_needed: u64,
    /// Whether the window is not full yet.
    is_estimated: bool,
    coverage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_budget: Option<BudgetBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worst_routes: Vec<RouteBody<'a>>,
    /// Routes that no request has matched, while many others came.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unmatched_routes: &'a [String],
    adjustments: Vec<AdjustmentBody<'a>>,
    incidents: Vec<IncidentBody>,
    /// Since the process began, because of the limit of a day.
    #[serde(skip_serializing_if = "is_zero")]
    incidents_dropped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Shares are of the budget: 1 is all of it.
#[derive(Serialize)]
struct BudgetBody {
    /// The share of what is valid that may be bad.
    allowed: f64,
    consumed: f64,
    remaining: f64,
    /// By window; null without data.
    burn_rates: BTreeMap<String, Option<f64>>,
    /// If the last hour goes on; null if it never will be.
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
    /// Null while it lasts.
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
    pub(crate) fn new(report: &'a Report, statement: Option<&'a Statement>) -> Self {
        let objectives = report.objectives.iter();
        let definition = |objective: &'a ObjectiveReport| DefinitionBody {
            target: objective.target,
            unit: objective.unit,
            period: objective.window.to_string(),
        };
        let statement = statement.map(|statement| StatementBody {
            month: &statement.month,
            zone: &statement.zone,
            from: timestamp(statement.from),
            until: timestamp(statement.until),
            is_final: statement.is_final,
        });
        let maintenance = |maintenance: &'a Maintenance| MaintenanceBody {
            from: timestamp(maintenance.from),
            until: timestamp(maintenance.until),
            reason: &maintenance.reason,
            author: &maintenance.author,
        };
        Self {
            overall_status: report.overall.as_str(),
            timestamp: timestamp(report.at),
            statement,
            sla_definitions: objectives
                .clone()
                .map(|objective| (objective.name.as_str(), definition(objective)))
                .collect(),
            metrics: objectives
                .map(|objective| (objective.name.as_str(), ObjectiveBody::new(objective)))
                .collect(),
            maintenance: report.maintenance.iter().map(maintenance).collect(),
        }
    }
}

impl<'a> ObjectiveBody<'a> {
    pub(crate) fn new(objective: &'a ObjectiveReport) -> Self {
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
            name: &objective.name,
            target: objective.target,
            current: objective.current,
            unit: objective.unit,
            status: objective.standing.as_str(),
            measurement_period: objective.window.to_string(),
            from: timestamp(objective.from),
            until: timestamp(objective.until),
            samples: objective.samples,
            bad: objective.bad,
            samples_needed: objective.samples_needed,
            is_estimated: objective.is_estimated,
            coverage: objective.coverage,
            error_budget: objective.budget.as_ref().map(BudgetBody::new),
            worst_routes: objective.routes.iter().map(route).collect(),
            unmatched_routes: &objective.unmatched_routes,
            adjustments: objective.adjustments.iter().map(adjustment).collect(),
            incidents: objective.incidents.iter().map(incident).collect(),
            incidents_dropped: objective.incidents_dropped,
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
