use campanile_health::{Details, Health, preferred_type};
use campanile_series::Now;
use campanile_sla::{Report, Statement};
use http::header::{ACCEPT, ALLOW, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::bodies::{self, AlertsBody};
use crate::guard::{self, Visitor};
use crate::levels::{self, ObjectiveBody, SlaBody};
use crate::{Access, Body, Monitor, peer};

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
        let visitor = match guard::admit(self.tokens(), route.access, request) {
            Ok(visitor) => visitor,
            Err(refusal) => {
                self.note_refusal(refusal);
                return refusal.response().map(Body::from);
            }
        };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are served at this path";
            let mut response =
                bodies::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response.map(Body::from);
        }
        let now = crate::monitor::now();
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
        messages: errors || peer::is_local(call.request),
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
    let sla = monitor.sources().sla();
    let query = call.request.uri.query().unwrap_or_default();
    let asked = |name: &str| -> Option<String> {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        // The slash of a zone is the only character of it, or of a month, that may come encoded.
        Some(value.replace("%2F", "/").replace("%2f", "/"))
    };
    let Some(month) = asked("month") else {
        return shown(call, &sla.report(call.now), None);
    };
    let zone = asked("zone").unwrap_or_else(|| "UTC".to_owned());
    match sla.statement(&month, &zone, call.now) {
        Ok(statement) => shown(call, &statement.report, Some(&statement)),
        Err(error) => {
            let text = error.to_string();
            bodies::error(StatusCode::BAD_REQUEST, "bad_request", &text).map(Body::from)
        }
    }
}

/// Returns the service levels, in the form that is liked best.
fn shown(call: &Call<'_>, report: &Report, statement: Option<&Statement>) -> Response<Body> {
    let accept = call.request.headers.get_all(ACCEPT);
    let response = match preferred_type(
        accept.iter(),
        &["application/json", "text/html", "text/csv"],
    ) {
        1 => levels::html(report, statement),
        2 => levels::csv(report),
        _ => bodies::json(StatusCode::OK, &SlaBody::new(report, statement)),
    };
    varied(response).map(Body::from)
}

fn objective(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let sla = monitor.sources().sla();
    let Some(objective) = sla.objective(call.name, call.now) else {
        let objectives = sla.report(call.now).objectives.into_iter();
        let known = objectives.map(|objective| objective.name).collect();
        return bodies::unknown("there is no objective of this name", known).map(Body::from);
    };
    let accept = call.request.headers.get_all(ACCEPT);
    let response = match preferred_type(
        accept.iter(),
        &["application/json", "text/html", "text/csv"],
    ) {
        0 => bodies::json(StatusCode::OK, &ObjectiveBody::new(&objective)),
        form => {
            let mut report = sla.report(call.now);
            report.objectives = vec![objective];
            match form {
                1 => levels::html(&report, None),
                _ => levels::csv(&report),
            }
        }
    };
    varied(response).map(Body::from)
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
