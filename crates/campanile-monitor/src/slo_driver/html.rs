//! The service levels as a page to be read and printed: without scripts, and without anything from elsewhere.

use std::fmt::Write;
use std::time::Duration;

use campanile_series::format_duration;
use campanile_sla::{MonthlyReport, Report, SloReport, SloStatus};
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, Response, StatusCode};

use crate::response::{page, timestamp};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:70em}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}\
.violated{color:#b00020}.warning{color:#8a5a00}.compliant{color:#1b6e2c}.provisional{color:#555}";

pub(crate) fn html(report: &Report, month: Option<&MonthlyReport>) -> Response<String> {
    let title = match month {
        Some(month) => format!("Service levels in {}", month.month),
        None => "Service levels".to_owned(),
    };
    let mut out = Html(String::new());
    out.raw("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    out.text(&title);
    out.raw(&format!("</title><style>{STYLE}</style><h1>"));
    out.text(&title);
    out.raw("</h1><p>");
    if let Some(month) = month {
        let until = if month.is_final {
            "to"
        } else {
            "so far; it ends at"
        };
        let (from, end) = (timestamp(month.from), timestamp(month.until));
        out.text(&format!(
            "From {from} {until} {end}, the month in {}. ",
            month.zone
        ));
    }
    out.text(&format!(
        "As of {}: {}.",
        timestamp(report.at),
        words(report.overall.as_str())
    ));
    out.raw("</p>");
    slos(&mut out, report);
    for slo in &report.slos {
        details(&mut out, slo);
    }
    let maintenance = report.maintenance.iter();
    let maintenance = maintenance.map(|one| {
        let (from, until) = (timestamp(one.from), timestamp(one.until));
        [from, until, one.reason.clone(), one.author.clone()]
    });
    out.table(
        "Maintenance",
        ["From", "Until", "Reason", "Author"],
        maintenance,
    );
    let Html(text) = out;
    let mut response = page(
        StatusCode::OK,
        HeaderValue::from_static("text/html; charset=utf-8"),
        text,
    );
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn slos(out: &mut Html, report: &Report) {
    out.raw("<table><tr>");
    for head in [
        "SLO",
        "Target",
        "Current",
        "Status",
        "Window",
        "Samples",
        "Coverage",
        "Budget left",
        "Used up in",
    ] {
        out.raw("<th>");
        out.text(head);
    }
    for slo in &report.slos {
        let SloReport { unit, budget, .. } = slo;
        let current = slo.current.map(|current| format!("{current:.4} {unit}"));
        let left = budget
            .as_ref()
            .map(|budget| format!("{:.1}%", 100.0 * budget.remaining()));
        let exhausted_in = budget.as_ref().and_then(|budget| budget.exhausted_in);
        out.raw("<tr>");
        for cell in [
            slo.name.clone(),
            format!("{} {unit}", slo.target),
            current.unwrap_or_else(|| "no data".to_owned()),
        ] {
            out.raw("<td>");
            out.text(&cell);
        }
        let status = slo.status.as_str();
        let _ = write!(out.0, "<td class=\"{status}\">");
        out.text(words(status));
        out.text(&reservation(slo));
        for cell in [
            slo.window.to_string(),
            slo.samples.to_string(),
            format!("{:.1}%", 100.0 * slo.coverage),
            left.unwrap_or_default(),
            exhausted_in.map(lasts).unwrap_or_default(),
        ] {
            out.raw("<td>");
            out.text(&cell);
        }
    }
    out.raw("</table>");
}

fn details(out: &mut Html, slo: &SloReport) {
    let routes = slo.routes.iter().map(|route| {
        let used = format!("{:.1}%", 100.0 * route.consumed);
        [
            route.route.clone(),
            route.samples.to_string(),
            route.bad.to_string(),
            used,
        ]
    });
    let title = |what: &str| format!("{}: {what}", slo.name);
    out.table(
        &title("worst routes"),
        ["Route", "Samples", "Bad", "Of the budget"],
        routes,
    );
    let incidents = slo.incidents.iter().map(|incident| {
        let until = incident.until.map_or_else(|| "lasts".to_owned(), timestamp);
        let rate = incident.burn_rate.map(|rate| format!("{rate:.1}"));
        [
            timestamp(incident.from),
            until,
            incident.bad.to_string(),
            rate.unwrap_or_default(),
        ]
    });
    out.table(
        &title("incidents"),
        ["From", "Until", "Bad", "Burn rate"],
        incidents,
    );
    let adjustments = slo.adjustments.iter().map(|one| {
        [
            timestamp(one.at),
            one.bad.to_string(),
            one.reason.clone(),
            one.author.clone(),
        ]
    });
    out.table(
        &title("adjustments"),
        ["Of", "Bad", "Reason", "Author"],
        adjustments,
    );
}

/// Returns what limits the meaning of a status: too few samples, a window that is not full, or gaps in it.
fn reservation(slo: &SloReport) -> String {
    let SloReport {
        samples,
        samples_needed,
        coverage,
        ..
    } = slo;
    match slo.status {
        SloStatus::NoData => String::new(),
        SloStatus::Provisional if samples < samples_needed => {
            format!(" ({samples} of at least {samples_needed} samples)")
        }
        _ if slo.is_estimated => " (the window is not full yet)".to_owned(),
        _ if *coverage < 0.995 => format!(" (by {:.1}% of the time)", 100.0 * coverage),
        _ => String::new(),
    }
}

fn words(status: &str) -> &str {
    match status {
        "no_data" => "no data",
        other => other,
    }
}

fn lasts(time: Duration) -> String {
    match time {
        Duration::ZERO => "used up".to_owned(),
        time => format_duration(Duration::from_secs(time.as_secs())),
    }
}

/// A page that is being written.
struct Html(String);

impl Html {
    /// Writes what is HTML already.
    fn raw(&mut self, html: &str) {
        self.0 += html;
    }

    fn text(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.0 += "&amp;",
                '<' => self.0 += "&lt;",
                '>' => self.0 += "&gt;",
                '"' => self.0 += "&quot;",
                '\'' => self.0 += "&#39;",
                char => self.0.push(char),
            }
        }
    }

    /// Writes a table with a title, if it has any rows.
    fn table(&mut self, title: &str, heads: [&str; 4], rows: impl Iterator<Item = [String; 4]>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.raw("<h2>");
        self.text(title);
        self.raw("</h2><table><tr>");
        for head in heads {
            self.raw("<th>");
            self.text(head);
        }
        for row in rows {
            self.raw("<tr>");
            for cell in row {
                self.raw("<td>");
                self.text(&cell);
            }
        }
        self.raw("</table>");
    }
}
