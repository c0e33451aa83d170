//! What the macro finds out about a result, whose type it can't see: where a method of a type fits, it goes before that of a
//! trait.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Display;

use crate::labels::Bounded;

/// What a function returned.
#[derive(Debug)]
pub struct Output<'a, T>(pub &'a T);

impl<'a, T, E> Output<'a, Result<T, E>> {
    /// Returns whether it is an error.
    pub fn split(&self) -> Result<&'a T, &'a E> {
        self.0.as_ref()
    }
}

/// What is no `Result` is no error.
pub trait AnyOutput<'a, T> {
    /// Returns the output.
    fn split(&self) -> Result<&'a T, &'a Infallible>;
}

impl<'a, T> AnyOutput<'a, T> for Output<'a, T> {
    fn split(&self) -> Result<&'a T, &'a Infallible> {
        Ok(self.0)
    }
}

/// The error that a function returned.
#[derive(Debug)]
pub struct Failure<'a, E>(pub &'a E);

impl<E: Bounded> Failure<'_, E> {
    /// Returns the error's label value.
    pub fn kind(&self) -> Cow<'_, str> {
        self.0.text()
    }
}

/// An error whose kinds are not known is counted by its type.
pub trait ByType {
    /// Returns the type's name, without the paths in it; one that is only `Error` with that of its crate.
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
            // Many crates have one.
            let path = name.split_once("::").map_or("", |(first, _)| first);
            short = format!("{path}::Error");
        }
        short.into()
    }
}

impl<'a, E: Display> Failure<'a, E> {
    /// Returns the error's text.
    pub fn shown(&self) -> Option<&'a dyn Display> {
        Some(self.0)
    }
}

/// An error without a text.
pub trait NotShown<'a> {
    /// Returns nothing.
    fn shown(&self) -> Option<&'a dyn Display>;
}

impl<'a, E> NotShown<'a> for Failure<'a, E> {
    fn shown(&self) -> Option<&'a dyn Display> {
        None
    }
}
