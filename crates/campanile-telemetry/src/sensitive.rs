use std::fmt;

/// The replacement for a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A value that is shown as `[redacted]`, in logs and anywhere else. Only [`expose`](Self::expose)
/// and [`into_inner`](Self::into_inner) return the value.
///
/// ```
/// use campanile_telemetry::Sensitive;
///
/// let card = Sensitive::new("4111 1111 1111 1111");
/// assert_eq!(format!("{card} {card:?}"), "[redacted] [redacted]");
/// assert_eq!(card.expose().len(), 19);
/// ```
///
/// It is not dereferenced and not compared by accident:
///
/// ```compile_fail,E0614
/// # let card = campanile_telemetry::Sensitive::new("4111 1111 1111 1111");
/// tracing::info!(card = *card, "paid");
/// ```
///
/// The memory is not wiped. The types of the crate `secrecy` wipe theirs, and can be logged with
/// `?`.
#[derive(Clone, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Creates a sensitive value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns a reference to the value.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.0
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
