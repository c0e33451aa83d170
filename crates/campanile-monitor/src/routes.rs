use campanile_health::{Health, ResponseDetail, preferred_type};
use campanile_series::Now;
use http::header::{ACCEPT, ALLOW, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::auth::Principal;
use crate::response::{self, AlertsBody};
use crate::slo_driver::{self, SlaBody, SloBody};
use crate::{Access, Body, Monitor};

/// A route of the [`Monitor`]: a path and the access that it requires.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path with a final slash.
    slashed: &'static str,
    access: Access,
    answer: fn(&Monitor, &Call<'_>) -> Response<Body>,
}

/// An authorized request.
struct Call<'a> {
    request: &'a Parts,
    path: &'a str,
    /// The value of the last parameter in the route's path.
    name: &'a str,
    principal: Principal,
    now: Now,
}

impl Route {
    /// Returns the path. A parameter in braces matches one segment, as in axum.
    pub fn path(&self) -> &'static str {
        self.slashed.split_at(self.slashed.len() - 1).0
    }

    /// Returns the path with a final slash, which is served too.
    pub fn path_with_slash(&self) -> &'static str {
        self.slashed
    }

    /// Returns the access that the route requires.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Returns the value of the last parameter if a path without a final slash matches the route.
    fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut name = "";
        let mut segments = path.split('/');
        for pattern in self.path().split('/') {
            let segment = segments.next()?;
            if pattern.starts_with('{') {
                name = Some(segment).filter(|segment| !segment.is_empty())?;
            } else if pattern != segment {
                return None;
            }
        }
        segments.next().is_none().then_some(name)
    }
}

/// The table of routes. Each request is authorized before its handler runs.
const ROUTES: [Route; 14] = [
    public("/metrics/", metrics),
    read("/metrics/business/", business),
    public("/health/", health),
    public("/health/{group}/", health),
    public("/health/{group}/{check}/", health),
    public("/livez/", health),
    public("/livez/{check}/", health),
    public("/readyz/", health),
    public("/readyz/{check}/", health),
    public("/startupz/", health),
    public("/startupz/{check}/", health),
    read("/monitoring/sla/", sla),
    read("/monitoring/sla/{name}/", slo),
    read("/api/v1/monitor/alerts/active/", active_alerts),
];

const fn public(slashed: &'static str, answer: fn(&Monitor, &Call<'_>) -> Response<Body>) -> Route {
    Route {
        slashed,
        access: Access::Public,
        answer,
    }
}

const fn read(slashed: &'static str, answer: fn(&Monitor, &Call<'_>) -> Response<Body>) -> Route {
    Route {
        slashed,
        access: Access::Read,
        answer,
    }
}

impl Monitor {
    /// Returns the table of routes, to mount them in any router. See [`respond`](Self::respond).
    pub fn route_table() -> &'static [Route] {
        &ROUTES
    }

    /// Returns the response to a request. Its extensions should have the [`Peer`](crate::Peer). A path that matches no
    /// [route](Self::route_table) gets 404.
    pub fn respond(&self, request: &Parts) -> Response<Body> {
        let path = request.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let found = ROUTES
            .iter()
            .find_map(|route| Some((route, route.matches(path)?)));
        let Some((route, name)) = found else {
            return response::error(StatusCode::NOT_FOUND, "not_found", "unknown path")
                .map(Body::from);
        };
        let now = Now::system();
        let principal = match self.authorizer().authorize(route.access, request, now.mono) {
            Ok(principal) => principal,
            Err(error) => {
                self.count_auth_error(error);
                return error.response().map(Body::from);
            }
        };
        if let Some(error) = principal.error {
            self.count_auth_error(error);
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let text = "this path supports GET and HEAD only";
            let mut response =
                response::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response.map(Body::from);
        }
        (route.answer)(
            self,
            &Call {
                request,
                path,
                name,
                principal,
                now,
            },
        )
    }
}

fn metrics(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    monitor.sources().metrics().respond(call.request)
}

fn business(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let errors = call.principal.role.is_some();
    monitor.business().respond(errors).map(Body::from)
}

fn health(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let health: &Health = monitor.sources().health();
    let errors = call.principal.role.is_some();
    let mut detail = ResponseDetail::new()
        .messages(errors || call.principal.is_local)
        .errors(errors);
    if call.path == "/health/detailed" {
        for (name, value) in monitor.notes(errors) {
            detail = detail.note(name, value);
        }
    }
    match health.respond_with(call.request, &detail) {
        Some(answer) => answer.map(Body::from),
        None => {
            let text = "unknown group, or unknown check in this group";
            response::error(StatusCode::NOT_FOUND, "not_found", text).map(Body::from)
        }
    }
}

fn sla(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    render_slos(monitor, call, None)
}

fn slo(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let sla = monitor.sources().sla();
    if let Err(error) = sla.slo(call.name) {
        let text = "unknown SLO";
        return response::unknown(text, error.known).map(Body::from);
    }
    render_slos(monitor, call, Some(call.name))
}

/// Returns all SLOs or one, now or in a month, in the preferred format.
fn render_slos(monitor: &Monitor, call: &Call<'_>, name: Option<&str>) -> Response<Body> {
    let sla = monitor.sources().sla();
    let query = call.request.uri.query().unwrap_or_default();
    let bad =
        |text: &str| response::error(StatusCode::BAD_REQUEST, "bad_request", text).map(Body::from);
    let (month, zone) = match month_of(query) {
        Ok(parameters) => parameters,
        Err(error) => return bad(&error),
    };
    let monthly = month.map(|month| sla.monthly_report_at(&month, &zone, call.now));
    let monthly = match monthly.transpose() {
        Ok(monthly) => monthly,
        Err(error) => return bad(&error.to_string()),
    };
    let mut report = match &monthly {
        Some(monthly) => monthly.report.clone(),
        None => sla.report_at(call.now),
    };
    if let Some(name) = name {
        report.retain(name);
    }
    let accept = call.request.headers.get_all(ACCEPT).iter();
    let media_types = ["application/json", "text/html", "text/csv"];
    let response = match (preferred_type(accept, &media_types), &report.slos[..]) {
        (1, _) => slo_driver::html(&report, monthly.as_ref()),
        (2, _) => slo_driver::csv(&report),
        (_, [one]) if name.is_some() => response::json(StatusCode::OK, &SloBody::new(one)),
        _ => response::json(StatusCode::OK, &SlaBody::new(&report, monthly.as_ref())),
    };
    vary_by_accept(response).map(Body::from)
}

/// Returns the month of a query, if any, and the time zone.
fn month_of(query: &str) -> Result<(Option<String>, String), String> {
    let (mut month, mut zone) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value =
            decoded(value).ok_or_else(|| format!("invalid encoding of query parameter {key:?}"))?;
        match key {
            "month" => month = Some(value),
            "zone" => zone = Some(value),
            _ => {
                return Err(format!(
                    "unknown query parameter {key:?}: expected month or zone"
                ));
            }
        }
    }
    if month.is_none() && zone.is_some() {
        return Err("query parameter zone without month: expected both".to_owned());
    }
    Ok((month, zone.unwrap_or_else(|| "UTC".to_owned())))
}

/// Percent-decodes a query's value.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Adds `Vary: Accept`.
fn vary_by_accept(mut response: Response<String>) -> Response<String> {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn active_alerts(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let active = monitor.alerts().active();
    response::json(StatusCode::OK, &AlertsBody::new(&active, call.now.wall)).map(Body::from)
}

#[cfg(test)]
mod tests;
