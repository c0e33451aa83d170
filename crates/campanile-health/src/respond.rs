//! What probes are answered.

use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::group::Resolved;
use crate::report::of_service;
use crate::watched::Watched;
use crate::{Health, Phase, Status, Value, clock};

use self::format::Format;

mod format;

pub use self::format::preferred_type;
mod json;
mod text;

/// The details that a response has, besides the names and statuses of the checks, which every client may see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Whether to show what well checks said, their figures, how long they took and when: not for everybody.
    pub messages: bool,
    /// Whether to show what the others failed with: for those who are known.
    pub errors: bool,
    /// More members of the answer of `/health/detailed`, each a name and a value.
    pub notes: Vec<(&'static str, Value)>,
}

/// How many checks can be left out at once.
const MAX_EXCLUDED: usize = 64;

/// What is asked for.
struct Asked<'a> {
    view: View,
    /// `None` for all checks.
    group: Option<&'a Resolved>,
    check: Option<&'a Watched>,
    excluded: Vec<&'a str>,
    is_verbose: bool,
    is_to_be_refreshed: bool,
}

/// Whose path it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Health,
    Detailed,
    Readiness,
    Liveness,
    Startup,
    /// Any other group.
    Group,
}

/// What the answer is.
struct Answer {
    status: Status,
    code: StatusCode,
    phase: Phase,
    /// Whether the phase alone fails the probe of this path.
    fails_by_phase: bool,
    now: Instant,
}

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
        let asked = self.asked(path, request.uri.query().unwrap_or_default())?;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Some(response);
        }
        if let Some(check) = asked
            .check
            .filter(|_| asked.is_to_be_refreshed && details.errors)
        {
            check.hurry.notify_one();
        }
        let usual = match path.starts_with("/health") {
            true => Format::Json,
            false => Format::Text,
        };
        let accept = request.headers.get_all(ACCEPT);
        let format = Format::chosen(accept.iter(), usual);
        let mut response = self.answer(&asked, format, details);
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

    /// Reads what is asked for.
    fn asked<'a>(&'a self, path: &'a str, query: &'a str) -> Option<Asked<'a>> {
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
        Some(Asked {
            view,
            group,
            check,
            excluded: excluded
                .map(|(_, value)| value)
                .take(MAX_EXCLUDED)
                .collect(),
            is_verbose: pairs.clone().any(|(name, _)| name == "verbose"),
            is_to_be_refreshed: pairs.any(|pair| pair == ("refresh", "true")),
        })
    }

    fn answer(&self, asked: &Asked<'_>, format: Format, details: &Details) -> Response<String> {
        let now = clock::now();
        let phase = self.inner().phase(now);
        let answer = self.judge(asked, phase, now);
        let body = match format {
            Format::Text => self.text(asked, &answer, details),
            Format::Json => self.json(asked, &answer, details),
            Format::HealthJson => self.health_json(asked, &answer, details),
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.code;
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
        let asked = self
            .asked(&path, "")
            .filter(|asked| asked.group.is_some())?;
        Some(self.judge(&asked, self.inner().phase(now), now).code)
    }

    fn judge(&self, asked: &Asked<'_>, phase: Phase, now: Instant) -> Answer {
        let inner = self.inner();
        let status = match (asked.check, asked.group) {
            (Some(check), _) => of_service(check.check.importance, check.status(now)),
            // It has started, whatever comes.
            (None, Some(_)) if asked.view == View::Startup => Status::Healthy,
            (None, Some(group)) => inner.status_of(group, now, |of| asked.counts(of)),
            (None, None) => {
                let counted = inner.checks.iter().filter(|of| asked.counts(of));
                let statuses = counted.map(|of| of_service(of.check.importance, of.status(now)));
                statuses.max().unwrap_or(Status::Healthy)
            }
        };
        // Where it is in its life says as much as a check.
        let fails = asked.is_out(phase, inner.life.has_started());
        let is_out = asked.check.is_none() && fails;
        let status = if is_out { Status::Unhealthy } else { status };
        let code = match (asked.group, status) {
            (Some(group), status) => group.code(status),
            (None, Status::Unhealthy) => StatusCode::SERVICE_UNAVAILABLE,
            (None, _) => StatusCode::OK,
        };
        // No code of a group's makes a service ready that isn't there.
        let code = if is_out && is_well(code) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            code
        };
        Answer {
            status,
            code,
            phase,
            fails_by_phase: fails,
            now,
        }
    }

    /// Returns the checks that are asked for, those that are excluded among them.
    fn members<'a>(&'a self, asked: &'a Asked<'_>) -> impl Iterator<Item = (usize, &'a Watched)> {
        let of_group = asked.group.map(|group| group.members.iter().copied());
        let all = match of_group {
            Some(_) => 0..0,
            None => 0..self.inner().checks.len(),
        };
        let numbers = of_group.into_iter().flatten().chain(all);
        let members = numbers.map(|number| (number, &self.inner().checks[number]));
        members.filter(|(_, of)| asked.check.is_none_or(|check| std::ptr::eq(check, *of)))
    }
}

impl Answer {
    /// Returns whether who probes takes it for well.
    fn is_well(&self) -> bool {
        is_well(self.code)
    }
}

fn is_well(code: StatusCode) -> bool {
    (200..400).contains(&code.as_u16())
}

impl Asked<'_> {
    /// Returns whether a check counts.
    fn counts(&self, watched: &Watched) -> bool {
        self.check.is_some() || !self.excluded.contains(&&*watched.name)
    }

    /// Returns whether the phase alone fails the probe.
    fn is_out(&self, phase: Phase, has_started: bool) -> bool {
        match self.view {
            View::Readiness => phase != Phase::Ready,
            View::Startup => !has_started,
            View::Health | View::Detailed | View::Liveness | View::Group => false,
        }
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
