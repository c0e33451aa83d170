//! Responses to probes.

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::check_state::CheckState;
use crate::report::service_status;
use crate::{Health, Phase, Status, clock};

use self::format::Format;
use self::probe::{Probe, Verdict, View, is_success};

pub use self::detail::ResponseDetail;
pub use self::format::preferred_type;

mod detail;
mod format;
mod json;
mod probe;
mod text;

/// The limit of checks that one request excludes.
const MAX_EXCLUDED: usize = 64;

impl Health {
    /// The [paths](crate#paths), each with and without a final slash. A name in braces is any path
    /// segment, as in axum.
    pub const PATHS: &'static [&'static str] = &[
        "/health",
        "/health/",
        "/health/{group}",
        "/health/{group}/",
        "/health/{group}/{check}",
        "/health/{group}/{check}/",
        "/livez",
        "/livez/",
        "/livez/{check}",
        "/livez/{check}/",
        "/readyz",
        "/readyz/",
        "/readyz/{check}",
        "/readyz/{check}/",
        "/startupz",
        "/startupz/",
        "/startupz/{check}",
        "/startupz/{check}/",
    ];

    /// Returns the response to a request for one of the [paths](Self::PATHS), without
    /// [details](ResponseDetail). An unknown path, group or check is 404.
    ///
    /// [`service`](Self::service) is the same as a tower service, and `routes` (feature `axum`) as
    /// an axum router.
    pub fn respond(&self, request: &Parts) -> Response<String> {
        self.respond_with(request, &ResponseDetail::new())
            .unwrap_or_else(not_found)
    }

    /// Returns the response to a GET of a path, without [details](ResponseDetail). An unknown path,
    /// group or check is 404.
    pub fn get(&self, path: &str) -> Response<String> {
        let mut request = http::Request::new(()).into_parts().0;
        match path.parse() {
            Ok(uri) => {
                request.uri = uri;
                self.respond(&request)
            }
            Err(_) => not_found(),
        }
    }

    /// Returns the response to a request for one of the [paths](Self::PATHS), with details. `None`
    /// for an unknown path, group or check, so that a router can try its other routes.
    ///
    /// If the detail includes errors, `?refresh=true` at the path of one check also requests a
    /// [call](Self::refresh) of it. A later response has the result.
    pub fn respond_with(
        &self,
        request: &Parts,
        detail: &ResponseDetail,
    ) -> Option<Response<String>> {
        let path = request.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let probe = self.probe(path, request.uri.query().unwrap_or_default())?;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET,HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return Some(response);
        }
        if let Some(check) = probe.check.filter(|_| probe.is_refresh && detail.errors) {
            check.refresh.notify_one();
        }
        let default = match path.starts_with("/health") {
            true => Format::Json,
            false => Format::Text,
        };
        let accept = request.headers.get_all(ACCEPT);
        let format = Format::negotiate(accept.iter(), default);
        let mut response = self.render(&probe, format, detail);
        if request.method == Method::HEAD {
            let length = response.body().len().into();
            response.headers_mut().insert(CONTENT_LENGTH, length);
            response.body_mut().clear();
        }
        Some(response)
    }

    /// Returns an axum router for the [paths](Self::PATHS), with the responses of
    /// [`respond`](Self::respond).
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> axum::Router {
        Self::PATHS
            .iter()
            .fold(axum::Router::new(), |router, path| {
                let health = self.clone();
                let handler = async move |request: axum::extract::Request| {
                    health.respond(&request.into_parts().0)
                };
                router.route(path, axum::routing::any(handler))
            })
    }

    /// Parses a path and its query. `None` for an unknown path, group or check.
    fn probe<'a>(&'a self, path: &'a str, query: &'a str) -> Option<Probe<'a>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let first = segments.next()?;
        let (group, check) = match first {
            "health" => (segments.next(), segments.next()),
            "livez" => (Some("liveness"), segments.next()),
            "readyz" => (Some("readiness"), segments.next()),
            "startupz" => (Some("startup"), segments.next()),
            _ => return None,
        };
        if segments.next().is_some() {
            return None;
        }
        let (view, group) = match group {
            None => (View::Health, None),
            Some("detailed") => (View::Detailed, None),
            Some(name) => {
                let group = self.inner().group(name)?;
                let view = match &*group.name {
                    "readiness" => View::Readiness,
                    "liveness" => View::Liveness,
                    "startup" => View::Startup,
                    _ => View::Group,
                };
                (view, Some(group))
            }
        };
        let check = match (check, group) {
            (None, _) => None,
            (Some(_), None) => return None,
            (Some(name), Some(group)) => {
                let checks = &self.inner().checks;
                let mut members = group.members.iter().map(|&number| &checks[number]);
                Some(members.find(|state| &*state.name == name)?)
            }
        };
        let mut pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let excluded = pairs
            .clone()
            .filter(|(name, value)| *name == "exclude" && !value.is_empty());
        Some(Probe {
            view,
            group,
            check,
            excluded: excluded
                .map(|(_, value)| value)
                .take(MAX_EXCLUDED)
                .collect(),
            is_verbose: pairs.clone().any(|(name, _)| name == "verbose"),
            is_refresh: pairs.any(|pair| pair == ("refresh", "true")),
        })
    }

    fn render(
        &self,
        probe: &Probe<'_>,
        format: Format,
        detail: &ResponseDetail,
    ) -> Response<String> {
        let now = clock::now();
        let phase = self.inner().phase(now);
        let verdict = self.verdict(probe, phase, now);
        let body = match format {
            Format::Text => self.text(probe, &verdict, detail),
            Format::Json => self.json(probe, &verdict, detail),
            Format::HealthJson => self.health_json(probe, &verdict, detail),
        };
        let mut response = empty(verdict.code);
        *response.body_mut() = body;
        let content_type = HeaderValue::from_static(format.content_type());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        if format == Format::Text {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }

    /// Returns the status code of a group's probe. `None` for an unknown group.
    #[cfg(feature = "grpc")]
    pub(crate) fn code(&self, group: &str) -> Option<StatusCode> {
        self.inner().group(group)?;
        let path = format!("/health/{group}");
        let now = clock::now();
        let probe = self
            .probe(&path, "")
            .filter(|probe| probe.group.is_some())?;
        Some(self.verdict(&probe, self.inner().phase(now), now).code)
    }

    fn verdict(&self, probe: &Probe<'_>, phase: Phase, now: Instant) -> Verdict {
        let inner = self.inner();
        let status = match (probe.check, probe.group) {
            (Some(check), _) => service_status(check.check.importance, check.status(now)),
            // A startup probe that succeeded once succeeds from then on.
            (None, Some(_)) if probe.view == View::Startup => Status::Healthy,
            (None, Some(group)) => inner.status_of(group, now, |state| probe.counts(state)),
            (None, None) => {
                let counted = inner.checks.iter().filter(|state| probe.counts(state));
                counted
                    .map(|state| service_status(state.check.importance, state.status(now)))
                    .max()
                    .unwrap_or(Status::Healthy)
            }
        };
        let fails_by_phase = probe.fails_by_phase(phase, inner.lifecycle.has_started());
        // The probe of one check is independent of the phase.
        let is_overruled = probe.check.is_none() && fails_by_phase;
        let status = match is_overruled {
            true => Status::Unhealthy,
            false => status,
        };
        let code = match (probe.group, status) {
            (Some(group), status) => group.code(status),
            (None, Status::Unhealthy) => StatusCode::SERVICE_UNAVAILABLE,
            (None, _) => StatusCode::OK,
        };
        // A group's own code cannot make a service ready that is starting or draining.
        let code = match is_overruled && is_success(code) {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => code,
        };
        Verdict {
            status,
            code,
            phase,
            fails_by_phase,
            now,
        }
    }

    /// Returns the checks of a probe, including the excluded ones, with their numbers.
    fn members<'a>(
        &'a self,
        probe: &'a Probe<'_>,
    ) -> impl Iterator<Item = (usize, &'a CheckState)> {
        let of_group = probe.group.map(|group| group.members.iter().copied());
        let all = match of_group {
            Some(_) => 0..0,
            None => 0..self.inner().checks.len(),
        };
        let numbers = of_group.into_iter().flatten().chain(all);
        let members = numbers.map(|number| (number, &self.inner().checks[number]));
        members.filter(|(_, state)| {
            let is_same = |check: &CheckState| std::ptr::eq(check, *state);
            probe.check.is_none_or(is_same)
        })
    }
}

/// Returns the response for an unknown path, group or check.
pub(crate) fn not_found() -> Response<String> {
    empty(StatusCode::NOT_FOUND)
}

fn empty(code: StatusCode) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
