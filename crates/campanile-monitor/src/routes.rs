use campanile_health::{Details, Health, preferred_type};
use campanile_series::Now;
use http::header::{ACCEPT, ALLOW, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::bodies::{self, AlertsBody};
use crate::guard::Visitor;
use crate::levels::{self, ObjectiveBody, SlaBody};
use crate::{Access, Body, Monitor};

/// A path of the [`Monitor`], and who may use it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path, with a final slash.
    slashed: &'static str,
    access: Access,
    answer: fn(&Monitor, &Call<'_>) -> Response<Body>,
}

/// A request that was let in.
struct Call<'a> {
    request: &'a Parts,
    path: &'a str,
    /// What stands for the last name in braces of the route's path.
    name: &'a str,
    visitor: Visitor,
    now: Now,
}

impl Route {
    /// Returns the path, in which what is in braces stands for any segment, as in axum.
    pub fn path(&self) -> &'static str {
        self.slashed.split_at(self.slashed.len() - 1).0
    }

    /// Returns the path with a final slash, with which it is served too.
    pub fn path_with_slash(&self) -> &'static str {
        self.slashed
    }

    /// Returns who may use it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Returns what stands for the last name in braces, if a path without a final slash is one of this route.
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

/// All that there is. A route has no way in but through this table, and so through the guard.
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
    read("/monitoring/sla/{name}/", objective),
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
    /// Returns all routes.
    pub fn routes() -> &'static [Route] {
        &ROUTES
    }

    /// Answers a request, whose [`Peer`](crate::Peer) is in its extensions if it is known. A path that is none of the
    /// [routes](Self::routes)' is 404.
    pub fn respond(&self, request: &Parts) -> Response<Body> {
        let path = request.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let found = ROUTES
            .iter()
            .find_map(|route| Some((route, route.matches(path)?)));
        let Some((route, name)) = found else {
            return bodies::error(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this path",
            )
            .map(Body::from);
        };
        let now = crate::monitor::now();
        let visitor = match self.guard().admit(route.access, request, now.mono) {
            Ok(visitor) => visitor,
            Err(refusal) => {
                self.note_refusal(refusal);
                return refusal.response().map(Body::from);
            }
        };
        if let Some(refusal) = visitor.refusal {
            self.note_refusal(refusal);
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are served at this path";
            let mut response =
                bodies::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
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
                visitor,
                now,
            },
        )
    }
}

fn metrics(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let Parts {
        method, headers, ..
    } = call.request;
    monitor.sources().metrics().respond(method, headers)
}

fn business(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let errors = call.visitor.role.is_some();
    monitor.business().respond(errors).map(Body::from)
}

fn health(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let health: &Health = monitor.sources().health();
    let errors = call.visitor.role.is_some();
    let is_detailed = call.path == "/health/detailed";
    let details = Details {
        messages: errors || call.visitor.is_local,
        errors,
        notes: if is_detailed {
            monitor.notes(errors)
        } else {
            Vec::new()
        },
    };
    match health.respond_with(call.request, &details) {
        Some(answer) => answer.map(Body::from),
        None => {
            let text = "there is no group of this name, or no check of this name in it";
            bodies::error(StatusCode::NOT_FOUND, "not_found", text).map(Body::from)
        }
    }
}

fn sla(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    shown(monitor, call, None)
}

fn objective(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let sla = monitor.sources().sla();
    if let Err(error) = sla.slo(call.name) {
        let text = "there is no objective of this name";
        return bodies::unknown(text, error.known).map(Body::from);
    }
    shown(monitor, call, Some(call.name))
}

/// Returns the service levels, or one of them, now or in a month, in the form that is liked best.
fn shown(monitor: &Monitor, call: &Call<'_>, name: Option<&str>) -> Response<Body> {
    let sla = monitor.sources().sla();
    let query = call.request.uri.query().unwrap_or_default();
    let bad =
        |text: &str| bodies::error(StatusCode::BAD_REQUEST, "bad_request", text).map(Body::from);
    let (month, zone) = match month_of(query) {
        Ok(asked) => asked,
        Err(error) => return bad(&error),
    };
    let statement = month.map(|month| sla.statement(&month, &zone, call.now));
    let statement = match statement.transpose() {
        Ok(statement) => statement,
        Err(error) => return bad(&error.to_string()),
    };
    let mut report = match &statement {
        Some(statement) => statement.report.clone(),
        None => sla.report(call.now),
    };
    if let Some(name) = name {
        report.retain(name);
    }
    let accept = call.request.headers.get_all(ACCEPT).iter();
    let media_types = ["application/json", "text/html", "text/csv"];
    let response = match (preferred_type(accept, &media_types), &report.objectives[..]) {
        (1, _) => levels::html(&report, statement.as_ref()),
        (2, _) => levels::csv(&report),
        (_, [one]) if name.is_some() => bodies::json(StatusCode::OK, &ObjectiveBody::new(one)),
        _ => bodies::json(StatusCode::OK, &SlaBody::new(&report, statement.as_ref())),
    };
    varied(response).map(Body::from)
}

/// Returns the month that a query asks for, if it does, and its time zone.
fn month_of(query: &str) -> Result<(Option<String>, String), String> {
    let (mut month, mut zone) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("{key} is not encoded as a query is"))?;
        match key {
            "month" => month = Some(value),
            "zone" => zone = Some(value),
            _ => {
                return Err(format!(
                    "{key:?} is not known: give month and zone, or nothing"
                ));
            }
        }
    }
    if month.is_none() && zone.is_some() {
        return Err("there is a zone without a month: give both, or the month alone".to_owned());
    }
    Ok((month, zone.unwrap_or_else(|| "UTC".to_owned())))
}

/// Undoes the encoding of a query's value.
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

/// Says that there are other forms of a thing.
fn varied(mut response: Response<String>) -> Response<String> {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn active_alerts(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let active = monitor.alerts().active();
    bodies::json(StatusCode::OK, &AlertsBody::new(&active, call.now.wall)).map(Body::from)
}

#[cfg(test)]
mod tests;
