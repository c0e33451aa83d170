//! The parts of a probe request and of its response, independent of the format.

use http::StatusCode;
use tokio::time::Instant;

use crate::check_state::CheckState;
use crate::group::Resolved;
use crate::{Phase, Status};

/// A parsed probe request.
pub(super) struct Probe<'a> {
    pub(super) view: View,
    /// `None` for all checks.
    pub(super) group: Option<&'a Resolved>,
    pub(super) check: Option<&'a CheckState>,
    pub(super) excluded: Vec<&'a str>,
    pub(super) is_verbose: bool,
    pub(super) is_refresh: bool,
}

/// The kind of a probe's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Health,
    Detailed,
    Readiness,
    Liveness,
    Startup,
    /// Any other group.
    Group,
}

/// The result of a probe.
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) code: StatusCode,
    pub(super) phase: Phase,
    /// Whether the phase alone fails the probe of this path.
    pub(super) fails_by_phase: bool,
    pub(super) now: Instant,
}

impl Probe<'_> {
    /// Returns whether a check counts: it is not excluded, or the path names it.
    pub(super) fn counts(&self, state: &CheckState) -> bool {
        self.check.is_some() || !self.excluded.contains(&&*state.name)
    }

    /// Returns whether the phase alone fails the probe.
    pub(super) fn fails_by_phase(&self, phase: Phase, has_started: bool) -> bool {
        match self.view {
            View::Readiness => phase != Phase::Ready,
            View::Startup => !has_started,
            View::Health | View::Detailed | View::Liveness | View::Group => false,
        }
    }
}

impl Verdict {
    /// Returns whether the probe succeeds.
    pub(super) fn is_success(&self) -> bool {
        is_success(self.code)
    }
}

/// Returns whether Kubernetes takes a code for success.
pub(super) fn is_success(code: StatusCode) -> bool {
    (200..400).contains(&code.as_u16())
}
