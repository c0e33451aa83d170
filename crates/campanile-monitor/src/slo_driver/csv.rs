//! The service levels as a table for other programs (RFC 4180).

use campanile_sla::Report;
use http::{HeaderValue, Response, StatusCode};

use crate::response::{page, timestamp};

/// The columns; those of a budget are empty for an objective that has none.
const HEAD: &str = "name,target,current,unit,status,window,from,until,samples,bad,coverage,budget_consumed,budget_remaining,incidents,samples_needed,is_estimated";

pub(crate) fn csv(report: &Report) -> Response<String> {
    let mut text = format!("{HEAD}\r\n");
    for objective in &report.objectives {
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let budget = objective.budget.as_ref();
        let cells = [
            objective.name.clone(),
            objective.target.to_string(),
            number(objective.current).unwrap_or_default(),
            objective.unit.to_owned(),
            objective.standing.as_str().to_owned(),
            objective.window.to_string(),
            timestamp(objective.from),
            timestamp(objective.until),
            objective.samples.to_string(),
            objective.bad.to_string(),
            objective.coverage.to_string(),
            number(budget.map(|budget| budget.consumed)).unwrap_or_default(),
            number(budget.map(|budget| budget.remaining())).unwrap_or_default(),
            objective.incidents.len().to_string(),
            objective.samples_needed.to_string(),
            objective.is_estimated.to_string(),
        ];
        text += &cells.map(|cell| quoted(&cell)).join(",");
        text += "\r\n";
    }
    page(
        StatusCode::OK,
        HeaderValue::from_static("text/csv; charset=utf-8"),
        text,
    )
}

/// Puts a cell in quotes if a reader could misunderstand it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}
