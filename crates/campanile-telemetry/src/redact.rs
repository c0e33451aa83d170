use std::fmt;
use std::ops::{Deref, DerefMut};

/// What is shown in place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A value that is shown as `[redacted]`, in logs and anywhere else.
///
/// ```
/// use campanile_telemetry::Sensitive;
///
/// let card = Sensitive::new("4111 1111 1111 1111");
/// assert_eq!(format!("{card} {card:?}"), "[redacted] [redacted]");
/// assert_eq!(card.len(), 19);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Sensitive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Sensitive<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(REDACTED)
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(REDACTED)
    }
}

/// The keys whose values are not shown.
#[derive(Clone, Debug)]
pub(crate) struct Redaction(Vec<String>);

/// The keys that nobody wants in a log, whatever else is in their names.
const SECRETS: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "private_key",
];

impl Default for Redaction {
    fn default() -> Self {
        Self(SECRETS.map(str::to_owned).to_vec())
    }
}

impl Redaction {
    pub(crate) fn of(keys: impl IntoIterator<Item = String>) -> Self {
        let keys = keys.into_iter().map(|key| key.to_ascii_lowercase());
        Self(keys.filter(|key| !key.is_empty()).collect())
    }

    /// Returns whether one of the keys is in a field's name, in upper or lower case.
    pub(crate) fn hides(&self, name: &str) -> bool {
        self.0.iter().any(|key| {
            let mut windows = name.as_bytes().windows(key.len());
            windows.any(|window| window.eq_ignore_ascii_case(key.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let redaction = Redaction::default();
        for name in [
            "password",
            "db.Password",
            "X_API_KEY",
            "accessToken",
            "set-cookie",
        ] {
            assert!(redaction.hides(name), "{name}");
        }
        for name in ["user", "pass", "key", "", "p"] {
            assert!(!redaction.hides(name), "{name}");
        }
        let own = Redaction::of(["IBAN".to_owned(), String::new()]);
        assert!(own.hides("customer_iban") && !own.hides("password"));
    }
}
