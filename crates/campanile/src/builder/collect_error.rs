use crate::error::Problem;

/// Returns the value, or adds the error to the problems.
pub(super) fn collect_error<T, E: Into<Problem>>(
    built: Result<T, E>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    built.map_err(|error| problems.push(error.into())).ok()
}
