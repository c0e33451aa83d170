//! What probes are answered.

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::report::of_service;
use crate::watched::Watched;
use crate::{Health, Phase, Status, clock};

use self::format::Format;
use self::probe::{Probe, Verdict, View, is_success};

pub use self::detail::Details;
pub use self::format::preferred_type;

mod detail;
mod format;
mod json;
mod probe;
mod text;

/// How many checks can be left out at once.
const MAX_EXCLUDED: usize = 64;

impl Health {
    /// The [paths](crate#paths), each with and without a final slash. What is in braces stands for any segment, as in axum.
    pub const PATHS: [&'static str; 18] = [
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

    /// Answers a request for one of the [paths](Self::PATHS) without [details](Details); `None` if there is nothing at this path, neither a group
    /// nor a check.
    pub fn respond(&self, request: &Parts) -> Option<Response<String>> {
        self.respond_with(request, &Details::default())
    }

    /// Answers a GET of a path without [details](Details); 404 if there is nothing at it.
    pub fn ask(&self, path: &str) -> Response<String> {
        let mut request = http::Request::new(()).into_parts().0;
        let answer = path.parse().ok().and_then(|uri| {
            request.uri = uri;
            self.respond(&request)
        });
        answer.unwrap_or_else(not_found)
    }

    /// Answers a request for one of the [paths](Self::PATHS) with more details; `None` if there is nothing at this path.
    ///
    /// If the details include errors, `?refresh=true` at the path of one check requests a [call](Self::hurry). Its result is in a later response.
    pub fn respond_with(&self, request: &Parts, details: &Details) -> Option<Response<String>> {
        let path = request.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let probe = self.probe(path, request.uri.query().unwrap_or_default())?;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Some(response);
        }
        if let Some(check) = probe.check.filter(|_| probe.is_refresh && details.errors) {
            check.hurry.notify_one();
        }
        let usual = match path.starts_with("/health") {
            true => Format::Json,
            false => Format::Text,
        };
        let accept = request.headers.get_all(ACCEPT);
        let format = Format::chosen(accept.iter(), usual);
        let mut response = self.answer(&probe, format, details);
        if request.method == Method::HEAD {
            let length = response.body().len().into();
            response.headers_mut().insert(CONTENT_LENGTH, length);
            response.body_mut().clear();
        }
        Some(response)
    }

    /// Returns the [paths](Self::PATHS) as an axum router.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn routes(&self) -> axum::Router {
        Self::PATHS
            .into_iter()
            .fold(axum::Router::new(), |router, path| {
                let health = self.clone();
                let answer = async move |request: axum::extract::Request| {
                    let (request, _) = request.into_parts();
                    health.respond(&request).unwrap_or_else(not_found)
                };
                router.route(path, axum::routing::any(answer))
            })
    }

    /// Reads what is probe for.
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
                let mut members = group.members.iter().map(|&of| &self.inner().checks[of]);
                Some(members.find(|watched| &*watched.name == name)?)
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

    fn answer(&self, probe: &Probe<'_>, format: Format, details: &Details) -> Response<String> {
        let now = clock::now();
        let phase = self.inner().phase(now);
        let verdict = self.verdict(probe, phase, now);
        let body = match format {
            Format::Text => self.text(probe, &verdict, details),
            Format::Json => self.json(probe, &verdict, details),
            Format::HealthJson => self.health_json(probe, &verdict, details),
        };
        let mut response = Response::new(body);
        *response.status_mut() = verdict.code;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if format == Format::Text {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }

    /// Returns the code with which a group's probe answers.
    #[cfg(feature = "tonic")]
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
            (Some(check), _) => of_service(check.check.importance, check.status(now)),
            // It has started, whatever comes.
            (None, Some(_)) if probe.view == View::Startup => Status::Healthy,
            (None, Some(group)) => inner.status_of(group, now, |of| probe.counts(of)),
            (None, None) => {
                let counted = inner.checks.iter().filter(|of| probe.counts(of));
                let statuses = counted.map(|of| of_service(of.check.importance, of.status(now)));
                statuses.max().unwrap_or(Status::Healthy)
            }
        };
        // Where it is in its life says as much as a check.
        let fails = probe.fails_by_phase(phase, inner.life.has_started());
        let is_out = probe.check.is_none() && fails;
        let status = if is_out { Status::Unhealthy } else { status };
        let code = match (probe.group, status) {
            (Some(group), status) => group.code(status),
            (None, Status::Unhealthy) => StatusCode::SERVICE_UNAVAILABLE,
            (None, _) => StatusCode::OK,
        };
        // No code of a group's makes a service ready that isn't there.
        let code = if is_out && is_success(code) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            code
        };
        Verdict {
            status,
            code,
            phase,
            fails_by_phase: fails,
            now,
        }
    }

    /// Returns the checks that are probe for, those that are excluded among them.
    fn members<'a>(&'a self, probe: &'a Probe<'_>) -> impl Iterator<Item = (usize, &'a Watched)> {
        let of_group = probe.group.map(|group| group.members.iter().copied());
        let all = match of_group {
            Some(_) => 0..0,
            None => 0..self.inner().checks.len(),
        };
        let numbers = of_group.into_iter().flatten().chain(all);
        let members = numbers.map(|number| (number, &self.inner().checks[number]));
        members.filter(|(_, of)| probe.check.is_none_or(|check| std::ptr::eq(check, *of)))
    }
}

/// The answer where there is nothing.
pub(crate) fn not_found() -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
