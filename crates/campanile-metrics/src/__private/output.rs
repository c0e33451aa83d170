//! Selects code by the type of an output, which the macro does not know: a method of the type takes
//! precedence over the method of a trait.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;

use crate::labels::Bounded;

/// The output of a function.
#[derive(Debug)]
pub struct Output<'a, T>(pub &'a T);

impl<'a, T, E> Output<'a, Result<T, E>> {
    /// Returns the value or the error.
    pub fn split(&self) -> Result<&'a T, &'a E> {
        self.0.as_ref()
    }
}

/// An output that is not a `Result` is not an error.
pub trait AnyOutput<'a, T> {
    /// Returns the output.
    fn split(&self) -> Result<&'a T, &'a Infallible>;
}

impl<'a, T> AnyOutput<'a, T> for Output<'a, T> {
    fn split(&self) -> Result<&'a T, &'a Infallible> {
        Ok(self.0)
    }
}

impl<T: Future> Output<'_, T> {
    /// Returns that the work of the function is not done.
    pub fn state(&self) -> Unfinished {
        Unfinished
    }
}

/// An output that is not a known future.
pub trait AnyState {
    /// Returns that the work of the function is done.
    fn state(&self) -> Done;
}

impl<T> AnyState for Output<'_, T> {
    fn state(&self) -> Done {
        Done
    }
}

/// The work of the function is done.
#[derive(Clone, Copy, Debug)]
pub struct Done;

/// A future has to do the work of the function.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished;

/// A state in which the work is done.
#[diagnostic::on_unimplemented(
    message = "a future that is made elsewhere can't be observed: its work is done after this function returned",
    label = "this is a future",
    note = "write an `async fn`, or end with `Box::pin` of an `async` block that awaits this future"
)]
pub trait Finished {}

impl Finished for Done {}

/// Compiles only for a function that returns after its work is done.
pub fn finished<T: Finished>(_: T) {}

/// Calls the hook of `on_ok`.
pub fn hook<T, R>(hook: impl FnOnce(&T) -> R, value: &T) {
    hook(value);
}

/// The error that a function returned.
#[derive(Debug)]
pub struct Failure<'a, E>(pub &'a E);

impl<E: Bounded> Failure<'_, E> {
    /// Returns the label value of the error.
    pub fn kind(&self) -> Cow<'_, str> {
        self.0.text()
    }
}

/// An error without known kinds is counted by its type.
pub trait ByType {
    /// Returns the name of the type without its paths. A plain `Error` has the name of its crate.
    fn kind(&self) -> Cow<'_, str>;
}

impl<E> ByType for Failure<'_, E> {
    fn kind(&self) -> Cow<'_, str> {
        let name = std::any::type_name::<E>();
        let mut short = String::new();
        for char in name.chars() {
            if char == ':' {
                let is_path = |char: char| char.is_alphanumeric() || char == '_';
                let kept = short.trim_end_matches(is_path);
                short.truncate(kept.len());
            } else {
                short.push(char);
            }
        }
        if short == "Error" {
            // Many crates have an `Error`.
            let path = name.split_once("::").map_or("", |(first, _)| first);
            short = format!("{path}::Error");
        }
        short.into()
    }
}

impl<'a, E: Display> Failure<'a, E> {
    /// Returns the error message.
    pub fn shown(&self) -> Option<&'a dyn Display> {
        Some(self.0)
    }
}

/// An error without a message.
pub trait NotShown<'a> {
    /// Returns `None`.
    fn shown(&self) -> Option<&'a dyn Display>;
}

impl<'a, E> NotShown<'a> for Failure<'a, E> {
    fn shown(&self) -> Option<&'a dyn Display> {
        None
    }
}

impl<'a, E: Error + 'static> Failure<'a, E> {
    /// Returns the source of the error.
    pub fn source(&self) -> Option<&'a (dyn Error + 'static)> {
        self.0.source()
    }
}

/// An error without a known source.
pub trait NoSource<'a> {
    /// Returns `None`.
    fn source(&self) -> Option<&'a (dyn Error + 'static)>;
}

impl<'a, E> NoSource<'a> for Failure<'a, E> {
    fn source(&self) -> Option<&'a (dyn Error + 'static)> {
        None
    }
}

/// An output that may be an error.
#[diagnostic::on_unimplemented(
    message = "`ok_if` needs a function that returns a `Result`",
    label = "returns `{Self}`, which is no `Result`"
)]
pub trait Fallible {
    /// The error.
    type Error;

    /// Returns the error, if there is one.
    fn error(&self) -> Option<&Self::Error>;
}

impl<T, E> Fallible for Result<T, E> {
    type Error = E;

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

/// Returns whether an output is an error that counts as a success.
pub fn is_ok_by<T: Fallible>(output: &T, is_ok: impl FnOnce(&T::Error) -> bool) -> bool {
    output.error().is_some_and(is_ok)
}
