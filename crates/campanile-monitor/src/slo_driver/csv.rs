//! The service levels as a table for other programs (RFC 4180).

use campanile_sla::Report;
use http::{HeaderValue, Response, StatusCode};

use crate::response::{page, timestamp};

/// The columns. Those of the budget are empty for an SLO without one.
const HEAD: &str = "name,target,current,unit,status,window,from,until,samples,bad,coverage,budget_consumed,budget_remaining,incidents,samples_needed,is_estimated";

pub(crate) fn csv(report: &Report) -> Response<String> {
    let mut text = format!("{HEAD}\r\n");
    for slo in &report.slos {
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let budget = slo.budget.as_ref();
        let cells = [
            slo.name.clone(),
            slo.target.to_string(),
            number(slo.current).unwrap_or_default(),
            slo.unit.to_owned(),
            slo.status.as_str().to_owned(),
            slo.window.to_string(),
            timestamp(slo.from),
            timestamp(slo.until),
            slo.samples.to_string(),
            slo.bad.to_string(),
            slo.coverage.to_string(),
            number(budget.map(|budget| budget.consumed)).unwrap_or_default(),
            number(budget.map(|budget| budget.remaining())).unwrap_or_default(),
            slo.incidents.len().to_string(),
            slo.samples_needed.to_string(),
            slo.is_estimated.to_string(),
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
