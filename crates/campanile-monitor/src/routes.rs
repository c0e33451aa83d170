use campanile_health::{Details, Health};
use campanile_series::Now;
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::bodies::{self, AlertsBody, ObjectiveBody, SlaBody};
use crate::guard::{self, Visitor};
use crate::{Access, Monitor};

/// A path of the [`Monitor`], and who may use it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The path, with a final slash.
    slashed: &'static str,
    access: Access,
    answer: fn(&Monitor, &Call<'_>) -> Response<String>,
}

/// A request that was let in.
struct Call<'a> {
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
const ROUTES: [Route; 10] = [
    public("/metrics/", metrics),
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

const fn public(
    slashed: &'static str,
    answer: fn(&Monitor, &Call<'_>) -> Response<String>,
) -> Route {
    Route {
        slashed,
        access: Access::Public,
        answer,
    }
}

const fn read(slashed: &'static str, answer: fn(&Monitor, &Call<'_>) -> Response<String>) -> Route {
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
    pub fn respond(&self, request: &Parts) -> Response<String> {
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
            );
        };
        let visitor = match guard::admit(self.tokens(), route.access, request) {
            Ok(visitor) => visitor,
            Err(refusal) => {
                self.note_refusal(refusal);
                return refusal.response();
            }
        };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are served at this path";
            let mut response =
                bodies::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return response;
        }
        let now = crate::monitor::now();
        (route.answer)(
            self,
            &Call {
                path,
                name,
                visitor,
                now,
            },
        )
    }
}

fn metrics(monitor: &Monitor, _: &Call<'_>) -> Response<String> {
    let mut response = Response::new(monitor.sources().metrics().render());
    let content_type = HeaderValue::from_static(campanile_metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn health(monitor: &Monitor, call: &Call<'_>) -> Response<String> {
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
    answer.unwrap_or_default()
}

fn sla(monitor: &Monitor, call: &Call<'_>) -> Response<String> {
    let report = monitor.sources().sla().report(call.now);
    bodies::json(StatusCode::OK, &SlaBody::new(&report))
}

fn objective(monitor: &Monitor, call: &Call<'_>) -> Response<String> {
    let sla = monitor.sources().sla();
    match sla.objective(call.name, call.now) {
        Some(objective) => bodies::json(StatusCode::OK, &ObjectiveBody::new(&objective)),
        None => {
            let objectives = sla.report(call.now).objectives.into_iter();
            bodies::unknown(
                "there is no objective of this name",
                objectives.map(|objective| objective.name).collect(),
            )
        }
    }
}

fn active_alerts(monitor: &Monitor, call: &Call<'_>) -> Response<String> {
    let active = monitor.alerts().active();
    bodies::json(StatusCode::OK, &AlertsBody::new(&active, call.now.wall))
}

#[cfg(test)]
mod tests;
