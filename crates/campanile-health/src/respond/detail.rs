use crate::Value;

/// The additions to a probe response. Without them it contains check names and statuses only.
///
/// | setting | default |
/// |---|---|
/// | [`messages`](Self::messages), [`errors`](Self::errors) | `false` |
/// | [`note`](Self::note) | none |
///
/// ```
/// use campanile_health::{Health, ResponseDetail};
///
/// # fn example(health: &Health, request: http::Request<()>, is_operator: bool) {
/// let detail = ResponseDetail::new().messages(true).errors(is_operator);
/// let response = health.respond_with(&request.into_parts().0, &detail);
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct ResponseDetail {
    pub(super) messages: bool,
    pub(super) errors: bool,
    pub(super) notes: Vec<(&'static str, Value)>,
}

impl ResponseDetail {
    /// Creates an empty detail: the response contains check names and statuses only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to include the messages and values of successful checks, and the time and
    /// duration of the last call of each check. These can reveal internal details.
    ///
    /// Defaults to `false`.
    pub fn messages(mut self, are_shown: bool) -> Self {
        self.messages = are_shown;
        self
    }

    /// Sets whether to include error messages of failed checks, and whether `?refresh=true` works.
    /// Allow it for authorized callers only.
    ///
    /// Defaults to `false`.
    pub fn errors(mut self, are_shown: bool) -> Self {
        self.errors = are_shown;
        self
    }

    /// Adds a member to the JSON of `/health/detailed`.
    ///
    /// Defaults to none.
    pub fn note(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.notes.push((name, value.into()));
        self
    }
}
