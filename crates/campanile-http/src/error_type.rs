use std::sync::{Arc, OnceLock};

/// The kind of an outgoing request's error, such as `timeout`: the `error.type` of OpenTelemetry's
/// semantic conventions.
///
/// An [`Observer`](crate::Observer) does not see errors, because a tower service may return any
/// type. A client that knows its errors inserts an `ErrorType` into the request's extensions before
/// the layer sees the request, and sets the kind when the request fails. Observers clone it in
/// [`begin`](crate::Observer::begin) and read it in [`end`](crate::Observer::end).
///
/// ```
/// use campanile_http::ErrorType;
///
/// let error_type = ErrorType::new();
/// let of_observer = error_type.clone();
/// error_type.set("timeout");
/// assert_eq!(of_observer.get(), Some("timeout"));
/// ```
///
/// A clone shares the kind (an `Arc`).
#[derive(Clone, Debug, Default)]
pub struct ErrorType(Arc<OnceLock<&'static str>>);

impl ErrorType {
    /// Creates an `ErrorType` without a kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the kind. Further calls have no effect.
    pub fn set(&self, kind: &'static str) {
        // The first error is the cause of later ones.
        let _ = self.0.set(kind);
    }

    /// Returns the kind; `None` if none was set.
    pub fn get(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}
