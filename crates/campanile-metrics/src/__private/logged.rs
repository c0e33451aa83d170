//! Records which failures nested calls have logged, so that enclosing calls do not log them again.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tracing::Level;

use crate::name::truncated;

/// The maximum length of a logged error message, in bytes.
const MAX_ERROR: usize = 1_024;

/// The maximum number of sources of an error that are compared.
const MAX_SOURCES: usize = 16;

thread_local! {
    /// The last failure that was logged by a call nested in the one that runs on this thread.
    static LAST: Cell<Option<Box<Logged>>> = const { Cell::new(None) };
}

/// An error that a function returned.
pub(super) struct Returned<'a> {
    pub(super) kind: &'a str,
    pub(super) shown: Option<&'a dyn Display>,
    pub(super) source: Option<&'a (dyn Error + 'static)>,
}

impl Returned<'_> {
    /// Returns the error message, cut at 1 KiB.
    pub(super) fn text(&self) -> Option<String> {
        Some(truncated(self.shown?.to_string(), MAX_ERROR))
    }
}

/// The identity of a panic, by its payload: a call may catch a panic and then panic again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    payload: TypeId,
    /// The message, cut at 1 KiB.
    message: Option<String>,
}

impl Panic {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            payload: payload.type_id(),
            message: message.map(|text| truncated(text.to_owned(), MAX_ERROR)),
        }
    }

    /// Runs a function. A panic is recorded and continues.
    pub(super) fn recorded<T>(panic: &mut Option<Box<Self>>, function: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|payload| {
            *panic = Some(Box::new(Self::of(&*payload)));
            resume_unwind(payload)
        })
    }
}

/// A failure that was logged.
#[derive(Debug)]
pub(super) struct Logged {
    level: Level,
    what: What,
}

#[derive(Debug)]
enum What {
    Panic(Option<Box<Panic>>),
    /// The error message.
    Text(String),
    /// The kind of an error without a message.
    Kind(String),
}

impl Logged {
    pub(super) fn panic(panic: Option<Box<Panic>>) -> Self {
        Self {
            level: Level::ERROR,
            what: What::Panic(panic),
        }
    }

    pub(super) fn error(level: Level, kind: &str, text: Option<&str>) -> Self {
        let text = text.filter(|text| !text.is_empty());
        let what = match text {
            Some(text) => What::Text(text.to_owned()),
            None => What::Kind(kind.to_owned()),
        };
        Self { level, what }
    }

    /// Returns whether this is the same failure, logged at the same or a more severe level. The
    /// messages must be equal, or the message of the error or of one of its sources must end with
    /// this message. Without an error it is a panic.
    pub(super) fn covers(
        &self,
        level: Level,
        error: Option<(&Returned<'_>, Option<&str>)>,
        panic: Option<&Panic>,
    ) -> bool {
        if self.level > level {
            return false;
        }
        match (&self.what, error) {
            (What::Panic(logged), None) => panic.is_some() && logged.as_deref() == panic,
            (What::Kind(kind), Some((error, text))) => {
                text.is_none_or(str::is_empty) && kind == error.kind
            }
            (What::Text(logged), Some((error, text))) => {
                let first = error.source;
                let sources = std::iter::successors(first, |&error| error.source());
                let mut sources = sources.take(MAX_SOURCES);
                text.is_some_and(|text| ends_with(text, logged))
                    // `anyhow` and `eyre` print the whole chain.
                    || error.shown.is_some_and(|shown| ends_with(&format!("{shown:#}"), logged))
                    || sources.any(|source| ends_with(&source.to_string(), logged))
            }
            _ => false,
        }
    }

    /// Passes the failure to the enclosing call.
    pub(super) fn pass_on(self: Box<Self>) {
        let _ = LAST.try_with(|last| last.set(Some(self)));
    }
}

/// Returns whether a message equals the message of an error, or ends with it, as in `no order: out
/// of stock`.
fn ends_with(text: &str, error: &str) -> bool {
    text.strip_suffix(error)
        .is_some_and(|before| before.is_empty() || before.ends_with(": "))
}

/// While this guard lives, nested calls on this thread store the failures that they logged in the
/// field of the call.
pub(super) struct Scope<'a> {
    own: &'a mut Option<Box<Logged>>,
    outer: Option<Box<Logged>>,
}

impl<'a> Scope<'a> {
    pub(super) fn enter(own: &'a mut Option<Box<Logged>>) -> Self {
        let outer = LAST.try_with(|last| last.replace(own.take()));
        Self {
            own,
            outer: outer.unwrap_or_default(),
        }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        let last = LAST.try_with(|last| last.replace(outer));
        *self.own = last.unwrap_or_default();
    }
}
