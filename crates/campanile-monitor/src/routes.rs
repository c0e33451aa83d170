use campanile_health::{Details, Health};
use campanile_series::Now;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::bodies::{self, AlertsBody, ObjectiveBody, SlaBody};
use crate::guard::{self, Visitor};
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
    /// What stands for the last segment of a path that ends in a name.
    name: &'a str,
    visitor: Visitor,
    now: Now,
}

impl Route {
    /// Returns the path, in which `{name}` stands for any segment, as in axum.
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

    /// Returns the last segment, if a path without a final slash is one of this route.
    fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path().strip_suffix("{name}") {
            None => (path == self.path()).then_some(""),
            Some(prefix) => {
                let name = path.strip_prefix(prefix)?;
                (!name.is_empty() && !name.contains('/')).then_some(name)
            }
        }
    }
}

/// All that there is. A route has no way in but through this table, and so through the guard.
const ROUTES: [Route; 11] = [
    public("/metrics/", metrics),
    read("/metrics/business/", business),
    public("/health/", health),
    public("/health/detailed/", health),
    public("/health/live/", health),
    public("/health/liveness/", health),
    public("/health/readiness/", health),
    public("/health/ready/", health),
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
    let answer = match call.path {
        "/health/detailed" => {
            let errors = call.visitor.role.is_some();
            let details = Details {
                errors,
                notes: monitor.notes(errors),
            };
            health.respond_with(call.path, &details)
        }
        path => health.respond(path),
    };
    // All of them are in the table.
    answer.unwrap_or_default().map(Body::from)
}

fn sla(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let report = monitor.sources().sla().report(call.now);
    bodies::json(StatusCode::OK, &SlaBody::new(&report)).map(Body::from)
}

fn objective(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let sla = monitor.sources().sla();
    let answer = match sla.objective(call.name, call.now) {
        Some(objective) => bodies::json(StatusCode::OK, &ObjectiveBody::new(&objective)),
        None => {
            let objectives = sla.report(call.now).objectives.into_iter();
            bodies::unknown(
                "there is no objective of this name",
                objectives.map(|objective| objective.name).collect(),
            )
        }
    };
    answer.map(Body::from)
}

fn active_alerts(monitor: &Monitor, call: &Call<'_>) -> Response<Body> {
    let active = monitor.alerts().active();
    bodies::json(StatusCode::OK, &AlertsBody::new(&active, call.now.wall)).map(Body::from)
}

#[cfg(test)]
mod tests;
