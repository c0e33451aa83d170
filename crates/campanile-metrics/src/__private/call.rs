use std::error::Error;
use std::fmt::{self, Display};
use std::time::Instant;

use metrics::{Key, Label, Recorder};
use tracing::Span;

use super::logged::{Logged, Panic, Returned, Scope};
use super::site::{Ended, Keys, LabelAt, Live, METADATA, Outcome, Site};
use crate::clock::now;

/// An active call. If it is dropped before its end, it was cancelled or has panicked.
pub struct Call {
    pub(super) site: &'static Site,
    pub(super) keys: &'static Keys,
    pub(super) span: Span,
    /// `None` without a recorder.
    pub(super) live: Option<Live>,
    pub(super) begun: Instant,
    pub(super) state: State,
    /// The last failure that a nested call logged.
    pub(super) logged: Option<Box<Logged>>,
    /// The panic that ended the call.
    pub(super) panic: Option<Box<Panic>>,
}

/// The state of a call, which determines the meaning of a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The code is running, so only a panic can end the call.
    Running,
    /// The future is suspended, so only a drop can end the call.
    Waiting,
    Ended,
}

impl Site {
    /// Begins a call.
    pub fn begin(&'static self, labels: &[LabelAt], span: Span) -> Call {
        let keys = self.keys(labels);
        if !span.is_disabled() {
            for label in labels {
                span.record(label.name, label.text());
            }
        }
        let live = metrics::with_recorder(|recorder| self.live(keys, recorder));
        Call {
            site: self,
            keys,
            span,
            live,
            begun: now(),
            state: State::Running,
            logged: None,
            panic: None,
        }
    }
}

impl Call {
    /// Runs a function in the span of the call.
    pub fn run_now<T>(&mut self, function: impl FnOnce() -> T) -> T {
        let _scope = Scope::enter(&mut self.logged);
        Panic::recorded(&mut self.panic, || self.span.in_scope(function))
    }

    /// Ends the call successfully.
    pub fn succeeded(mut self) {
        self.end(Outcome::Ok, None);
    }

    /// Ends the call with an error.
    pub fn failed(
        mut self,
        kind: &str,
        shown: Option<&dyn Display>,
        source: Option<&(dyn Error + 'static)>,
    ) {
        let error = Returned {
            kind,
            shown,
            source,
        };
        self.end(Outcome::Error, Some(&error));
    }

    fn end(&mut self, outcome: Outcome, error: Option<&Returned<'_>>) {
        self.state = State::Ended;
        let duration = now().saturating_duration_since(self.begun);
        if let Some(live) = self.live.take() {
            live.in_flight.decrement(1.0);
            live.duration.record(duration.as_secs_f64());
            match outcome {
                Outcome::Ok => live.succeeded.increment(1),
                Outcome::Cancelled => live.cancelled.iter().for_each(|calls| calls.increment(1)),
                Outcome::Error | Outcome::Panicked => metrics::with_recorder(|recorder| {
                    let calls = self.keys.calls(outcome);
                    recorder.register_counter(calls, &METADATA).increment(1);
                    if let Some(error) = error {
                        self.count_error(recorder, error.kind);
                    }
                }),
            }
        }
        self.report(outcome, duration.as_secs_f64(), error);
    }

    /// Logs the end, and marks the span of a failed call.
    fn report(&mut self, outcome: Outcome, duration_seconds: f64, error: Option<&Returned<'_>>) {
        let level = match outcome {
            Outcome::Ok | Outcome::Cancelled => None,
            Outcome::Error => self.site.errors_at,
            Outcome::Panicked => Some(tracing::Level::ERROR),
        };
        let text = error.filter(|_| level.is_some()).and_then(Returned::text);
        let text = text.as_deref();
        let before = match (self.logged.take(), level) {
            (Some(logged), Some(level)) => {
                let error = error.map(|error| (error, text));
                let panic = self.panic.as_deref();
                logged.covers(level, error, panic).then_some(logged)
            }
            // An error that is not logged here may have been logged by a nested call.
            (logged, None) => logged.filter(|_| outcome == Outcome::Error),
            (None, Some(_)) => None,
        };
        let ended = Ended {
            function: self.site.function,
            outcome: outcome.as_str(),
            duration_seconds,
            logs_failure: level.is_some() && before.is_none(),
            panicked: outcome == Outcome::Panicked,
            error_type: error.map(|error| error.kind),
            error: text,
        };
        let is_logged = self.span.in_scope(|| (self.site.report)(&ended));
        // After the events, so that no log line has these fields of the span.
        match (outcome, error) {
            (Outcome::Error | Outcome::Panicked, _) if self.span.is_disabled() => {}
            (Outcome::Error, Some(error)) => {
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", error.kind);
                if let Some(text) = text {
                    self.span.record("otel.status_description", text);
                }
            }
            (Outcome::Panicked, _) => {
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", "panic");
            }
            _ => {}
        }
        let new = || {
            let level = level.filter(|_| is_logged)?;
            Some(Box::new(match error {
                Some(error) => Logged::error(level, error.kind, text),
                None => Logged::panic(self.panic.clone()),
            }))
        };
        if let Some(logged) = before.or_else(new) {
            logged.pass_on();
        }
    }

    fn count_error(&self, recorder: &dyn Recorder, kind: &str) {
        let error = Label::new("error", kind.to_owned());
        let labels = self.keys.labels.iter().cloned().chain([error]);
        let key = Key::from_parts(self.site.names.errors, labels.collect::<Vec<_>>());
        recorder.register_counter(&key, &METADATA).increment(1);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.state {
            State::Running => self.end(Outcome::Panicked, None),
            State::Waiting => self.end(Outcome::Cancelled, None),
            State::Ended => {}
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
